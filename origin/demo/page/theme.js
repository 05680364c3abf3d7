// Light or dark, before anything is painted; a module would come too late.
const THEMES = ["auto", "light", "dark"];

function applyTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function currentTheme() {
  const stored = localStorage.getItem("theme");
  return THEMES.includes(stored) ? stored : "auto";
}

window.nextTheme = () => {
  const theme = THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length];
  localStorage.setItem("theme", theme);
  applyTheme(theme);
  return theme;
};
window.currentTheme = currentTheme;
applyTheme(currentTheme());
