// Tools: whether clients get to real servers, what answers, and what would become of a packet.

import { announce } from "../announce.js";
import { get, lines, offers, request } from "../api.js";
import { card, field, fill, h, head, problem, select } from "../dom.js";
import { count } from "../format.js";
import { number, ports, text, values } from "../form.js";
import { table } from "../table.js";

export const tools = { name: "tools", title: "Tools", role: "operator", mount, isThere: () => offers("/tools/connectivity") };

const STEPS = { ok: "good", warning: "warn", failed: "bad", skipped: "" };
const ANSWERS = { reply: "good", time_exceeded: "", unreachable: "bad", timeout: "warn", not_sent: "bad" };
const VERDICTS = { forwarded: "good", consumed: "good", punted: "good", dropped: "bad" };

function mount(main) {
  // Whatever runs ends with the view.
  const left = new AbortController();
  fill(main, head("Tools"), h("div", { class: "stack" },
    connectivity(left.signal),
    ping(left.signal),
    traceroute(left.signal),
    trace()));
  return () => left.abort();
}

function milliseconds(value) {
  return value === undefined || value === null ? "" : value.toFixed(1);
}

/** What is seldom asked for, behind a heading that opens it. */
function rest(fields) {
  return h("details", {}, h("summary", {}, "More"), h("div", { class: "fields" }, fields));
}

/**
 * A card with a form that runs something, whose lines come one by one. `kind` is the key of a line that
 * becomes a row, `sum(summary, rows)` says what it came to.
 */
function runner({ title, label, path, fields, more = [], kind, columns, caption, sum, body = (query) => query, gone }) {
  const start = h("button", { type: "submit", class: "primary" }, label);
  const stop = h("button", { type: "button", hidden: true }, "Stop");
  const form = h("form", { "aria-label": title, onsubmit: run },
    h("div", { class: "fields" }, fields),
    rest(more),
    h("div", { class: "row end" }, stop, start));
  const state = h("p", { role: "status" });
  const message = h("div");
  const rows = table({ caption, columns, key: (row) => row.at });
  rows.element.hidden = true;

  async function run(event) {
    event.preventDefault();
    const running = new AbortController();
    const cancel = () => running.abort();
    gone.addEventListener("abort", cancel);
    stop.addEventListener("click", cancel, { once: true });
    const found = [];
    fill(message);
    fill(state, "Running…");
    rows.update([]);
    rows.element.hidden = false;
    stop.hidden = false;
    if (document.activeElement === start) stop.focus();
    start.disabled = true;
    try {
      let summary = null;
      await lines(path, body(values(form)), running.signal, (line) => {
        if (line.summary) summary = line.summary;
        if (line[kind]) {
          found.push({ ...line[kind], at: found.length });
          rows.update(found);
        }
      });
      const [badge, says] = summary ? sum(summary, found) : ["warn", "It ended early."];
      fill(state, h("span", { class: `badge ${badge}` }, says));
      announce(says);
    } catch (error) {
      fill(state);
      if (running.signal.aborted) fill(state, "Stopped.");
      else fill(message, problem(error));
    } finally {
      gone.removeEventListener("abort", cancel);
      stop.removeEventListener("click", cancel);
      start.disabled = false;
      if (stop.contains(document.activeElement)) start.focus();
      stop.hidden = true;
    }
  }

  return card(title, null, form, state, message, rows.element);
}

function connectivity(gone) {
  const service = select([["", "all, and all pools"]], { name: "virtual_server" });
  get("/config/virtual_server").catch(() => []).then((all) => {
    for (const { name } of all) service.append(h("option", { value: name }, name));
  });
  const of = (row) => row.server ?? [row.virtual_server, row.zone && `from ${row.zone}`].filter(Boolean).join(" ");
  return runner({
    title: "Do clients get to the real servers?",
    label: "Test",
    path: "/tools/connectivity",
    kind: "step",
    gone,
    caption: "Steps",
    fields: [
      field("Virtual server", service),
      text("client", "Client", "one of each zone", "an address that is to get through"),
    ],
    more: [
      text("pool", "Real servers of pool", "web", "in place of a virtual server"),
      text("zone", "Clients of zone", "outside", "which are to get through"),
      number("timeout_ms", "Milliseconds for an answer", "1000"),
    ],
    columns: [
      { label: "Verdict", badge: (row) => [row.verdict, STEPS[row.verdict] ?? ""] },
      { label: "Of", text: of },
      { label: "Step", text: (row) => row.step.replaceAll("_", " ") },
      { label: "ms", number: true, text: (row) => milliseconds(row.ms) },
      { label: "Found", text: (row) => row.text },
    ],
    sum: (all) => [
      STEPS[all.verdict],
      `${count(all.ok)} ok, ${count(all.warnings)} warnings, ${count(all.failed)} failed, ${count(all.skipped)} skipped`,
    ],
  });
}

const PROBES = [
  { label: "Answer", badge: (row) => [row.answer.replaceAll("_", " "), ANSWERS[row.answer] ?? ""] },
  { label: "From", mono: true, text: (row) => row.from ?? "" },
  { label: "ms", number: true, text: (row) => milliseconds(row.rtt_ms) },
  { label: "Reason", text: (row) => row.reason ?? "" },
];

function ping(gone) {
  return runner({
    title: "Ping",
    label: "Ping",
    path: "/ping",
    kind: "probe",
    gone,
    caption: "Echo requests",
    fields: [text("destination", "Ping what", "10.0.0.11"), number("count", "How often", "5")],
    more: [number("interval_ms", "Milliseconds between two", "1000"), number("timeout_ms", "Milliseconds for an answer", "1000")],
    columns: [{ label: "Number", number: true, text: (row) => String(row.sequence) }, ...PROBES],
    sum: (all) => [all.received > 0 ? "good" : "bad", `${count(all.sent)} sent, ${count(all.received)} received, ${all.loss_percent}% lost`],
  });
}

function traceroute(gone) {
  return runner({
    title: "Traceroute",
    label: "Find the routers",
    path: "/traceroute",
    kind: "probe",
    gone,
    caption: "Hops",
    fields: [text("destination", "The way to", "192.0.2.9"), number("max_hops", "Hops at most", "30")],
    more: [number("probes", "Requests for each hop", "3"), number("timeout_ms", "Milliseconds for an answer", "1000")],
    columns: [{ label: "Hop", number: true, text: (row) => String(row.hop) }, ...PROBES],
    sum: (all) => all.hops ? ["good", `reached in ${count(all.hops)} ${all.hops === 1 ? "hop" : "hops"}`] : ["bad", "not reached"],
  });
}

function trace() {
  const result = h("div", { role: "status" });
  const protocols = [["tcp", "TCP"], ["udp", "UDP"], ["icmp", "ICMP echo"]];
  const form = h("form", { "aria-label": "Trace a packet", onsubmit: ask },
    h("div", { class: "fields" },
      field("Comes in by", ports("port")),
      field("Protocol", select(protocols, { name: "protocol" })),
      text("source", "Source", "198.51.100.7"),
      number("source_port", "Source port", "40000"),
      text("destination", "Destination", "203.0.113.80"),
      number("destination_port", "Destination port", "80"),
      text("flags", "TCP flags", "S", "letters of FSRPAUEC")),
    rest([
      number("ttl", "TTL or hop limit", "64"),
      number("payload", "Bytes of payload", "0"),
      number("vlan", "VLAN tag", "the port's"),
      text("frame", "Whole Ethernet frame", "001122…", "in hexadecimal, in place of all but the port"),
    ]),
    h("div", { class: "row end" }, h("button", { type: "submit", class: "primary" }, "Trace")));
  const steps = table({
    caption: "What the workers look at",
    key: (row) => row.at,
    columns: [
      { label: "Worker", number: true, text: (row) => String(row.worker) },
      { label: "Stage", text: (row) => row.stage.replaceAll("_", " ") },
      { label: "Found", text: (row) => row.text },
    ],
  });

  async function ask(event) {
    event.preventDefault();
    try {
      const { port, frame, ...packet } = values(form);
      const answer = (await request("POST", "/trace", { body: frame ? { port, frame } : { port, ...packet } })).data;
      const verdict = answer.reason ? `${answer.verdict}: ${answer.reason}` : answer.verdict;
      fill(result, h("p", {}, h("span", { class: `badge ${VERDICTS[answer.verdict] ?? ""}` }, verdict), " ", answer.text), steps.element);
      steps.update(answer.steps.map((step, at) => ({ ...step, at })));
    } catch (error) {
      fill(result, problem(error));
    }
  }

  return card("What would become of a packet", null, form, result);
}
