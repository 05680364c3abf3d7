// Makes tracks equally loud: a gain from two numbers that were measured when the track was made.

const CEILING_DBTP = -1; // what no true peak may exceed: lossy decoders overshoot (EBU R 128 s2)
const GLIDE_S = 0.03; // a step in gain would click

// `lufs` is null for silence, of which nothing can be made.
export function matchingGain(loudness, targetLufs) {
  if (loudness?.lufs == null) return { gainDb: 0, limited: false };
  const wanted = targetLufs - loudness.lufs;
  const room = CEILING_DBTP - loudness.truePeakDbtp;
  return { gainDb: Math.min(wanted, Math.max(room, 0)), limited: wanted > Math.max(room, 0) };
}

export class Matching {
  constructor(audio) {
    Object.assign(this, { audio, on: true, targetLufs: -23, loudness: null, gain: null });
  }

  // A context that is made before somebody pressed a key stays silent.
  async wake() {
    if (!this.context) {
      this.context = new AudioContext({ latencyHint: "playback" });
      this.gain = this.context.createGain();
      this.source = this.context.createMediaElementSource(this.audio);
      this.source.connect(this.gain);
      this.gain.connect(this.context.destination);
      this.apply(true);
    }
    if (this.context.state !== "running") await this.context.resume();
  }

  get now() {
    return this.on ? matchingGain(this.loudness, this.targetLufs) : { gainDb: 0, limited: false };
  }

  apply(atOnce = false) {
    if (!this.gain) return;
    const value = 10 ** (this.now.gainDb / 20);
    if (atOnce) this.gain.gain.value = value;
    else this.gain.gain.setTargetAtTime(value, this.context.currentTime, GLIDE_S);
  }
}
