// Tabs, as the ARIA authoring practices have them.

import { fill, h, unique } from "./dom.js";

/**
 * Tabs of `{ name, title, open }`: `open(panel)` fills the panel and gives a way to end that. Begins with
 * `chosen`, if there is such a one. Gives `elements`, and `close` for the end of the view.
 */
export function tabs(label, all, chosen) {
  const panel = h("div", { role: "tabpanel", tabindex: "0", id: unique("panel") });
  const buttons = all.map(({ name, title, open }) => {
    const button = h("button", {
      type: "button", role: "tab", id: unique("tab"), "aria-controls": panel.id, "aria-selected": "false", tabindex: "-1",
      onclick: () => choose(name),
    }, title);
    return { name, button, open };
  });
  let close = () => {};

  function choose(name) {
    close();
    close = () => {};
    for (const one of buttons) {
      const isChosen = one.name === name;
      one.button.setAttribute("aria-selected", String(isChosen));
      one.button.tabIndex = isChosen ? 0 : -1;
      if (!isChosen) continue;
      panel.setAttribute("aria-labelledby", one.button.id);
      fill(panel);
      close = one.open(panel) ?? (() => {});
    }
  }

  /** Arrow keys go from tab to tab. */
  function walk(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const at = buttons.findIndex(({ button }) => button === document.activeElement);
    const next = buttons[(at + step + buttons.length) % buttons.length];
    choose(next.name);
    next.button.focus();
  }

  const list = h("div", { role: "tablist", "aria-label": label, onkeydown: walk }, buttons.map(({ button }) => button));
  choose(buttons.some(({ name }) => name === chosen) ? chosen : buttons[0]?.name);
  return { elements: [list, panel], close: () => close() };
}
