// The two pathways: what the router measured, and a button that makes one of them slow.
import { element } from "./tracks.js";

const REFRESH_MS = 1000;

export class Pathways {
  constructor(list, config) {
    Object.assign(this, { list, degradedAt: {}, rows: {} });
    for (const [index, pathway] of config.pathways.entries()) this.addRow(pathway, index);
    setInterval(() => this.refresh().catch(() => {}), REFRESH_MS);
  }

  addRow({ id, baseUrl }, index) {
    const measured = element("small", { textContent: "not measured yet" });
    const button = element("button", { type: "button", textContent: "Degrade" });
    button.dataset.degraded = "false";
    button.addEventListener("click", () => this.press(id));
    const swatch = element("span", { className: `swatch tint-${index}`, ariaHidden: "true" });
    const item = element("li", {}, swatch,
      element("div", {}, element("strong", { textContent: id }), " ",
        element("code", { textContent: baseUrl.replace("http://", "") }), measured), button);
    item.dataset.id = id;
    this.list.append(item);
    this.rows[id] = { item, measured, button };
  }

  press(id) {
    return this.shape(id).catch((error) => this.onFail?.(error));
  }

  async shape(id) {
    const { button } = this.rows[id];
    const degraded = button.dataset.degraded !== "true";
    const atMs = performance.now();
    const response = await fetch("demo/shape", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ pathway: id, degraded }),
    });
    if (!response.ok) throw new Error(`${id} was not ${degraded ? "degraded" : "restored"}`);
    if (degraded) this.degradedAt[id] = atMs;
    else delete this.degradedAt[id];
    this.onShape?.(id, degraded);
    await this.refresh();
  }

  async refresh() {
    const answer = await (await fetch("demo/pathways")).json();
    for (const { id, measuredMs, latencyMs, degraded } of answer.pathways) {
      const { item, measured, button } = this.rows[id];
      const shape = degraded ? "degraded" : `${2 * latencyMs} ms away`;
      const start = measuredMs === null ? "not measured yet" : `measured ${Math.round(measuredMs)} ms`;
      measured.textContent = `${shape} · ${start}`;
      item.classList.toggle("degraded", degraded);
      button.textContent = degraded ? "Restore" : "Degrade";
      button.ariaLabel = `${button.textContent} the pathway ${id}`;
      button.dataset.degraded = degraded;
    }
  }

  mark(current) {
    for (const [id, { item }] of Object.entries(this.rows)) {
      item.classList.toggle("active", id === current);
    }
  }
}
