// The editor: change the text, see what differs and what it would touch, commit it.

import { announce, done } from "../announce.js";
import { request } from "../api.js";
import { confirm as ask } from "../dialog.js";
import { fold, lines } from "../diff.js";
import { field, fill, h, problem, refocus } from "../dom.js";
import { atStart } from "../form.js";
import { count } from "../format.js";
import { refresh, subscribe } from "../poll.js";
import { look } from "../trial.js";

/** What is being written, kept while the page is: `text`, `base` and `etag` of what it began as. */
let draft = null;

addEventListener("beforeunload", (event) => {
  if (draft && draft.text !== draft.base) event.preventDefault();
});

export function editor(panel) {
  const source = h("textarea", { class: "source", spellcheck: "false", autocomplete: "off", autocapitalize: "off", oninput: edited });
  const comment = h("input", { type: "text", maxlength: "1000", autocomplete: "off" });
  const confirm = h("input", { type: "number", min: "0", max: "86400", value: "60", inputmode: "numeric" });
  const later = atStart(confirm);
  const check = h("button", { type: "button", onclick: () => send(true) }, "Check");
  const commit = h("button", { type: "button", class: "primary", onclick: () => send(false) }, "Commit");
  const discard = h("button", { type: "button", onclick: reset }, "Discard");
  const put = h("button", { type: "button", onclick: toCandidate }, "To my candidate");
  const difference = h("div");
  const verdict = h("div", { "aria-live": "polite", tabindex: "-1" });
  let gone = false;
  let timer = null;

  fill(panel, h("div", { class: "stack" },
    field("Configuration (TOML)", source),
    h("div", { class: "fields" },
      field("Comment", comment, "kept in the history"),
      field("Confirm within", confirm, "seconds, or it is undone; 0: for good")),
    later.element,
    h("div", { class: "row" }, check, commit, put, discard),
    verdict,
    h("h2", {}, "Differences"), difference));

  function edited() {
    draft.text = source.value;
    clearTimeout(timer);
    timer = setTimeout(showDifference, 300);
    buttons();
  }

  function buttons() {
    const changed = draft !== null && draft.text !== draft.base;
    for (const button of [check, commit, put, discard]) button.disabled = !changed;
  }

  function showDifference() {
    const steps = draft ? fold(lines(draft.base, draft.text)) : [];
    if (steps.length === 0) {
      fill(difference, h("p", { class: "soft" }, "None."));
      return;
    }
    fill(difference, diffBox(steps));
  }

  async function load() {
    try {
      const { data, etag } = await request("GET", "/config", { accept: "application/toml" });
      if (gone) return;
      // A draft of an earlier configuration stays: the commit is refused if it would undo another's.
      if (!draft || draft.text === draft.base) draft = { text: data, base: data, etag };
      source.value = draft.text;
      buttons();
      showDifference();
    } catch (error) {
      if (!gone) fill(verdict, problem(error));
    }
  }

  function reset() {
    draft = null;
    fill(verdict);
    load();
  }

  async function send(dryRun) {
    const seconds = Number(confirm.value) > 0 && !later.wanted() ? Math.floor(Number(confirm.value)) : undefined;
    const query = { comment: comment.value.trim(), dry_run: dryRun || undefined, confirm_seconds: seconds, at_restart: later.wanted() || undefined };
    const sent = draft;
    fill(verdict, h("p", { class: "soft" }, dryRun ? "Checking…" : "Committing…"));
    for (const button of [check, commit, put, discard]) button.disabled = true;
    try {
      const { data } = await request("PUT", "/config", { body: sent.text, match: sent.etag, query });
      if (!dryRun) {
        draft = null;
        comment.value = "";
        later.clear();
        const text = said(data);
        done(text);
        announce(text);
        look();
        refresh();
        await load();
      }
      if (!gone) fill(verdict, result(data, dryRun));
    } catch (error) {
      if (gone) return;
      fill(verdict, problem(error), error.status === 412 ? stale() : null);
      const line = error.errors?.find((fault) => fault.line)?.line;
      if (line) select(line);
    } finally {
      buttons();
      // A button that is disabled has lost it.
      if (!gone) refocus(commit.disabled ? verdict : dryRun ? check : commit);
    }
  }

  /** Makes the text the candidate, if it began as what is in use. */
  async function toCandidate() {
    const { text, etag } = draft;
    try {
      const now = await request("GET", "/config", { accept: "application/toml" });
      if (now.etag !== etag) {
        fill(verdict, stale());
        return;
      }
      const there = await request("PUT", "/candidate", { body: text, absent: true }).then(() => false, (error) => {
        if (error.status === 412) return true;
        throw error;
      });
      if (there) {
        const question = { title: "Replace your candidate?", text: "You have one already, and what was changed in it is lost.", yes: "Replace", danger: true };
        if (!(await ask(question))) return;
        // What has no form does not cost the other one.
        await request("PUT", "/candidate", { body: text, query: { dry_run: true } });
        // Begun anew, as what is in use now.
        await request("DELETE", "/candidate");
        await request("PUT", "/candidate", { body: text, absent: true });
      }
      draft = null;
      const said = "The text is your candidate now; nothing is in use by it yet.";
      done(said);
      announce(said);
      if (!gone) reset();
    } catch (error) {
      if (!gone) fill(verdict, problem(error));
    }
  }

  function stale() {
    return h("p", { class: "note" }, "Somebody else has committed since this draft was begun. Keep a copy of your text, and discard the draft to begin from theirs.");
  }

  /** Shows a line of the text, as the error names it. */
  function select(line) {
    const before = source.value.split("\n").slice(0, line - 1).reduce((all, text) => all + text.length + 1, 0);
    const end = source.value.indexOf("\n", before);
    source.focus();
    source.setSelectionRange(before, end < 0 ? source.value.length : end);
    source.scrollTop = (line - 5) * Number.parseFloat(getComputedStyle(source).lineHeight);
  }

  // Nobody edits what is not in use any more, unless it was edited before.
  let epoch = null;
  const stop = subscribe(({ status }) => {
    if (epoch !== null && status.epoch !== epoch && draft?.text === draft?.base) load();
    epoch = status.epoch;
  });
  buttons();
  load();
  return () => {
    gone = true;
    stop();
    clearTimeout(timer);
  };
}

/** Lines that are added and removed. */
export function diffBox(steps) {
  const sign = { add: "+ ", del: "- ", same: "  ", gap: "⋯ " };
  return h("pre", { class: "diff", tabindex: "0", "aria-label": "Lines that differ" },
    steps.map((step) => h("span", { class: step.kind }, sign[step.kind] + step.text)));
}

/** What became of a change, in a sentence. */
export function said(data) {
  if (data.result === "no_change") return "Nothing was changed.";
  if (data.result === "candidate") return "Your candidate says so; nothing is in use by it yet.";
  if (data.result === "at_restart") return "It waits for the next start; what is in use stays.";
  if (data.result === "trial") return `Revision ${data.revision} is in use, on trial.`;
  return `Revision ${data.revision} is in use.`;
}

/** What the appliance says of a change: what it changes, and which sessions it may end. */
export function result(data, dryRun) {
  const { changes, touched } = data;
  const title = data.result === "no_change" ? "It says the same as the configuration in use." : dryRun ? "It is right." : said(data);
  const sessions = touched.sessions_at_most === 0
    ? "No live session is concerned."
    : `${count(touched.sessions_at_most)} live sessions at most are concerned${touched.policy ? ", because rules, routes, ports or zones change" : ""}.`;
  const by = [...touched.services, ...touched.servers].filter((one) => one.sessions > 0);
  return h("div", { class: "done" },
    h("strong", {}, title),
    changes.length > 0 ? h("p", {}, sessions) : null,
    by.length > 0 ? h("ul", {}, by.map((one) => h("li", {}, `${one.name}: ${count(one.sessions)}`))) : null,
    changes.length > 0 ? changeList(changes) : null);
}

/** Differences value by value. */
export function changeList(changes) {
  const text = (value) => (value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value));
  const line = (one) => {
    const words = {
      add: ["added", text(one.new)],
      remove: ["removed", text(one.old)],
      change: ["", `${text(one.old)} → ${text(one.new)}`],
      move: ["moved", text(one.new)],
    }[one.op];
    return h("li", {}, h("code", {}, one.path), ` ${words.filter(Boolean).join(": ")}`);
  };
  return h("details", { open: changes.length <= 20 }, h("summary", {}, `${count(changes.length)} values differ`), h("ul", {}, changes.map(line)));
}
