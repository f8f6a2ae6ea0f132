// Configuration: the one in use, an editor with differences and commit, and the history.

import { getIfThere, request } from "../api.js";
import { fill, h, head, problem, unique } from "../dom.js";
import { editor } from "./config-edit.js";
import { history } from "./config-history.js";

export const config = { name: "config", title: "Configuration", mount };

function mount(main, parameters) {
  const panel = h("div", { role: "tabpanel", tabindex: "0", id: unique("panel") });
  const tabs = [
    ["running", "In use", running],
    ["edit", "Edit", editor],
    ["history", "History", history],
  ];
  let close = () => {};

  const buttons = tabs.map(([name, title, open]) => {
    const button = h("button", {
      type: "button", role: "tab", id: unique("tab"), "aria-controls": panel.id, "aria-selected": "false", tabindex: "-1",
      onclick: () => choose(name),
    }, title);
    return { name, button, open };
  });
  const list = h("div", { role: "tablist", "aria-label": "Configuration", onkeydown: walk }, buttons.map(({ button }) => button));
  fill(main, head("Configuration"), list, panel);

  function choose(name) {
    if (close() === false) return;
    close = () => {};
    for (const one of buttons) {
      const chosen = one.name === name;
      one.button.setAttribute("aria-selected", String(chosen));
      one.button.tabIndex = chosen ? 0 : -1;
      if (!chosen) continue;
      panel.setAttribute("aria-labelledby", one.button.id);
      fill(panel);
      close = one.open(panel) ?? (() => {});
    }
  }

  /** Arrow keys go from tab to tab (ARIA authoring practices, tabs). */
  function walk(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const at = buttons.findIndex(({ button }) => button === document.activeElement);
    const next = buttons[(at + step + buttons.length) % buttons.length];
    choose(next.name);
    next.button.focus();
  }

  choose(buttons.some(({ name }) => name === parameters.tab) ? parameters.tab : "running");
  return () => close();
}

/** The configuration in use, to read, copy and keep. */
function running(panel) {
  const source = h("pre", { class: "source", tabindex: "0", "aria-label": "Configuration in use" });
  const about = h("span", { class: "soft" });
  const save = h("button", { type: "button", disabled: true }, "Download");
  let gone = false;
  fill(panel, h("div", { class: "head" }, about, save), source);

  async function load() {
    const [{ data, etag }, revisions] = await Promise.all([
      request("GET", "/config", { accept: "application/toml" }),
      getIfThere("/config/revisions"),
    ]);
    if (gone) return;
    source.textContent = data;
    about.textContent = revisions ? `Revision ${revisions.running}` : `Epoch ${etag}`;
    save.disabled = false;
    save.addEventListener("click", () => download(data));
  }

  load().catch((error) => fill(panel, problem(error)));
  return () => { gone = true; };
}

function download(text) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/toml" }));
  h("a", { href: address, download: "sluice.toml" }).click();
  URL.revokeObjectURL(address);
}
