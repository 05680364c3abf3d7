// Keys of the whole page. What has the focus comes first: a button takes space, a list its arrows.

const STEP_S = 5;
const VOLUME_STEP = 0.05;

export function listenToKeys(actions) {
  const { deck } = actions;
  const { audio } = deck;
  const louder = (step) => { audio.volume = Math.min(1, Math.max(0, audio.volume + step)); };
  const keys = {
    " ": actions.toggle,
    k: actions.toggle,
    ArrowLeft: () => deck.seek(audio.currentTime - STEP_S),
    ArrowRight: () => deck.seek(audio.currentTime + STEP_S),
    ArrowUp: () => louder(VOLUME_STEP),
    ArrowDown: () => louder(-VOLUME_STEP),
    n: actions.next,
    p: actions.previous,
    m: () => { audio.muted = !audio.muted; },
    l: actions.match,
    d: actions.degrade,
    t: actions.theme,
    "?": actions.help,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const { target } = event;
    if (document.querySelector("dialog[open]") || target.closest("select, input, textarea")) return;
    if (event.key === " " && target.closest("button, a, summary")) return;
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || (event.repeat && !event.key.startsWith("Arrow"))) return;
    event.preventDefault();
    action();
  });
}
