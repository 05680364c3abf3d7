// The page of `tonearm demo`: a listener's view of one origin, two pathways and a key server.
import { Deck } from "./deck.js";
import { listenToKeys } from "./keys.js";
import { Matching } from "./loudness.js";
import { Pathways } from "./pathways.js";
import { rungName, Strip } from "./strip.js";
import { clock, element, icon, number, showRefused, TrackList } from "./tracks.js";
import { makeSlider, Waveform } from "./waveform.js";

const STATUS_INTERVAL_MS = 100;
const TRACKS_INTERVAL_MS = 1500;
const MAX_SWITCHES = 6;
const RESTART_S = 3; // "previous" goes to the start of a track that has played for longer

const $ = (id) => document.getElementById(id);
const audio = $("audio");

let config;
let deck;
let matching;
let pathways;
let list;
let strip;
let wave;

const choice = () => ({ tier: $("tier").value, manifest: $("manifest").value, scheme: $("scheme").value });

async function play(tracks, fraction = 0) {
  if (!deck) return; // without a player, waveforms are to be looked at
  $("error").textContent = "";
  const lengthS = tracks.reduce((sum, t) => sum + t.durationS, 0);
  try {
    await matching.wake();
    await deck.play(tracks, choice(), fraction * lengthS);
  } catch (error) {
    deck.fail(error);
  }
}

// A track of the list: from the start, or from where its waveform was pressed.
function pick(track, fraction) {
  if (!deck) return;
  const index = deck.tracks.findIndex((t) => t.trackId === track.trackId);
  if (index < 0) play([track], fraction);
  else if (fraction !== undefined) {
    const { start, duration } = deck.parts[index];
    deck.seek(start + fraction * duration);
  } else if (index === deck.index) deck.toggle();
  else deck.seek(deck.parts[index].start);
}

function toggle() {
  if (deck.sessions.length) deck.toggle();
  else if (list.tracks.length) play([list.tracks[0]]);
}

function step(by) {
  const part = deck.parts[deck.index];
  if (part && by < 0 && audio.currentTime - part.start > RESTART_S) return deck.seek(part.start);
  const inside = deck.parts[deck.index + by];
  if (inside) return deck.seek(inside.start);
  const at = list.tracks.findIndex((t) => t.trackId === deck.track?.trackId);
  const other = list.tracks[at + by];
  if (other) play([other]);
  return undefined;
}

function showPlayer() {
  const { track, parts } = deck;
  const playing = Boolean(track) && !audio.paused && !audio.ended;
  $("toggle").replaceChildren(icon(playing ? "pause" : "play"));
  $("toggle").ariaLabel = playing ? "Pause" : "Play";
  $("mute").replaceChildren(icon(audio.muted ? "muted" : "sound"));
  $("mute").ariaPressed = String(audio.muted);
  if (!track) return;
  $("s-track").textContent = track.title;
  $("s-by").textContent = [track.artist, parts.length > 1 && `${deck.index + 1} of ${parts.length}, joined`]
    .filter(Boolean).join(" · ") || "\u00a0";
  document.title = playing ? `${track.title} · tonearm` : "tonearm demo";
  showGain();
}

function showGain() {
  const joined = deck.parts.length > 1;
  const track = deck.track;
  // one gain for all of an album, or its quiet tracks would be as loud as its loud ones
  matching.loudness = (joined && track?.albumLoudness) || track?.loudness || null;
  matching.apply();
  $("match").ariaChecked = String(matching.on);
  const { lufs } = matching.loudness ?? {};
  if (lufs == null) {
    $("s-gain").textContent = "";
    return;
  }
  const { gainDb, limited } = matching.now;
  const sign = gainDb > 0.05 ? "+" : "";
  $("s-gain").textContent = matching.on
    ? `${number(lufs)} LUFS ${sign}${number(gainDb)} dB → ${number(lufs + gainDb)}${limited ? ", held by its peak" : ""}`
    : `${number(lufs)} LUFS, as mastered`;
}

function showWave() {
  const { tracks, parts, duration } = deck;
  const columns = 1600;
  const peaks = parts.length < 2 ? tracks[0]?.peaks ?? [] : tracks.flatMap(({ peaks: all }, i) => {
    const wanted = Math.round((columns * parts[i].duration) / duration);
    return resampled(all, wanted);
  });
  wave.show(peaks, parts.slice(1).map(({ start }) => start / duration));
  $("wave").ariaValueMax = String(Math.round(duration));
  $("wave").ariaLabel = tracks.length ? `Position in ${tracks.map((t) => t.title).join(" and ")}` : "Position";
}

// Minima and maxima by turns, of another number of columns.
function resampled(peaks, columns) {
  const old = peaks.length / 2;
  return Array.from({ length: columns }, (_, x) => {
    const from = Math.floor((x * old) / columns);
    return [peaks[2 * from], peaks[2 * from + 1]];
  }).flat();
}

function showTime() {
  const { duration, parts, index, track } = deck;
  const now = audio.currentTime;
  if (!track) return;
  $("s-time").textContent = `${clock(now)} / ${clock(duration)}`;
  wave.progress(duration ? now / duration : 0);
  $("wave").ariaValueNow = String(Math.round(now));
  $("wave").ariaValueText = `${clock(now)} of ${clock(duration)}`;
  const { start, duration: lengthS } = parts[index];
  list.mark(track, (now - start) / lengthS, !audio.paused && !audio.ended);
  $("s-buffer").textContent = `${deck.bufferS.toFixed(1)} s`;
  $("s-start").textContent = deck.startMs === null ? "starting" : `${Math.round(deck.startMs)} ms from press to sound`;
  $("s-drm").textContent = deck.player.keySystem() ? `${deck.player.keySystem()}, ${$("scheme").value}` : "none";
  $("s-session").textContent = deck.sessions[index].answer.sessionId;
  if (track !== showTime.track) {
    showTime.track = track;
    showPlayer();
  }
}

// What the strip draws is told in words, too: the readings, and a line for each change.
function watch() {
  deck.addEventListener("request", ({ detail: { at, pathway, rung, before } }) => {
    $("s-rung").textContent = rungName(rung);
    $("s-pathway").textContent = pathway;
    pathways.mark(pathway);
    if (before && before !== pathway) moved(before, pathway, at);
  });
  deck.addEventListener("firstbyte", ({ detail: { ms } }) => {
    $("s-firstbyte").textContent = `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  });
  deck.addEventListener("change", () => { showPlayer(); showWave(); });
  deck.addEventListener("failed", ({ detail }) => { $("error").textContent = detail.message; });
  pathways.onShape = (id, degraded) => strip.mark(degraded ? `${id} degraded` : `${id} restored`, "shaped");
  audio.addEventListener("ended", () => step(1));
}

function moved(from, to, at) {
  const degradedAt = pathways.degradedAt[from];
  const tookMs = degradedAt === undefined ? null : at - degradedAt;
  const took = tookMs === null ? "" : `${(tookMs / 1000).toFixed(1)} s`;
  strip.mark(took ? `moved after ${took}` : `${from} → ${to}`, "moved");
  const item = element("li", {},
    element("time", { textContent: new Date().toLocaleTimeString([], { hour12: false }) }),
    element("span", { textContent: `${from} → ${to}` }),
    element("span", { textContent: took && `${took} after Degrade` }));
  Object.assign(item.dataset, { from, to, tookMs: tookMs === null ? "" : String(Math.round(tookMs)) });
  $("switches").prepend(item);
  while ($("switches").children.length > MAX_SWITCHES) $("switches").lastChild.remove();
  delete pathways.degradedAt[from];
}

async function refreshTracks() {
  const response = await fetch("demo/tracks");
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  const { tracks, refused, stage, waiting } = answer;
  if (list.show(tracks)) list.mark(deck?.track, 0, false);
  showRefused($("refused"), refused);
  const left = waiting ? `: ${waiting} to go` : "";
  $("stage").textContent = stage && `${stage[0].toUpperCase()}${stage.slice(1)}${left}`;
  $("stage").hidden = !stage;
  if (deck) showTime();
  else for (const button of document.querySelectorAll(".round, .join")) button.disabled = true;
  if (stage) setTimeout(() => refreshTracks().catch(() => {}), TRACKS_INTERVAL_MS);
}

function help() {
  $("shortcuts").showModal();
}

function wireHeader() {
  const say = (theme) => { $("theme").textContent = `Theme: ${theme}`; };
  say(window.currentTheme());
  const redraw = () => {
    for (const row of list.rows.values()) row.wave.draw();
    wave?.draw();
    strip?.draw();
  };
  const theme = () => { say(window.nextTheme()); redraw(); };
  $("theme").addEventListener("click", theme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  $("help").addEventListener("click", help);
  $("close").addEventListener("click", () => $("shortcuts").close());
  return theme;
}

function wireControls(theme) {
  const match = () => { matching.on = !matching.on; showGain(); };
  const actions = {
    deck, toggle, match, help, theme, next: () => step(1), previous: () => step(-1),
    degrade: () => deck.pathway && pathways.press(deck.pathway),
  };
  $("toggle").addEventListener("click", toggle);
  $("next").addEventListener("click", actions.next);
  $("previous").addEventListener("click", actions.previous);
  $("mute").addEventListener("click", () => { audio.muted = !audio.muted; });
  $("match").addEventListener("click", match);
  $("target").addEventListener("change", () => { matching.targetLufs = Number($("target").value); showGain(); });
  listenToKeys(actions);
}

async function main() {
  config = await (await fetch("demo/config")).json();
  list = new TrackList($("tracks"), { play: pick, album: (tracks) => play(tracks) });
  pathways = new Pathways($("pathways"), config);
  pathways.onFail = (error) => { $("error").textContent = error.message; };
  const theme = wireHeader();
  if (!window.shaka) {
    $("missing").hidden = false;
    $("missing").textContent = "Shaka Player is missing: run 'make players', or name the folder that holds it with "
      + "--players, and start the demo again.";
    await refreshTracks();
    return;
  }
  deck = await Deck.open(audio, config, window.shaka);
  matching = new Matching(audio);
  strip = new Strip($("strip"), deck, config.pathways);
  wave = new Waveform($("wave"), (fraction) => deck.seek(fraction * deck.duration));
  wave.progress(null);
  wave.show([0, 0]);
  makeSlider($("wave"), deck);
  watch();
  wireControls(theme);
  setInterval(showTime, STATUS_INTERVAL_MS);
  window.demo = { deck, matching, strip };
  await refreshTracks();
}

main().catch((error) => { $("error").textContent = error.message; });
