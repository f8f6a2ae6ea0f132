// The history: who changed what and when, and the way back.

import { announce, done, failed } from "../announce.js";
import { getIfThere, request } from "../api.js";
import { confirm } from "../dialog.js";
import { fold, lines } from "../diff.js";
import { card, fill, h, problem } from "../dom.js";
import { terms } from "../form.js";
import { moment } from "../format.js";
import { refresh } from "../poll.js";
import { save as keep } from "../save.js";
import { table } from "../table.js";
import { look } from "../trial.js";
import { may } from "../who.js";
import { diffBox, result, said } from "./config-edit.js";
import { waits } from "./config-next.js";

const TOML = { accept: "application/toml" };

export function history(panel) {
  const difference = h("div", { "aria-live": "polite" });
  const about = h("p", { class: "soft" });
  const next = h("div");
  let running = null;
  let gone = false;
  const view = table({
    caption: "Configurations, latest first",
    empty: "There is no history.",
    key: (row) => row.number,
    columns: [
      { label: "Revision", number: true, text: (row) => String(row.number), sort: (row) => row.number },
      { label: "When", text: (row) => moment(row.time), sort: (row) => row.time },
      { label: "Who", text: (row) => row.author, sort: (row) => row.author },
      { label: "Comment", text: (row) => row.comment || "–", sort: (row) => row.comment },
      { label: "State", badge: (row) => (row.number === running ? ["in use", "good"] : ["", ""]) },
      { label: "Actions", actions: true, node: actions, sign: (row) => String(row.number === running) },
    ],
  });
  fill(panel, h("div", { class: "stack" }, card("History", null, about, next, view.element), difference));

  function actions(row) {
    const button = (text, does, kind) => h("button", { type: "button", class: `small ${kind}`, "aria-label": `${text} revision ${row.number}`, onclick: () => does(row) }, text);
    return h("div", { class: "row" },
      button("Download", save, ""),
      row.number === running ? null : button("Compare", compare, ""),
      row.number !== running && may("operator") ? button("Roll back to", rollBack, "") : null);
  }

  async function save(row) {
    try {
      const { data } = await request("GET", `/config/revisions/${row.number}`, TOML);
      keep(new Blob([data], { type: "application/toml" }), `sluice-${row.number}.toml`);
    } catch (error) {
      failed(error);
    }
  }

  async function load() {
    try {
      const found = await getIfThere("/config/revisions");
      if (gone) return;
      if (!found) {
        fill(panel, h("p", { class: "note" }, "This appliance keeps no history of its configurations."));
        return;
      }
      running = found.running;
      about.textContent = found.lasting ? "The last fifty configurations." : "The last fifty configurations; without a state directory they are forgotten when Sluice ends.";
      fill(next, waits(found.next, () => fill(next)));
      view.update(found.revisions);
    } catch (error) {
      if (!gone) fill(difference, problem(error));
    }
  }

  async function texts(number) {
    const [theirs, ours] = await Promise.all([
      request("GET", `/config/revisions/${number}`, TOML),
      request("GET", "/config", TOML),
    ]);
    return [ours.data, theirs.data];
  }

  async function compare(row) {
    try {
      const steps = fold(lines(...(await texts(row.number))));
      if (gone) return;
      fill(difference, card(`From the configuration in use to revision ${row.number}`, null, steps.length > 0 ? diffBox(steps) : h("p", {}, "They are the same.")));
      announce(`${steps.filter((step) => step.kind === "add").length} lines added, ${steps.filter((step) => step.kind === "del").length} removed.`);
    } catch (error) {
      failed(error);
    }
  }

  async function rollBack(row) {
    const to = `/config/revisions/${row.number}/rollback`;
    try {
      const [{ data }, both] = await Promise.all([request("POST", to, { query: { dry_run: true } }), texts(row.number)]);
      const how = terms({ seconds: 60, candidate: true });
      const body = [result(data, true), diffBox(fold(lines(...both))), how.fields];
      if (!(await confirm({ title: `Roll back to revision ${row.number}?`, body, yes: "Roll back" }))) return;
      const query = how.query();
      if (!how.candidate()) query.comment ||= `console: back to revision ${row.number}`;
      const committed = (await request("POST", to, { query })).data;
      const text = how.candidate() ? said(committed) : committed.result === "trial" ? `Revision ${row.number} is in use again, on trial.` : `Revision ${row.number} is in use again.`;
      done(text);
      announce(text);
      look();
      refresh();
      await load();
    } catch (error) {
      failed(error);
    }
  }

  load();
  return () => { gone = true; };
}
