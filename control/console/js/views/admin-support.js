// The support bundle: a file for those who are to help.

import { announce, done } from "../announce.js";
import { download } from "../api.js";
import { card, fill, h, problem, refocus } from "../dom.js";
import { bytes } from "../format.js";
import { save } from "../save.js";

export function support(panel) {
  const message = h("div", { role: "status" });
  const button = h("button", { type: "button", class: "primary", onclick: fetchIt }, "Download support bundle");
  fill(panel, card("Support bundle", null,
    h("p", {}, "Configuration, history, counters, events, log lines, some sessions and what the kernel tells of the machine, in one file for those who are to help."),
    h("p", {}, "Secrets and comments of the configuration, users, tokens, certificates and the audit log are not in it. Addresses of clients are."),
    h("div", { class: "row" }, button), message));

  async function fetchIt() {
    button.disabled = true;
    fill(message, h("p", { class: "soft" }, "Collecting…"));
    try {
      const blob = await download("/support-bundle");
      const time = new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-");
      save(blob, `sluice-support-${time}.tar.gz`);
      const text = `The support bundle was made: ${bytes(blob.size)}.`;
      fill(message, h("p", {}, text));
      done(text);
      announce(text);
    } catch (error) {
      fill(message, problem(error));
    } finally {
      button.disabled = false;
      refocus(button);
    }
  }
}
