// Light or dark: what the system wants, or what was chosen here.

const KEY = "sluice.theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };

function stored() {
  try {
    return localStorage.getItem(KEY) ?? "auto";
  } catch {
    return "auto";
  }
}

function show(theme, button) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  button.textContent = { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[theme];
  button.setAttribute("aria-label", `Theme: ${theme}. Change to ${NEXT[theme]}`);
}

/** Has a button go through the themes. */
export function start(button) {
  let theme = NEXT[stored()] ? stored() : "auto";
  show(theme, button);
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // Then it lasts until the page is left.
    }
    show(theme, button);
  });
}
