// Sessions: found by any part of either tuple, and ended.

import { announce, done, failed } from "../announce.js";
import { get, request } from "../api.js";
import { confirm } from "../dialog.js";
import { field, fill, h, head, problem, select, unique } from "../dom.js";
import { bytes, count, duration, endpoint, words } from "../format.js";
import { refresh } from "../poll.js";
import { link } from "../router.js";
import { table } from "../table.js";
import { may } from "../who.js";

export const sessions = { name: "sessions", title: "Sessions", mount };

const PAGE = 100;
const STATES = ["syn_sent", "syn_received", "established", "fin_wait", "close_wait", "closing", "time_wait", "closed", "new", "replied"];

/** The filter: name in the API, label, and what to write there. */
const USUAL = [
  ["address", "Any address", "10.0.0.0/8"],
  ["port", "Any port", "443"],
  ["service", "Service", "web, snat/internet"],
  ["server", "Real server", "pool/name"],
];
const MORE = [
  ["rule", "Firewall rule", "that lets it through"],
  ["older_than", "Older than", "5m, 2h"],
  ["younger_than", "Younger than", "30s"],
  ["idle_for", "Idle for", "1m"],
  ["worker", "Worker", "0"],
];
const OWNERS = [["", "any"], ["this", "this node"], ["peer", "the peer (copies)"]];
const TUPLES = [
  ["source", "Source", "of the opener's packets"],
  ["source_port", "Source port", ""],
  ["destination", "Destination", "of the opener's packets"],
  ["destination_port", "Destination port", ""],
  ["reply_source", "Reply source", "of the packets that answer"],
  ["reply_source_port", "Reply source port", ""],
  ["reply_destination", "Reply destination", "of the packets that answer"],
  ["reply_destination_port", "Reply destination port", ""],
];

function mount(main, parameters) {
  const controls = new Map();
  const control = (name, element) => {
    controls.set(name, element);
    if (parameters[name]) element.value = parameters[name];
    return element;
  };
  const input = ([name, label, example]) =>
    field(label, control(name, h("input", { type: "text", name, placeholder: example, autocomplete: "off", spellcheck: "false" })));
  const protocols = [["", "any"], ["tcp", "TCP"], ["udp", "UDP"], ["icmp", "ICMP"], ["icmpv6", "ICMPv6"], ["sctp", "SCTP"], ["gre", "GRE"], ["esp", "ESP"]];
  const states = [["", "any"], ...STATES.map((state) => [state, words(state)])];
  const others = h("details", { open: ["owner", ...MORE.map(([name]) => name)].some((name) => parameters[name]) },
    h("summary", {}, "By rule, age, worker or owner"),
    h("div", { class: "fields" }, MORE.map(input), field("Owner", control("owner", select(OWNERS, { name: "owner" })))));
  const tuples = h("details", { open: TUPLES.some(([name]) => parameters[name]) },
    h("summary", {}, "By either tuple"), h("div", { class: "fields" }, TUPLES.map(input)));
  const form = h("form", { class: "card", role: "search", "aria-label": "Filter sessions", onsubmit: search },
    h("div", { class: "fields" },
      field("Protocol", control("protocol", select(protocols, { name: "protocol" }))),
      field("State", control("state", select(states, { name: "state" }))),
      USUAL.map(input)),
    tuples,
    others,
    h("div", { class: "row end" },
      h("button", { type: "button", onclick: clear }, "Clear"),
      h("button", { type: "submit", class: "primary" }, "Search")));

  const about = h("span", { class: "soft", role: "status" });
  const endAll = h("button", { type: "button", class: "danger", onclick: endMatching }, "End all that match");
  const more = h("button", { type: "button", onclick: () => read(next) }, "More");
  const message = h("div");
  const view = table({
    caption: "Sessions",
    empty: "No session matches.",
    key: (row) => row.key,
    columns: [
      { label: "Protocol", text: (row) => row.protocol, sort: (row) => row.protocol },
      { label: "State", text: (row) => words(row.state).replaceAll(" ", "\u00a0"), sort: (row) => row.state },
      { label: "Opener", mono: true, text: (row) => flow(row.original), sort: (row) => flow(row.original) },
      { label: "Answers", mono: true, text: (row) => flow(row.reply), sort: (row) => flow(row.reply) },
      { label: "Service", text: (row) => row.service ?? "–", sort: (row) => row.service ?? "" },
      { label: "Real server", text: (row) => row.server ?? "–", sort: (row) => row.server ?? "" },
      { label: "Age", number: true, text: (row) => duration(row.age_ms), sort: (row) => row.age_ms },
      { label: "Idle", number: true, text: (row) => duration(row.idle_ms), sort: (row) => row.idle_ms },
      { label: "Packets", number: true, text: (row) => `${count(row.original.packets)} / ${count(row.reply.packets)}`, sort: (row) => row.original.packets + row.reply.packets },
      { label: "Bytes", number: true, text: (row) => `${bytes(row.original.bytes)} / ${bytes(row.reply.bytes)}`, sort: (row) => row.original.bytes + row.reply.bytes },
      ...(may("operator") ? [{ label: "Actions", actions: true, node: endButton, sign: () => "" }] : []),
    ],
  });
  const list = h("section", { class: "card", "aria-label": "Sessions found" },
    h("div", { class: "head" }, about, h("div", { class: "row" }, may("operator") ? endAll : null)), message, view.element, h("div", { class: "row end" }, more));
  fill(main, head("Sessions"), h("div", { class: "stack" }, form, list));

  let rows = [];
  let next;
  let asked = {};
  // Answers to questions that were overtaken by others are not shown.
  let question = 0;

  function conditions() {
    const found = {};
    for (const [name, element] of controls) {
      const value = element.value.trim();
      if (value) found[name] = value;
    }
    return found;
  }

  function search(event) {
    event?.preventDefault();
    asked = conditions();
    history.replaceState(null, "", link("sessions", asked));
    read();
  }

  function clear() {
    for (const element of controls.values()) element.value = "";
    search();
  }

  async function read(cursor) {
    question += 1;
    const mine = question;
    more.disabled = true;
    try {
      const page = await get("/sessions", { ...asked, limit: PAGE, cursor });
      if (mine !== question) return;
      const found = page.sessions.map((session) => ({ ...session, key: identity(session) }));
      rows = cursor ? [...rows, ...found] : found;
      next = page.next;
      fill(message);
      show();
      announce(about.textContent);
      if (next) countAll();
    } catch (error) {
      if (mine !== question) return;
      rows = [];
      next = undefined;
      show();
      about.textContent = "";
      fill(message, problem(error));
    }
  }

  /** How many there are beyond this page; workers look through their tables for it. */
  async function countAll() {
    const mine = question;
    try {
      const found = await get("/sessions/count", asked);
      if (mine === question) about.textContent = `${count(rows.length)} of ${count(found.sessions)} sessions`;
    } catch {
      // The page is there; it does without.
    }
  }

  function show() {
    view.update(rows);
    more.hidden = !next;
    more.disabled = false;
    endAll.disabled = rows.length === 0;
    about.textContent = `${count(rows.length)}${next ? " or more" : ""} session${rows.length === 1 && !next ? "" : "s"}`;
  }

  function endButton(row) {
    return h("button", { type: "button", class: "small danger", "aria-label": `End ${row.protocol} session ${flow(row.original)}`, onclick: () => endOne(row) }, "End");
  }

  async function endOne(row) {
    await end(`End this ${row.protocol} session?`, flow(row.original), exactly(row));
  }

  async function endMatching() {
    const all = Object.keys(asked).length === 0;
    const text = Object.entries(asked).map(([name, value]) => `${words(name)} ${value}`).join(", ");
    const title = all ? "End all sessions of the appliance?" : "End all sessions that match?";
    await end(title, all ? "Nothing is filtered: every connection through the appliance breaks." : text, all ? { all: true } : asked);
  }

  async function end(title, text, query) {
    const yes = "End";
    const reset = h("input", { type: "checkbox", id: unique("field") });
    const tell = h("div", { class: "check" }, reset, h("label", { for: reset.id }, "Tell both ends of TCP sessions, by a reset"));
    if (!(await confirm({ title, body: [h("p", {}, text), tell], yes, danger: true }))) return;
    const said = (ended, more) => `${count(ended)} session${ended === 1 ? "" : "s"} ended${more ? " so far; it goes on" : ""}.`;
    try {
      const begun = (await request("DELETE", "/sessions", { query: { ...query, reset: reset.checked || undefined } })).data;
      done(said(begun.ended, begun.going_on));
      announce(said(begun.ended, begun.going_on));
      if (begun.going_on) follow(begun.id, said).catch(failed);
    } catch (error) {
      failed(error);
    }
    refresh();
    await read();
  }

  /** Sees to the end of what takes long, also when another view is shown by then. */
  async function follow(id, said) {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      const now = await get(`/sessions/endings/${id}`);
      done(said(now.ended, now.going_on));
      if (!now.going_on) {
        announce(said(now.ended, false));
        return;
      }
    }
  }

  search();
  return () => { question += 1; };
}

function flow(one) {
  return `${endpoint(one.source, one.source_port)} → ${endpoint(one.destination, one.destination_port)}`;
}

function identity(session) {
  return `${session.worker} ${session.protocol} ${session.original.zone} ${flow(session.original)}`;
}

/** The conditions that both tuples of a session meet, and hardly another's. */
function exactly({ protocol, original, reply }) {
  const part = (prefix, one) => ({
    [`${prefix}source`]: one.source,
    [`${prefix}source_port`]: one.source_port,
    [`${prefix}destination`]: one.destination,
    [`${prefix}destination_port`]: one.destination_port,
  });
  return { protocol, ...part("", original), ...part("reply_", reply) };
}
