// The page of `tonearm demo`: a listener's view of one origin, two pathways and a key server.
import { trimShaka } from "./gapless.js";
import { teachShaka } from "./steering.js";

const BEACON_INTERVAL_MS = 2000;
const STATUS_INTERVAL_MS = 250;
const BUFFER_S = 8; // short, so that a change of pathway shows soon

const $ = (id) => document.getElementById(id);
const audio = $("audio");
let config;
let player;
let session;

class Session {
  constructor(track, answer, startedAt) {
    Object.assign(this, { track, answer, startedAt, seq: 0, startMs: null });
    this.license = answer.license;
    this.reported = new Set();
  }

  async post(path, body) {
    const response = await fetch(config.origin + path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${this.license.token}` },
      body: JSON.stringify(body),
      keepalive: true,
    });
    return response.ok && response.status !== 204 ? response.json() : null;
  }

  async beat(call) {
    this.seq += 1;
    const positionMs = Math.round(audio.currentTime * 1000);
    const answer = await this.post(`/v1/play/${call}`, {
      sessionId: this.answer.sessionId, seq: this.seq, positionMs,
    });
    if (answer?.license) this.license = answer.license;
  }

  // what this listener saw of each pathway: request to first byte of fresh segment requests
  async beacon() {
    const reports = [];
    for (const entry of performance.getEntriesByType("resource")) {
      if (!entry.name.includes(".m4s") || !entry.responseStart) continue;
      const key = entry.name + entry.startTime;
      const pathway = pathwayOf(entry.name);
      if (!pathway || this.reported.has(key)) continue;
      this.reported.add(key);
      reports.push({ pathway: pathway.id, firstByteMs: entry.responseStart - entry.requestStart });
    }
    if (reports.length) await this.post("/v1/rum", reports.slice(-16));
  }
}

const pathwayOf = (url) => config.pathways.find((p) => url.startsWith(`${p.baseUrl}/`));

async function userToken() {
  const response = await fetch(`demo/user-token?tier=${$("tier").value}`);
  return (await response.json()).token;
}

async function start(track) {
  const startedAt = performance.now();
  $("error").textContent = "";
  await stop();
  const response = await fetch(`${config.origin}/v1/play/start`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Authorization: `Bearer ${await userToken()}`,
      "Idempotency-Key": `"${crypto.randomUUID()}"`,
    },
    body: JSON.stringify({
      trackId: track.trackId, deviceId: "demo-browser", qualityHint: "auto", scheme: $("scheme").value,
    }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.detail}. ${answer.hint ?? ""}`);
  session = new Session(track, answer, startedAt);
  const url = answer.manifests[$("manifest").value];
  player.configure({ drm: { servers: { "org.w3.clearkey": answer.license.clearkey.url } } });
  await player.load(url);
  await audio.play();
  audio.addEventListener("timeupdate", () => {
    if (session && session.startMs === null && audio.currentTime > 0) {
      session.startMs = performance.now() - session.startedAt;
    }
  }, { once: true });
  for (const item of $("tracks").children) {
    item.classList.toggle("playing", item.dataset.track === track.trackId);
  }
}

async function stop() {
  if (!session) return;
  const ended = session;
  session = undefined;
  await ended.beat("end");
  await player.unload();
}

function fail(error) {
  // a track that is started while another one starts interrupts it: that is no error
  if (error.name === "AbortError" || error.code === window.shaka?.util.Error.Code.LOAD_INTERRUPTED) return;
  $("error").textContent = error.code ? `Player error ${error.code}` : error.message;
}

function rung() {
  const variant = player.getVariantTracks().find((t) => t.active);
  if (!variant) return "–";
  const codec = variant.audioCodec ?? variant.codecs;
  return `${codec} at ${Math.round(variant.bandwidth / 1000)} kb/s (${
    player.getVariantTracks().length} to choose from)`;
}

function currentPathway() {
  const entries = performance.getEntriesByType("resource").filter((e) => e.name.includes(".m4s"));
  const last = entries.at(-1);
  return last && pathwayOf(last.name);
}

function showStatus() {
  if (!session) return;
  const ahead = audio.buffered.length ? audio.buffered.end(audio.buffered.length - 1) - audio.currentTime : 0;
  $("s-track").textContent = session.track.title;
  $("s-rung").textContent = rung();
  $("s-buffer").textContent = `${Math.max(0, ahead).toFixed(1)} s ahead`;
  $("s-drm").textContent = player.keySystem()
    ? `${player.keySystem()}, ${$("scheme").value}` : "none";
  const pathway = currentPathway();
  $("s-pathway").textContent = pathway ? `${pathway.id} (${pathway.baseUrl})` : "–";
  $("s-start").textContent = session.startMs === null
    ? "starting" : `${Math.round(session.startMs)} ms from press to sound`;
  $("s-session").textContent = session.answer.sessionId;
  for (const row of $("pathways").children) {
    row.classList.toggle("active", row.dataset.id === pathway?.id);
  }
}

async function showPathways() {
  const answer = await (await fetch("demo/pathways")).json();
  for (const pathway of answer.pathways) {
    const row = $("pathways").querySelector(`[data-id="${pathway.id}"]`);
    row.cells[2].textContent = pathway.measuredMs === null ? "–" : `${pathway.measuredMs.toFixed(0)} ms`;
    row.cells[3].textContent = pathway.degraded ? "degraded" : `+${pathway.latencyMs} ms`;
    row.querySelector("button").textContent = pathway.degraded ? "Restore" : "Degrade";
    row.querySelector("button").dataset.degraded = pathway.degraded;
  }
}

function pathwayRow(pathway) {
  const row = document.createElement("tr");
  row.dataset.id = pathway.id;
  for (const text of [pathway.id, pathway.baseUrl.replace("http://", ""), "–", "–"]) {
    row.insertCell().textContent = text;
  }
  const button = document.createElement("button");
  button.textContent = "Degrade";
  button.addEventListener("click", async () => {
    const degraded = button.dataset.degraded !== "true";
    await fetch("demo/shape", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ pathway: pathway.id, degraded }),
    });
    await showPathways();
  });
  row.insertCell().append(button);
  return row;
}

function drawWaveform(canvas, peaks) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(canvas).color;
  const columns = peaks.length / 2;
  const middle = canvas.height / 2;
  for (let x = 0; x < canvas.width; x += 1) {
    const from = Math.floor((x * columns) / canvas.width);
    const to = Math.max(from + 1, Math.floor(((x + 1) * columns) / canvas.width));
    let low = 0;
    let high = 0;
    for (let i = from; i < to; i += 1) {
      low = Math.min(low, peaks[2 * i]);
      high = Math.max(high, peaks[2 * i + 1]);
    }
    context.fillRect(x, middle - high * middle, 1, Math.max(1, (high - low) * middle));
  }
}

function trackRow(track) {
  const item = document.createElement("li");
  item.dataset.track = track.trackId;
  const button = document.createElement("button");
  button.className = "play";
  button.textContent = "▶";
  button.ariaLabel = `Play ${track.title}`;
  button.addEventListener("click", () => start(track).catch(fail));
  const title = document.createElement("div");
  title.className = "title";
  title.textContent = track.title;
  const detail = document.createElement("small");
  detail.textContent = `${track.durationS.toFixed(1)} s, ${track.renditions} renditions`;
  title.append(detail);
  const canvas = document.createElement("canvas");
  canvas.addEventListener("click", (event) => {
    if (session?.track === track) {
      audio.currentTime = (event.offsetX / canvas.clientWidth) * track.durationS;
    } else {
      start(track).catch(fail);
    }
  });
  const loudness = document.createElement("div");
  loudness.className = "loudness";
  const lines = track.integratedLufs === null
    ? ["silent"] : [`${track.integratedLufs.toFixed(1)} LUFS`, `${track.truePeakDbtp.toFixed(1)} dBTP`];
  for (const line of lines) {
    loudness.append(line, document.createElement("br"));
  }
  item.append(button, title, canvas, loudness);
  return { item, canvas };
}

async function main() {
  config = await (await fetch("demo/config")).json();
  for (const pathway of config.pathways) $("pathways").append(pathwayRow(pathway));
  const { tracks } = await (await fetch("demo/tracks")).json();
  for (const track of tracks) {
    const { item, canvas } = trackRow(track);
    $("tracks").append(item);
    drawWaveform(canvas, track.peaks);
  }
  await showPathways();
  setInterval(() => showPathways().catch(() => {}), BEACON_INTERVAL_MS);
  if (!window.shaka) {
    $("missing").hidden = false;
    $("missing").textContent = "The player library is missing: run 'make players' (it needs npm), "
      + "then start the demo again. Everything else on this page works without it.";
    for (const button of document.querySelectorAll(".play")) button.disabled = true;
    return;
  }
  shaka.polyfill.installAll();
  player = new shaka.Player();
  await player.attach(audio);
  player.getNetworkingEngine().registerRequestFilter((type, request) => {
    const { LICENSE, KEY } = shaka.net.NetworkingEngine.RequestType;
    if (type === LICENSE || type === KEY) {
      request.headers.Authorization = `Bearer ${session.license.token}`;
      if (type === LICENSE) request.headers["Content-Type"] = "application/json";
    }
  });
  player.addEventListener("error", (event) => fail(event.detail));
  trimShaka(player);
  teachShaka(player, shaka, config.pathways);
  player.configure({ streaming: { bufferingGoal: BUFFER_S } });
  performance.setResourceTimingBufferSize(5000);
  setInterval(showStatus, STATUS_INTERVAL_MS);
  setInterval(() => session?.beacon().catch(() => {}), BEACON_INTERVAL_MS);
  let lastBeat = 0;
  setInterval(() => {
    if (session && performance.now() - lastBeat > session.answer.heartbeatS * 1000) {
      lastBeat = performance.now();
      session.beat("heartbeat").catch(fail);
    }
  }, 1000);
  audio.addEventListener("ended", () => session?.beat("end").catch(() => {}));
  window.demo = { player, audio, session: () => session, pathway: currentPathway };
}

main().catch(fail);
