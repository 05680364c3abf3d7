// One door to three players: `harness.load(spec)`, then everything else through the media element.
import { trimDash, trimHls, trimShaka } from "./page/gapless.js";
import { teachDash, teachShaka } from "./page/steering.js";

const audio = document.querySelector("audio");
const SHORT_S = 8; // of buffer, so that a change of pathway shows soon
const errors = [];
// an MPD's id, or the end of a playlist's URL
const rungOf = (track) => track?.originalAudioId?.split("/").at(-1).replace(/\.m3u8$/, "");
const systems = new WeakMap(); // MediaKeys -> name of the key system
let current = null;

const create = MediaKeySystemAccess.prototype.createMediaKeys;
MediaKeySystemAccess.prototype.createMediaKeys = async function () {
  const keys = await create.call(this);
  systems.set(keys, this.keySystem);
  return keys;
};
addEventListener("error", (event) => errors.push(`page: ${event.message}`));
addEventListener("unhandledrejection", (event) => errors.push(`page: ${event.reason}`));
audio.addEventListener("error", () => errors.push(`media: ${audio.error?.message}`));

function script(path) {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = `players/${path}`;
    element.onload = resolve;
    element.onerror = () => reject(new Error(`${path} cannot be loaded`));
    document.head.append(element);
  });
}

const bearer = (token) => ({ Authorization: `Bearer ${token}` });

const players = {
  async shaka({ url, token, pathways, warns }) {
    await script(`shaka-player/dist/shaka-player.compiled${warns ? ".debug" : ""}.js`);
    if (warns) shaka.log.setLevel(shaka.log.Level.WARNING);
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    await player.attach(audio);
    const { RequestType } = shaka.net.NetworkingEngine;
    player.addEventListener("error", ({ detail }) =>
      errors.push(`shaka ${detail.code}: ${JSON.stringify(detail.data)?.slice(0, 500)}`));
    player.getNetworkingEngine().registerRequestFilter((type, request) => {
      if (token && (type === RequestType.LICENSE || type === RequestType.KEY)) {
        Object.assign(request.headers, bearer(token));
      }
    });
    trimShaka(player);
    if (pathways) teachShaka(player, shaka, pathways);
    player.configure({ streaming: { bufferingGoal: pathways ? SHORT_S : 30 } });
    await player.load(url);
    return {
      rung: () => rungOf(player.getVariantTracks().find((t) => t.active)),
      rungs: () => [...new Set(player.getVariantTracks().map(rungOf))],
      select: (name) => {
        player.configure({ abr: { enabled: false } });
        player.selectVariantTrack(player.getVariantTracks().find(
          (t) => rungOf(t) === name), true);
      },
      destroy: () => player.destroy(),
    };
  },

  async hls({ url, token, license, pathways, warns }) {
    await script("hls.js/dist/hls.min.js");
    const hls = new Hls({
      debug: warns && { warn: (...said) => console.warn("hls.js", ...said),
        error: (...said) => console.error("hls.js", ...said) },
      emeEnabled: true,
      drmSystems: license ? { "org.w3.clearkey": { licenseUrl: license } } : {},
      licenseXhrSetup: (xhr, target) => {
        xhr.open("POST", target, true);
        if (token) xhr.setRequestHeader("Authorization", `Bearer ${token}`);
      },
      maxBufferLength: pathways ? SHORT_S : 30,
      maxMaxBufferLength: pathways ? SHORT_S : 600,
    });
    hls.on(Hls.Events.ERROR, (_, data) => {
      if (data.fatal) errors.push(`hls.js ${data.details}: ${data.error?.message}`);
    });
    trimHls(hls, Hls);
    hls.loadSource(url);
    hls.attachMedia(audio);
    const name = (level) => level?.attrs["STABLE-VARIANT-ID"];
    return {
      rung: () => name(hls.levels[hls.currentLevel]),
      rungs: () => hls.levels.map(name),
      select: (wanted) => { hls.currentLevel = hls.levels.findIndex((l) => name(l) === wanted); },
      destroy: () => hls.destroy(),
    };
  },

  async dash({ url, token, pathways, warns }) {
    await script("dashjs/dist/modern/umd/dash.all.min.js");
    const player = dashjs.MediaPlayer().create();
    trimDash(player);
    player.initialize();
    player.updateSettings({
      debug: { logLevel: dashjs.Debug[`LOG_LEVEL_${warns ? "WARNING" : "NONE"}`] },
      streaming: { buffer: pathways ? { bufferTimeDefault: SHORT_S,
        bufferTimeAtTopQuality: SHORT_S, bufferTimeAtTopQualityLongForm: SHORT_S } : {} },
    });
    if (token) {
      player.setProtectionData({ "org.w3.clearkey": { httpRequestHeaders: bearer(token) } });
    }
    player.on(dashjs.MediaPlayer.events.ERROR, ({ error }) =>
      errors.push(`dash.js ${error?.code}: ${error?.message}`));
    if (pathways) teachDash(player, dashjs);
    player.attachView(audio);
    player.setAutoPlay(false);
    // Before that it would miss that playback started, and never ask for steering.
    const ready = new Promise((resolve) => {
      player.on(dashjs.MediaPlayer.events.STREAM_INITIALIZED, resolve);
      player.on(dashjs.MediaPlayer.events.ERROR, resolve);
    });
    player.attachSource(url);
    await ready;
    const tracks = () => player.getTracksFor("audio");
    return {
      rung: () => player.getCurrentRepresentationForType("audio")?.id,
      rungs: () => tracks().flatMap((t) => t.bitrateList.map((b) => b.id)),
      select: (wanted) => {
        player.updateSettings({ streaming: { abr: { autoSwitchBitrate: { audio: false } } } });
        const track = tracks().find((t) => t.bitrateList.some((b) => b.id === wanted));
        if (track) player.setCurrentTrack(track);
        player.setRepresentationForTypeById("audio", wanted);
      },
      destroy: () => player.destroy(),
    };
  },
};

const METER = `registerProcessor("meter", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.restart();
    this.port.onmessage = () => {
      this.port.postMessage([this.squares, this.frames, this.peak, this.silent]);
      this.restart();
    };
  }
  restart() { this.squares = this.frames = this.peak = this.silent = 0; }
  process([channels]) {
    for (const channel of channels) {
      let squares = 0;
      for (const x of channel) {
        squares += x * x;
        if (Math.abs(x) > this.peak) this.peak = Math.abs(x);
      }
      if (squares) this.frames += channel.length; else this.silent += channel.length;
      this.squares += squares;
    }
    return true;
  }
});`;

let meter = null;

// A player that is still at work on the element pauses it, and aborts an early attempt.
const RETRIES = 50;
const RETRY_MS = 100;

function start(retries) {
  audio.play().catch((error) => {
    if (retries && error.name === "AbortError") setTimeout(start, RETRY_MS, retries - 1);
  });
}

window.harness = {
  async load(spec) {
    if (current) await current.destroy();
    errors.length = 0;
    current = await players[spec.player](spec);
  },
  play: () => start(RETRIES),
  pause: () => audio.pause(),
  seek: (seconds) => { audio.currentTime = seconds; },
  rate: (rate) => { audio.playbackRate = rate; },
  select: (name) => current.select(name),
  state: () => ({
    time: audio.currentTime,
    duration: Number.isFinite(audio.duration) ? audio.duration : null,
    buffered: [...Array(audio.buffered.length).keys()].map(
      (i) => [audio.buffered.start(i), audio.buffered.end(i)]),
    paused: audio.paused,
    ended: audio.ended,
    ready: audio.readyState,
    rung: current?.rung() ?? null,
    rungs: current?.rungs() ?? [],
    keySystem: audio.mediaKeys ? systems.get(audio.mediaKeys) ?? null : null,
    errors: [...errors],
  }),
  // From now on what the element plays goes through a meter; once per page.
  async meter() {
    const context = new AudioContext({ sampleRate: 48000 });
    const module = URL.createObjectURL(new Blob([METER], { type: "text/javascript" }));
    await context.audioWorklet.addModule(module);
    meter = new AudioWorkletNode(context, "meter");
    context.createMediaElementSource(audio).connect(meter).connect(context.destination);
    await context.resume();
  },
  // What came out since the last call, all channels together; full scale is 1. Blocks of digital
  // silence are a player that waits, not music: they are counted apart.
  level: () => new Promise((resolve) => {
    meter.port.onmessage = ({ data: [squares, frames, peak, silent] }) =>
      resolve({ rms: frames ? Math.sqrt(squares / frames) : 0, peak, frames, silent });
    meter.port.postMessage(null);
  }),
};
document.body.dataset.ready = "yes";
