// The last minute of the network on one strip: pathway and rung of each request, its first byte,
// the buffer, and a line where the pathway changed.

const WINDOW_MS = 60_000;
const REDRAW_MS = 250;
const CALM_REDRAW_MS = 2000; // for people who asked for less motion
const MAX_FIRST_BYTE_MS = 2000;
const MIN_FIRST_BYTE_MS = 1;
const MAX_BUFFER_S = 14;
const LABEL_PX = 62;

// Lanes from top to bottom: top and height as shares of the strip.
const LANES = { rung: [0.0, 0.24], firstByte: [0.3, 0.34], buffer: [0.7, 0.24] };

export class Strip {
  constructor(canvas, deck, pathways) {
    Object.assign(this, { canvas, deck, pathways, requests: [], firstBytes: [], buffer: [], marks: [] });
    deck.addEventListener("request", ({ detail }) => this.requests.push(detail));
    deck.addEventListener("firstbyte", ({ detail }) => this.firstBytes.push(detail));
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.drawnAt = 0;
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(canvas);
    setInterval(() => this.tick(), REDRAW_MS);
  }

  // A line with a word, as where the listener was moved.
  mark(text, kind) {
    this.marks.push({ at: performance.now(), text, kind });
  }

  tick() {
    const now = performance.now();
    this.buffer.push({ at: now, s: this.deck.sessions.length ? this.deck.bufferS : null });
    for (const name of ["firstBytes", "buffer", "marks"]) {
      this[name] = this[name].filter(({ at }) => now - at < WINDOW_MS + 1000);
    }
    // the last request before the window says what plays at its left edge
    const old = this.requests.findLastIndex(({ at }) => now - at > WINDOW_MS);
    if (old > 0) this.requests.splice(0, old);
    const due = now - this.drawnAt >= (this.calm.matches ? CALM_REDRAW_MS : 0);
    if (due && !document.hidden) this.draw(now);
  }

  draw(now = performance.now()) {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !height) return;
    this.drawnAt = now;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const color = (name) => style.getPropertyValue(name);
    const plot = {
      context, color, width, height,
      font: `11px ${style.fontFamily}`,
      x: (at) => LABEL_PX + (1 - (now - at) / WINDOW_MS) * (width - LABEL_PX),
      lane: (name, share) => height * (LANES[name][0] + (1 - share) * LANES[name][1]),
    };
    context.font = plot.font;
    this.drawGrid(plot);
    context.save();
    context.beginPath();
    context.rect(LABEL_PX, 0, width - LABEL_PX, height);
    context.clip();
    this.drawBuffer(plot);
    this.drawRungs(plot, now);
    this.drawFirstBytes(plot);
    this.drawMarks(plot);
    context.restore();
  }

  drawGrid({ context, color, width, height, lane }) {
    context.fillStyle = color("--line");
    for (const ms of [1, 10, 100, 1000]) context.fillRect(LABEL_PX, Math.round(lane("firstByte", level(ms))), width, 1);
    for (const s of [0, 10]) context.fillRect(LABEL_PX, Math.round(lane("buffer", s / MAX_BUFFER_S)), width, 1);
    context.fillStyle = color("--quiet");
    context.textBaseline = "middle";
    context.fillText("Pathway", 0, lane("rung", 0.5));
    context.fillText("First byte", 0, lane("firstByte", 1) - 9);
    context.fillText("Buffer", 0, lane("buffer", 1) - 4);
    context.textAlign = "right";
    for (const [ms, name] of [[10, "10 ms"], [100, "100"], [1000, "1 s"]]) {
      context.fillText(name, LABEL_PX - 6, lane("firstByte", level(ms)));
    }
    context.fillText("10 s", LABEL_PX - 6, lane("buffer", 10 / MAX_BUFFER_S));
    context.fillText("0", LABEL_PX - 6, lane("buffer", 0));
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (const s of [45, 30, 15]) {
      const x = LABEL_PX + (1 - (s * 1000) / WINDOW_MS) * (width - LABEL_PX);
      context.fillText(`−${s} s`, x, height - 1);
    }
    context.textAlign = "right";
    context.fillText("now", width, height - 1);
    context.textAlign = "left";
  }

  drawRungs({ context, color, x, lane, width }, now) {
    const top = lane("rung", 1);
    const size = lane("rung", 0) - top;
    context.textBaseline = "middle";
    let from = 0;
    for (let i = 0; i < this.requests.length; i += 1) {
      const { at, pathway, rung } = this.requests[from];
      const next = this.requests[i + 1];
      if (next && next.pathway === pathway && next.rung === rung) continue;
      const left = Math.max(LABEL_PX, x(at));
      const right = x(next ? next.at : now);
      from = i + 1;
      if (right <= LABEL_PX) continue;
      context.fillStyle = color(this.tint(pathway));
      context.beginPath();
      context.roundRect(left, top, Math.max(2, right - left - 1), size, 3);
      context.fill();
      const text = `${pathway} · ${rungName(rung)}`;
      const short = rungName(rung);
      context.fillStyle = color("--on-tint");
      const room = Math.min(right, width) - left - 12;
      const fits = [text, short].find((t) => context.measureText(t).width < room);
      if (fits) context.fillText(fits, left + 6, top + size / 2 + 1);
    }
  }

  drawFirstBytes({ context, color, x, lane }) {
    for (const { at, pathway, ms } of this.firstBytes) {
      context.fillStyle = color(this.tint(pathway));
      context.fillRect(x(at) - 1.5, lane("firstByte", level(ms)), 3, lane("firstByte", 0) - lane("firstByte", level(ms)));
    }
  }

  drawBuffer({ context, color, x, lane }) {
    const floor = lane("buffer", 0);
    context.fillStyle = color("--buffer");
    for (const [i, { at, s }] of this.buffer.entries()) {
      if (s === null) continue;
      const right = x(this.buffer[i + 1]?.at ?? at + REDRAW_MS);
      const top = lane("buffer", Math.min(1, s / MAX_BUFFER_S));
      context.fillRect(x(at), top, right - x(at) + 0.5, floor - top);
    }
  }

  drawMarks({ context, color, x, height, width, lane }) {
    context.textBaseline = "middle";
    // two rows, as an effect follows its cause; the newest word of a row is the one that is read
    const rows = { moved: lane("buffer", 1) - 7, shaped: lane("rung", 0) + 8 };
    const free = { moved: Infinity, shaped: Infinity };
    for (const { at, text, kind } of this.marks.toReversed()) {
      context.fillStyle = color(kind === "moved" ? "--accent" : "--ink");
      const left = Math.round(x(at));
      context.fillRect(left, 0, kind === "moved" ? 2 : 1, height - 14);
      const size = context.measureText(text).width;
      const from = left + 6 + size < width ? left + 6 : left - 6 - size;
      if (from + size + 4 > free[kind]) continue;
      free[kind] = from;
      context.fillText(text, from, rows[kind]);
    }
  }

  tint(pathway) {
    const known = this.pathways.findIndex((p) => p.id === pathway);
    return `--pathway-${Math.max(0, known)}`;
  }
}

// A share of the lane's height, by the logarithm: 5 ms and 700 ms are to be seen beside each other.
function level(ms) {
  const bounded = Math.min(Math.max(ms, MIN_FIRST_BYTE_MS), MAX_FIRST_BYTE_MS);
  return Math.log(bounded / MIN_FIRST_BYTE_MS) / Math.log(MAX_FIRST_BYTE_MS / MIN_FIRST_BYTE_MS);
}

const CODECS = { aac: "AAC", opus: "Opus", flac: "FLAC" };

// "aac-160k" as people say it.
export function rungName(rung) {
  const [codec, rate] = rung.split("-");
  return [CODECS[codec] ?? codec, rate?.replace(/k$/, " kb/s")].filter(Boolean).join(" ");
}
