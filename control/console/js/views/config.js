// Configuration: the one in use, ways to change it, a candidate to work on, and the history.

import { getIfThere, request } from "../api.js";
import { fill, h, head, problem } from "../dom.js";
import { save as keep } from "../save.js";
import { tabs } from "../tabs.js";
import { may } from "../who.js";
import { candidate } from "./config-candidate.js";
import { editor } from "./config-edit.js";
import { history } from "./config-history.js";
import { waits } from "./config-next.js";
import { parts } from "./config-parts.js";

export const config = { name: "config", title: "Configuration", mount };

function mount(main, parameters) {
  const changes = [
    { name: "edit", title: "Edit", open: editor },
    { name: "parts", title: "Parts", open: parts },
    { name: "candidate", title: "Candidate", open: candidate },
  ];
  const all = [
    { name: "running", title: "In use", open: running },
    ...(may("operator") ? changes : []),
    { name: "history", title: "History", open: history },
  ];
  const { elements, close } = tabs("Configuration", all, parameters.tab);
  fill(main, head("Configuration"), elements);
  return close;
}

/** The configuration in use, to read, copy and keep. */
function running(panel) {
  const source = h("pre", { class: "source", tabindex: "0", "aria-label": "Configuration in use" });
  const about = h("span", { class: "soft" });
  const save = h("button", { type: "button", disabled: true }, "Download");
  let gone = false;
  const next = h("div");
  fill(panel, h("div", { class: "head" }, about, save), next, source);

  async function load() {
    const [{ data, etag }, revisions] = await Promise.all([
      request("GET", "/config", { accept: "application/toml" }),
      getIfThere("/config/revisions"),
    ]);
    if (gone) return;
    source.textContent = data;
    about.textContent = revisions ? `Revision ${revisions.running}` : `Epoch ${etag}`;
    fill(next, waits(revisions?.next, () => fill(next)));
    save.disabled = false;
    save.addEventListener("click", () => keep(new Blob([data], { type: "application/toml" }), "sluice.toml"));
  }

  load().catch((error) => fill(panel, problem(error)));
  return () => { gone = true; };
}
