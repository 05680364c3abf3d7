// Joins whole CMAF files in one SourceBuffer and records what comes out, sample by sample.
const audio = document.querySelector("audio");

const RECORDER = `registerProcessor("recorder", class extends AudioWorkletProcessor {
  constructor({ processorOptions: { frames } }) {
    super();
    this.pcm = new Float32Array(2 * frames); // left and right by turns
    this.at = 0;
    this.port.onmessage = () => this.port.postMessage(this.pcm.slice(0, this.at));
  }
  process([channels]) {
    if (channels.length === 0) return true;
    const left = channels[0];
    const right = channels[channels.length - 1];
    for (let i = 0; i < left.length && this.at < this.pcm.length; i += 1) {
      this.pcm[this.at++] = left[i];
      this.pcm[this.at++] = right[i];
    }
    return true;
  }
});`;

const happens = (target, name) => new Promise((resolve, reject) => {
  target.addEventListener(name, resolve, { once: true });
  audio.addEventListener("error", () => reject(new Error(audio.error.message)), { once: true });
});

const base64url = (hex) => btoa(String.fromCharCode(...hex.match(/../g).map((x) => parseInt(x, 16))))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

async function openWith(keys) {
  const access = await navigator.requestMediaKeySystemAccess("org.w3.clearkey", [{
    initDataTypes: ["cenc"],
    audioCapabilities: [{ contentType: 'audio/mp4; codecs="opus"', encryptionScheme: "cbcs" }],
  }]);
  const license = new TextEncoder().encode(JSON.stringify({
    type: "temporary",
    keys: Object.entries(keys).map(([kid, k]) => (
      { kty: "oct", kid: base64url(kid), k: base64url(k) })),
  }));
  const mediaKeys = await access.createMediaKeys();
  await audio.setMediaKeys(mediaKeys);
  audio.addEventListener("encrypted", async ({ initDataType, initData }) => {
    const session = mediaKeys.createSession();
    session.addEventListener("message", () => session.update(license));
    await session.generateRequest(initDataType, initData);
  });
}

// Each track: url, start and end in seconds, and whether the append window trims it to these.
async function append(buffer, { url, start, end, trimmed }) {
  const bytes = await (await fetch(url)).arrayBuffer();
  buffer.timestampOffset = start;
  buffer.appendWindowEnd = trimmed ? end : Infinity; // the end first: it must lie behind the start
  buffer.appendWindowStart = trimmed ? start : 0;
  const done = happens(buffer, "updateend");
  buffer.appendBuffer(bytes);
  await done;
}

// Plays from second `from` to second `to` and returns the stereo samples as base64 of floats.
window.record = async ({ tracks, type, keys, rate, from, to }) => {
  if (keys) await openWith(keys);
  const source = new MediaSource();
  audio.src = URL.createObjectURL(source);
  await happens(source, "sourceopen");
  const buffer = source.addSourceBuffer(type);
  for (const track of tracks) await append(buffer, track);
  source.endOfStream();

  const context = new AudioContext({ sampleRate: rate, latencyHint: "playback" });
  const module = URL.createObjectURL(new Blob([RECORDER], { type: "text/javascript" }));
  await context.audioWorklet.addModule(module);
  const recorder = new AudioWorkletNode(context, "recorder", {
    processorOptions: { frames: Math.ceil((to - from + 4) * rate) },
  });
  context.createMediaElementSource(audio).connect(recorder).connect(context.destination);
  await context.resume();
  const ready = happens(audio, "canplaythrough");
  audio.currentTime = from;
  await ready;
  await audio.play();
  while (audio.currentTime < to && !audio.ended) {
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  const pcm = await new Promise((resolve) => {
    recorder.port.onmessage = ({ data }) => resolve(data);
    recorder.port.postMessage(null);
  });
  await context.close();
  const ranges = [...Array(buffer.buffered.length).keys()].map(
    (i) => [buffer.buffered.start(i), buffer.buffered.end(i)]);
  const bytes = new Uint8Array(pcm.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return { pcm: btoa(text), ranges };
};
document.body.dataset.ready = "yes";
