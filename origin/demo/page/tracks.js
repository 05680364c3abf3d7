// The list of tracks, albums in one piece, and what could not be played.
import { Waveform } from "./waveform.js";

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  svg.setAttribute("aria-hidden", "true");
  return svg;
}

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export const number = (value) => value.toFixed(1).replace("-", "−");

export class TrackList {
  // `actions`: play(track, fraction), toggle(), album(tracks).
  constructor(list, actions) {
    Object.assign(this, { list, actions, tracks: [], rows: new Map(), shown: "" });
  }

  // Rows are made anew only if something changed: the focus and the waveforms stay.
  show(tracks) {
    const now = tracks.map((t) => `${t.trackId}/${t.albumId}/${t.durationS}/${t.loudness?.lufs}`).join();
    if (now === this.shown) return false;
    this.shown = now;
    this.tracks = tracks;
    const focused = document.activeElement?.closest("#tracks li")?.dataset.track;
    this.rows.clear();
    this.list.replaceChildren();
    let album = null;
    for (const track of tracks) {
      if (track.albumId && track.albumId !== album) this.addAlbum(track.albumId);
      album = track.albumId;
      this.addTrack(track);
    }
    this.rows.get(focused)?.button.focus();
    return true;
  }

  addAlbum(albumId) {
    const tracks = this.tracks.filter((t) => t.albumId === albumId);
    if (tracks.length < 2) return;
    const button = element("button", { type: "button", className: "join", textContent: "Play without a hole" });
    button.addEventListener("click", () => this.actions.album(tracks));
    const name = albumId.split("-").map((word) => word[0].toUpperCase() + word.slice(1)).join(" ");
    button.ariaLabel = `Play the album ${name} without a hole`;
    const item = element("li", { className: "album" },
      element("span", {}, element("strong", { textContent: name }), ` · ${tracks.length} tracks`), button);
    this.list.append(item);
  }

  addTrack(track) {
    const button = element("button", { type: "button", className: "round play" }, icon("play"));
    button.ariaLabel = `Play ${track.title}`;
    button.addEventListener("click", () => this.actions.play(track));
    const title = element("div", { className: "title" },
      element("span", { textContent: track.title, title: track.title }),
      element("small", { textContent: [track.artist, clock(Math.round(track.durationS)), `${track.renditions} rungs`]
        .filter(Boolean).join(" · ") }));
    const canvas = element("canvas", { ariaHidden: "true" });
    const { lufs, truePeakDbtp } = track.loudness ?? {};
    const loudness = element("div", { className: "loudness" });
    if (lufs == null) loudness.append("silent");
    else {
      loudness.append(element("span", { textContent: `${number(lufs)} LUFS` }),
        element("small", { textContent: `${number(truePeakDbtp)} dBTP` }));
    }
    const item = element("li", {}, button, title, canvas, loudness);
    item.dataset.track = track.trackId;
    this.list.append(item);
    const wave = new Waveform(canvas, (fraction) => this.actions.play(track, fraction));
    wave.progress(null);
    wave.show(track.peaks);
    this.rows.set(track.trackId, { item, button, wave, track });
  }

  // `played` is the share of the current track that was heard.
  mark(current, played, playing) {
    for (const { item, button, wave, track } of this.rows.values()) {
      const here = track.trackId === current?.trackId;
      wave.progress(here ? played : null);
      const name = here && playing ? "pause" : "play";
      if (item.dataset.state === `${here}${name}`) continue;
      item.dataset.state = `${here}${name}`;
      item.classList.toggle("playing", here);
      if (here) item.setAttribute("aria-current", "true");
      else item.removeAttribute("aria-current");
      button.replaceChildren(icon(name));
      button.ariaLabel = `${name === "pause" ? "Pause" : "Play"} ${track.title}`;
    }
  }
}

export function showRefused(box, refused) {
  box.hidden = !refused.length;
  box.querySelector("ul").replaceChildren(...refused.map(({ name, reason, hint }) => element("li", {},
    element("strong", { textContent: name }), element("span", { textContent: reason }),
    element("small", { textContent: hint }))));
}
