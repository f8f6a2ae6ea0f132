// What waits for the next start: who changed it, what it changes, and the way to have nothing wait.

import { announce, done, failed } from "../announce.js";
import { get, request } from "../api.js";
import { confirm } from "../dialog.js";
import { h } from "../dom.js";
import { moment } from "../format.js";
import { refresh } from "../poll.js";
import { may } from "../who.js";
import { changeList } from "./config-edit.js";

/** A note on it; null if nothing waits. `again` is called when that has become so. */
export function waits(next, again) {
  if (!next) return null;
  const changes = h("div", { "aria-live": "polite" });
  const why = next.comment ? ` (${next.comment})` : "";

  async function compare() {
    try {
      const found = await get("/next/diff");
      changes.replaceChildren(changeList(found.changes));
      announce(`${found.changes.length} changes wait for the next start.`);
    } catch (error) {
      failed(error);
    }
  }

  async function discard() {
    const text = "What is in use stays as it is, and so does the next start.";
    if (!(await confirm({ title: "Discard what waits for the next start?", text, yes: "Discard it", danger: true }))) return;
    try {
      await request("DELETE", "/next");
      const told = "Nothing waits for the next start any more.";
      done(told);
      announce(told);
      refresh();
      again();
    } catch (error) {
      failed(error);
    }
  }

  return h("div", { class: "note" },
    h("p", {}, `What ${next.author} changed ${moment(next.time)}${why} waits for the next start.`),
    h("div", { class: "row" },
      h("button", { type: "button", onclick: compare }, "Show what the next start changes"),
      may("operator") ? h("button", { type: "button", class: "danger", onclick: discard }, "Discard what waits") : null),
    changes);
}
