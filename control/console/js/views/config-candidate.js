// The candidate: a configuration of one's own to work on, until it is committed or discarded.

import { announce, done, failed } from "../announce.js";
import { get, request } from "../api.js";
import { confirm } from "../dialog.js";
import { fold, lines } from "../diff.js";
import { field, fill, h, problem, refocus } from "../dom.js";
import { terms } from "../form.js";
import { refresh } from "../poll.js";
import { look } from "../trial.js";
import { changeList, diffBox, result, said } from "./config-edit.js";

const TOML = { accept: "application/toml" };

/** What was written and not kept yet, while the page is: `text`, and `base` and `etag` of what it began as. */
let draft = null;

const isUnsaved = () => draft !== null && draft.text !== draft.base;

addEventListener("beforeunload", (event) => {
  if (isUnsaved()) event.preventDefault();
});

export function candidate(panel) {
  const source = h("textarea", { class: "source", spellcheck: "false", autocomplete: "off", autocapitalize: "off", oninput: edited });
  const how = terms({ seconds: 60, start: true });
  const save = h("button", { type: "button", onclick: keep }, "Save");
  const check = h("button", { type: "button", onclick: () => commit(true) }, "Check");
  const go = h("button", { type: "button", class: "primary", onclick: () => commit(false) }, "Commit");
  const discard = h("button", { type: "button", class: "danger", onclick: forget }, "Discard");
  const verdict = h("div", { "aria-live": "polite" });
  const difference = h("div");
  const begin = h("button", { type: "button", class: "primary", onclick: start }, "Begin a candidate");
  let gone = false;

  const work = h("div", { class: "stack" },
    field("Your candidate (TOML)", source, "also what the command line and others change with candidate=true; forgotten when Sluice ends"),
    h("div", { class: "row" }, save),
    how.fields,
    h("div", { class: "row" }, check, go, discard));
  const none = h("div", {},
    h("p", { class: "note" }, "You have no candidate. It begins as the configuration in use; whatever is changed in it is in use only after a commit, all at once."),
    begin);
  work.hidden = true;
  none.hidden = true;
  const after = h("div", { class: "stack" }, h("h2", {}, "What it changes"), difference);
  after.hidden = true;
  fill(panel, h("div", { class: "stack" }, none, work, verdict, after));

  function edited() {
    if (!draft) return;
    draft.text = source.value;
    buttons();
  }

  function buttons() {
    save.disabled = !isUnsaved();
    // What is checked and committed is what the appliance has.
    for (const button of [check, go]) button.disabled = isUnsaved();
  }

  async function load() {
    try {
      const found = await request("GET", "/candidate", TOML).catch((error) => {
        if (error.status === 404) return null;
        throw error;
      });
      if (gone) return;
      none.hidden = found !== null;
      work.hidden = after.hidden = found === null;
      if (!found) {
        draft = null;
        return;
      }
      if (!isUnsaved()) draft = { text: found.data, base: found.data, etag: found.etag };
      source.value = draft.text;
      buttons();
      const [running, { changes }] = await Promise.all([request("GET", "/config", TOML), get("/candidate/diff")]);
      if (gone) return;
      const steps = fold(lines(running.data, found.data));
      fill(difference, steps.length > 0 ? [diffBox(steps), changes.length > 0 ? changeList(changes) : null] : h("p", { class: "soft" }, "Nothing yet."));
    } catch (error) {
      if (!gone) fill(verdict, problem(error));
    }
  }

  function told(text) {
    done(text);
    announce(text);
  }

  async function start() {
    try {
      await request("PUT", "/candidate", { body: "" });
      fill(verdict);
      announce("The candidate was begun.");
      await load();
      source.focus();
    } catch (error) {
      fill(verdict, problem(error));
    }
  }

  async function keep() {
    const sent = draft;
    try {
      await request("PUT", "/candidate", { body: sent.text, match: sent.etag });
      draft = null;
      fill(verdict);
      told("The candidate was saved.");
      await load();
    } catch (error) {
      if (!gone) fill(verdict, problem(error), error.status === 412 ? stale() : null);
    }
  }

  function stale() {
    return h("div", { class: "note" },
      h("p", {}, "Your candidate was changed elsewhere since this text was begun. Keep a copy of the text, then take the candidate as it is now."),
      h("button", { type: "button", onclick: () => { draft = null; fill(verdict); load(); } }, "Take it as it is"));
  }

  async function commit(dryRun) {
    const query = { ...how.query(), dry_run: dryRun || undefined };
    fill(verdict, h("p", { class: "soft" }, dryRun ? "Checking…" : "Committing…"));
    for (const button of [check, go]) button.disabled = true;
    try {
      const { data } = await request("POST", "/candidate/commit", { query, match: draft.etag });
      if (!dryRun) {
        draft = null;
        how.clear();
        told(said(data));
        look();
        refresh();
        await load();
        refocus(begin);
      }
      if (!gone) fill(verdict, result(data, dryRun));
    } catch (error) {
      const note = h("p", { class: "note" }, "Keep a copy of your text, discard the candidate, and begin another one from what is in use now.");
      if (!gone) fill(verdict, problem(error), error.type.endsWith(":candidate-outrun") ? note : null);
    } finally {
      buttons();
      // A button that is disabled has lost it.
      if (!gone) refocus(dryRun ? check : go);
    }
  }

  async function forget() {
    const text = "What was changed in it is lost. The configuration in use stays as it is.";
    if (!(await confirm({ title: "Discard your candidate?", text, yes: "Discard it", danger: true }))) return;
    try {
      await request("DELETE", "/candidate");
      draft = null;
      fill(verdict);
      told("The candidate was discarded.");
      await load();
      begin.focus();
    } catch (error) {
      failed(error);
    }
  }

  buttons();
  load();
  return () => { gone = true; };
}
