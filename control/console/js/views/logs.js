// Events and logs: what happened to the appliance, and what it says about itself.

import { done } from "../announce.js";
import { get, getIfThere, offers, request } from "../api.js";
import { card, field, fill, h, head, problem, select } from "../dom.js";
import { count, moment } from "../format.js";
import { subscribe } from "../poll.js";
import { table } from "../table.js";
import { may } from "../who.js";

export const logs = { name: "logs", title: "Events and logs", mount };

/** Lines and events in sight. */
const KEPT = 200;
const KINDS = { error: "bad", warning: "warn", warn: "warn", info: "", debug: "", trace: "" };
const LEVELS = [["info", "info and worse"], ["warn", "warnings and errors"], ["error", "errors"], ["debug", "all"]];

function mount(main) {
  const when = { label: "Time", mono: true, text: (row) => moment(row.time) };
  const events = table({
    caption: "Events, latest first",
    empty: "Nothing has happened yet.",
    key: (row) => row.id,
    columns: [
      when,
      { label: "Severity", badge: (row) => [row.severity, KINDS[row.severity] ?? ""] },
      { label: "Kind", mono: true, text: (row) => row.kind },
      { label: "What happened", text: (row) => row.message },
    ],
  });
  const lines = table({
    caption: "Log lines, latest first",
    empty: "No line is as bad as that.",
    key: (row) => row.id,
    columns: [
      when,
      { label: "Level", badge: (row) => [row.level, KINDS[row.level] ?? ""] },
      { label: "Message", text: (row) => row.message },
      { label: "Values", mono: true, text: (row) => Object.entries(row.fields).map(([key, value]) => `${key}=${value}`).join(" ") },
    ],
  });
  const servers = table({
    caption: "Syslog servers",
    key: (row) => row.name,
    columns: [
      { label: "Name", text: (row) => row.name },
      { label: "Server", mono: true, text: (row) => `${row.server} ${row.transport}` },
      { label: "State", badge: (row) => (row.connected ? ["connected", "good"] : [row.error ?? "nothing sent yet", row.error ? "bad" : ""]) },
      { label: "Sent", number: true, text: (row) => count(row.sent) },
      { label: "Waiting", number: true, text: (row) => count(row.waiting) },
      { label: "Lost", number: true, text: (row) => count(row.lost) },
    ],
  });
  const level = select(LEVELS, { onchange: () => begin() });
  const message = h("div");
  const syslog = card("Syslog servers", null, servers.element);
  syslog.hidden = true;
  fill(main, head("Events and logs"), message, h("div", { class: "stack" },
    card("Events", null, events.element),
    syslog,
    card("Log", field("Level", level), lines.element),
    volume()));

  let known = [];
  let last = 0;
  let happened = [];
  let lastEvent = 0;
  let gone = false;
  let busy = false;

  async function begin() {
    known = [];
    last = 0;
    lines.update([]);
    await load();
  }

  async function load() {
    if (busy || gone) return;
    busy = true;
    try {
      const asked = level.value;
      const [said, what, where] = await Promise.all([
        get("/logs", { level: asked, limit: KEPT, after: last || undefined }),
        happenings(),
        getIfThere("/logs/syslog"),
      ]);
      if (gone) return;
      if (asked === level.value) {
        known = [...said.lines.toReversed(), ...known].slice(0, KEPT);
        last = known[0]?.id ?? last;
        lines.update(known);
      }
      happened = [...what.toReversed(), ...happened].slice(0, KEPT);
      lastEvent = happened[0]?.id ?? lastEvent;
      events.update(happened);
      servers.update(where?.servers ?? []);
      syslog.hidden = !where?.servers.length;
      fill(message);
    } catch (error) {
      if (!gone) fill(message, problem(error));
    } finally {
      busy = false;
    }
  }

  /** Events since the last look, all pages. */
  async function happenings() {
    const found = [];
    let after = lastEvent;
    for (;;) {
      const page = await get("/events", { after, limit: 1000 });
      found.push(...page.events);
      if (!page.next) return found;
      after = page.next;
    }
  }

  const stop = subscribe(load);
  return () => {
    gone = true;
    stop();
  };
}

/** How much is logged at all, and for how long. */
function volume() {
  const directives = h("input", { type: "text", name: "directives", autocomplete: "off", spellcheck: "false", required: true });
  const seconds = h("input", { type: "text", inputmode: "numeric", name: "seconds", placeholder: "until it ends", autocomplete: "off" });
  const state = h("p", { class: "soft", role: "status" });
  const message = h("div");
  const form = h("form", { "aria-label": "How much is logged", onsubmit: save },
    h("div", { class: "fields" },
      field("What is logged", directives, "error, warn, info, debug, trace or off, or MODULE=LEVEL, with commas between"),
      field("For how many seconds", seconds)),
    h("div", { class: "row end" }, h("button", { type: "submit", class: "primary" }, "Set")));
  const element = card("How much is logged", null, state, may("operator") ? form : null, message);
  element.hidden = true;

  function show(now) {
    const left = now.seconds_left === undefined ? "" : ` It is ${now.at_start} again in ${now.seconds_left} s.`;
    fill(state, `Logged is ${now.directives}; at the start it was ${now.at_start}.${left}`);
    directives.value = now.directives;
  }

  async function save(event) {
    event.preventDefault();
    const body = { directives: directives.value };
    if (seconds.value) body.seconds = Number(seconds.value);
    try {
      show((await request("PUT", "/logs/level", { body })).data);
      fill(message);
      done("What is logged was set.");
    } catch (error) {
      fill(message, problem(error));
    }
  }

  (async () => {
    if (!(await offers("/logs/level"))) return;
    try {
      show(await get("/logs/level"));
      element.hidden = false;
    } catch {
      // This process does not log by level.
    }
  })();
  return element;
}
