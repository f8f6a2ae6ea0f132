// The audit log: who changed what, who logged in, and what was refused.

import { announce } from "../announce.js";
import { get, parameters } from "../api.js";
import { card, field, fill, h, problem, select } from "../dom.js";
import { count, moment } from "../format.js";
import { table } from "../table.js";

/** As many as the API gives at once. */
const PAGE = 1000;
/** Rows that are shown at first, and that each *More* adds. */
const SHOWN = 100;
/** Where the next page begins, in an API that has pages. */
const PLACE = "before";

const METHODS = ["LOGIN", "PUT", "PATCH", "POST", "DELETE", "GET", "RELOAD"];
const OUTCOMES = [["", "any"], ["done", "done"], ["refused", "refused: not allowed"], ["failed", "failed"]];

export function audit(panel) {
  const text = (name, example) => h("input", { type: "text", name, placeholder: example, autocomplete: "off", spellcheck: "false" });
  const controls = {
    user: text("user", "olga, olga/terraform"),
    client: text("client", "192.0.2.7"),
    method: select([["", "any"], ...METHODS.map((method) => [method, method])], { name: "method" }),
    path: text("path", "/api/v1/config"),
    since: text("since", "2h"),
    outcome: select(OUTCOMES, { name: "outcome" }),
  };
  const since = field("Since", controls.since, "how long ago, or a time");
  since.hidden = true;
  const form = h("form", { role: "search", "aria-label": "Filter the audit log", onsubmit: search },
    h("div", { class: "fields" },
      field("Who", controls.user),
      field("From", controls.client),
      field("Method", controls.method),
      field("What", controls.path, "how the path begins"),
      field("Outcome", controls.outcome),
      since),
    h("div", { class: "row end" },
      h("button", { type: "button", onclick: clear }, "Clear"),
      h("button", { type: "submit", class: "primary" }, "Search")));
  const about = h("span", { class: "soft", role: "status" });
  const message = h("div");
  const more = h("button", { type: "button", hidden: true, onclick: older }, "More");
  const view = table({
    caption: "Audit log, latest first",
    empty: "Nothing matches.",
    key: (row) => row.key,
    columns: [
      { label: "Time", mono: true, text: (row) => moment(row.time) },
      { label: "Who", text: (row) => row.user || "nobody known" },
      { label: "From", mono: true, text: (row) => row.client },
      { label: "Method", text: (row) => row.method },
      { label: "What", mono: true, text: (row) => row.path },
      { label: "Outcome", badge: badge },
    ],
  });
  fill(panel, card("Audit log", about, form, message, view.element, h("div", { class: "row end" }, more)));

  /** All that was read, latest first, and where the next page begins. */
  let records = [];
  let next;
  let shown = SHOWN;
  /** What is looked for; of that, what the appliance looks through its log for. The rest is left to us. */
  let wanted = {};
  let asked = {};
  // Answers to questions that were overtaken by others are not shown.
  let question = 0;

  function conditions() {
    const all = Object.entries(controls).map(([name, control]) => [name, control.value.trim()]);
    return Object.fromEntries(all.filter(([, value]) => value));
  }

  function search(event) {
    event?.preventDefault();
    records = [];
    next = undefined;
    shown = SHOWN;
    wanted = conditions();
    read();
  }

  function clear() {
    for (const control of Object.values(controls)) control.value = "";
    search();
  }

  async function read() {
    question += 1;
    const mine = question;
    more.disabled = true;
    try {
      const known = await parameters("/audit");
      since.hidden = !known.includes("since");
      asked = Object.fromEntries(Object.entries(wanted).filter(([name]) => known.includes(name)));
      const page = await get("/audit", { ...asked, limit: PAGE, [PLACE]: next });
      if (mine !== question) return;
      const from = records.length;
      records = [...records, ...page.records.map((record, at) => ({ ...record, key: String(record.id ?? from + at) }))];
      next = known.includes(PLACE) ? page.next : undefined;
      fill(message);
      show();
    } catch (error) {
      if (mine !== question) return;
      fill(message, problem(error));
      more.disabled = false;
      if (records.length > 0) return;
      view.update([]);
      more.hidden = true;
      about.textContent = "";
    }
  }

  function matching() {
    const left = Object.entries(wanted).filter(([name]) => !(name in asked));
    return records.filter((record) => left.every(([name, value]) => holds(record, name, value)));
  }

  function show() {
    const found = matching();
    view.update(found.slice(0, shown));
    more.hidden = found.length <= shown && next === undefined;
    more.disabled = false;
    about.textContent = `${count(Math.min(shown, found.length))} of ${count(found.length)}${next === undefined ? "" : " or more"} records`;
    announce(about.textContent);
  }

  /** More of what was read, then the next page of it. */
  async function older() {
    shown += SHOWN;
    if (shown > matching().length && next !== undefined) await read();
    else show();
  }

  search();
  return () => { question += 1; };
}

function outcome(record) {
  if (record.status < 400) return "done";
  return record.status === 401 || record.status === 403 ? "refused" : "failed";
}

function badge(record) {
  const kind = { done: "good", refused: "bad", failed: "warn" }[outcome(record)];
  const text = record.dry_run ? `${outcome(record)}, a check alone` : outcome(record);
  return [`${text} (${record.status})`, kind];
}

function holds(record, name, value) {
  if (name === "outcome") return outcome(record) === value;
  if (name === "user") return record.user === value || record.user.startsWith(`${value}/`);
  if (name === "path") return record.path.startsWith(value);
  return record[name] === value;
}
