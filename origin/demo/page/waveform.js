// A waveform with a playhead: drawn from minima and maxima, sought in with pointer and keys.

const STEP_S = 5;
const BAR_PX = 2;
const GAP_PX = 1;

export class Waveform {
  // `onSeek(fraction)` is called for a place between 0 and 1.
  constructor(canvas, onSeek) {
    Object.assign(this, { canvas, onSeek, peaks: [], played: 0, seams: [] });
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(canvas);
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.seekTo(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) this.seekTo(event);
    });
  }

  seekTo(event) {
    const box = this.canvas.getBoundingClientRect();
    this.onSeek(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
  }

  show(peaks, seams = []) {
    Object.assign(this, { peaks, seams });
    this.draw();
  }

  // `played` is the share of the whole before the playhead; null if this does not play.
  progress(played) {
    const width = this.canvas.clientWidth;
    const same = this.played === null ? played === null
      : played !== null && Math.round(this.played * width) === Math.round(played * width);
    this.played = played;
    if (!same) this.draw();
  }

  draw() {
    const { canvas, peaks } = this;
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !height) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const [played, ahead, head] = ["--accent", "--ahead", "--ink"].map(
      (name) => style.getPropertyValue(name));
    const playhead = this.played === null ? -1 : this.played * width;
    const middle = height / 2;
    const columns = peaks.length / 2;
    for (let x = 0; x < width; x += BAR_PX + GAP_PX) {
      const [low, high] = extent(peaks, (x * columns) / width, ((x + BAR_PX + GAP_PX) * columns) / width);
      context.fillStyle = x < playhead ? played : ahead;
      const size = Math.max(1.5, (high - low) * (middle - 2));
      context.fillRect(x, middle - high * (middle - 2), BAR_PX, size);
    }
    context.fillStyle = head;
    for (const seam of this.seams) {
      for (let y = 0; y < height; y += 5) context.fillRect(Math.round(seam * width), y, 1, 2.5);
    }
    if (playhead >= 0) context.fillRect(Math.min(playhead, width - 2), 0, 2, height);
  }
}

function extent(peaks, from, to) {
  let low = 0;
  let high = 0;
  const last = Math.min(peaks.length / 2, Math.max(Math.floor(from) + 1, Math.floor(to)));
  for (let i = Math.floor(from); i < last; i += 1) {
    low = Math.min(low, peaks[2 * i]);
    high = Math.max(high, peaks[2 * i + 1]);
  }
  return [low, high];
}

// Gives the canvas the keys and the names of a slider over `deck`'s timeline.
export function makeSlider(canvas, deck) {
  canvas.addEventListener("keydown", (event) => {
    const now = deck.audio.currentTime;
    const places = {
      ArrowRight: now + STEP_S, ArrowUp: now + STEP_S, ArrowLeft: now - STEP_S,
      ArrowDown: now - STEP_S, PageUp: now + 3 * STEP_S, PageDown: now - 3 * STEP_S,
      Home: 0, End: deck.duration - STEP_S,
    };
    if (!(event.key in places) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // the page has these keys, too
    deck.seek(places[event.key]);
  });
}
