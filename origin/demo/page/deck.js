// Plays one track, or several joined, and tells what the network does meanwhile.
//
// Events: `change` (what plays, or whether), `request` {at, pathway, rung} for each media request,
// `firstbyte` {at, pathway, ms} once its answer begins, `steered` {to}, `failed` {message}.
import { trimShaka } from "./gapless.js";
import { joinManifests } from "./join.js";
import { startSession } from "./session.js";
import { teachShaka } from "./steering.js";

const BUFFER_S = 8; // short, so that a change of pathway shows soon
const SEGMENT_S = 3.84;
const HURRY_MS = 3000;
const ATTEMPTS = { maxAttempts: 3, baseDelay: 200, connectionTimeout: 3000, stallTimeout: 3000 };

export class Deck extends EventTarget {
  static async open(audio, config, shaka) {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    await player.attach(audio);
    return new Deck(audio, config, shaka, player);
  }

  constructor(audio, config, shaka, player) {
    super();
    Object.assign(this, { audio, config, shaka, player });
    Object.assign(this, { sessions: [], parts: [], pathway: null, rung: null, startMs: null });
    this.best = null;
    this.turn = 0;
    this.watchPlayer();
    this.watchNetwork();
    for (const name of ["play", "pause", "seeked", "ended", "volumechange"]) {
      audio.addEventListener(name, () => this.tell("change"));
    }
    setInterval(() => this.beat().catch(() => {}), 1000);
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  get tracks() {
    return this.sessions.map((session) => session.track);
  }

  get duration() {
    const last = this.parts.at(-1);
    return last ? last.start + last.duration : 0;
  }

  get index() {
    const behind = this.parts.findLastIndex(({ start }) => this.audio.currentTime >= start);
    return Math.max(0, behind);
  }

  get track() {
    return this.tracks[this.index];
  }

  get bufferS() {
    const { buffered, currentTime } = this.audio;
    return buffered.length ? Math.max(0, buffered.end(buffered.length - 1) - currentTime) : 0;
  }

  // Tracks in a row are joined without a hole; that takes one DASH manifest for all of them.
  async play(tracks, choice, fromS = 0) {
    const startedAt = performance.now();
    const turn = this.turn += 1;
    await this.stop();
    const sessions = await Promise.all(tracks.map((t) => startSession(this.config, t, choice)));
    if (turn !== this.turn) return;
    this.sessions = sessions;
    const [first] = sessions;
    let url = first.answer.manifests[choice.manifest];
    this.parts = [{ start: 0, duration: tracks[0].durationS }];
    if (tracks.length > 1) {
      const joined = await joinManifests(sessions, this.config.pathways);
      if (turn !== this.turn) return;
      ({ url, parts: this.parts } = joined);
    }
    this.best = first.startPathway;
    this.startMs = null;
    this.tell("change");
    this.player.configure({ drm: { servers: { "org.w3.clearkey": first.license.clearkey.url } } });
    // without its type, Shaka would ask for the head of a blob, which has none
    const type = tracks.length > 1 ? "application/dash+xml" : undefined;
    await this.player.load(url, fromS || undefined, type);
    if (type) URL.revokeObjectURL(url);
    const sounds = () => {
      if (this.startMs !== null || this.audio.currentTime <= fromS) return;
      this.startMs = performance.now() - startedAt;
      this.audio.removeEventListener("timeupdate", sounds);
    };
    this.audio.addEventListener("timeupdate", sounds);
    await this.audio.play();
  }

  async stop() {
    const ended = this.sessions;
    this.sessions = [];
    this.parts = [];
    if (!ended.length) return;
    const positionS = this.audio.currentTime;
    await Promise.all(ended.map((s) => s.beat("end", positionS).catch(() => {})));
    await this.player.unload();
  }

  toggle() {
    if (!this.sessions.length) return;
    if (this.audio.paused) this.audio.play().catch((error) => this.fail(error));
    else this.audio.pause();
  }

  seek(seconds) {
    if (!this.sessions.length) return;
    this.audio.currentTime = Math.min(Math.max(0, seconds), Math.max(0, this.duration - 0.05));
  }

  fail(error) {
    // a track that is started while another one starts interrupts it: that is no error
    const { LOAD_INTERRUPTED } = this.shaka.util.Error.Code;
    if (error.name === "AbortError" || error.code === LOAD_INTERRUPTED) return;
    this.tell("failed", { message: error.code ? `Player error ${error.code}` : error.message });
  }

  watchPlayer() {
    const { player, shaka } = this;
    const { LICENSE, KEY, SEGMENT, CONTENT_STEERING } = shaka.net.NetworkingEngine.RequestType;
    player.addEventListener("error", (event) => this.fail(event.detail));
    player.getNetworkingEngine().registerRequestFilter((type, request) => {
      if (type === LICENSE || type === KEY) {
        request.headers.Authorization = `Bearer ${this.sessionFor(request).license.token}`;
        if (type === LICENSE) request.headers["Content-Type"] = "application/json";
      }
      for (const session of this.sessions) request.uris = request.uris.map((u) => session.renewed(u));
      if (type === SEGMENT) this.requested(request.uris[0]);
    });
    player.getNetworkingEngine().registerResponseFilter((type, response) => {
      if (type === CONTENT_STEERING) this.steered(response.data);
    });
    trimShaka(player);
    teachShaka(player, shaka, this.config.pathways);
    player.configure({
      streaming: { bufferingGoal: BUFFER_S, retryParameters: ATTEMPTS },
      manifest: { retryParameters: ATTEMPTS },
    });
  }

  // Each track has keys of its own, and a token that opens no other track's.
  sessionFor(request) {
    if (this.sessions.length === 1 || !request.body) return this.sessions[0];
    const { kids } = JSON.parse(new TextDecoder().decode(request.body));
    const wanted = hex(kids[0]);
    return this.sessions.find((session) => session.kids.has(wanted)) ?? this.sessions[0];
  }

  requested(url) {
    const pathway = this.pathwayOf(url);
    const rung = /\/([a-z0-9-]+)\/\d+\.m4s/.exec(url)?.[1];
    if (!pathway || !rung) return;
    const before = this.pathway;
    this.pathway = pathway.id;
    this.rung = rung;
    this.tell("request", { at: performance.now(), pathway: pathway.id, rung, before });
  }

  // What is buffered from the old pathway stays; the new one is tried at once.
  steered(data) {
    const { "PATHWAY-PRIORITY": order } = JSON.parse(new TextDecoder().decode(data));
    const best = order[0] === "base" ? this.sessions[0]?.startPathway : order[0];
    if (!best || best === this.best) return;
    this.best = best;
    this.tell("steered", { at: performance.now(), to: best });
    this.player.configure("streaming.bufferingGoal", BUFFER_S + SEGMENT_S);
    clearTimeout(this.hurry);
    this.hurry = setTimeout(
      () => this.player.configure("streaming.bufferingGoal", BUFFER_S), HURRY_MS);
  }

  pathwayOf(url) {
    return this.config.pathways.find((p) => url.startsWith(`${p.baseUrl}/`));
  }

  // Request to first byte, as this listener saw it. It is not reported (`POST /v1/rum`): the router
  // weighs listeners against its probes, and here all of them are this one, some minutes ago.
  watchNetwork() {
    performance.setResourceTimingBufferSize(2000);
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const pathway = entry.name.includes(".m4s") && this.pathwayOf(entry.name);
        if (!pathway || !entry.responseStart || !entry.requestStart) continue;
        const ms = entry.responseStart - entry.requestStart;
        this.tell("firstbyte", { at: entry.responseStart, pathway: pathway.id, ms });
      }
    }).observe({ type: "resource", buffered: true });
  }

  async beat() {
    const [first] = this.sessions;
    const everyMs = first && first.answer.heartbeatS * 1000;
    if (!first || performance.now() - (this.lastBeat ?? -Infinity) < everyMs) return;
    this.lastBeat = performance.now();
    await Promise.all(this.sessions.map((s) => s.beat("heartbeat", this.audio.currentTime)));
  }
}

function hex(base64url) {
  const bytes = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return [...bytes].map((c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}
