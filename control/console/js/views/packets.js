// Packets: captured, and traced on paper.

import { done, failed } from "../announce.js";
import { download, get, offers, request } from "../api.js";
import { confirm } from "../dialog.js";
import { card, field, fill, h, head, problem, select } from "../dom.js";
import { bytes, count } from "../format.js";
import { subscribe } from "../poll.js";
import { table } from "../table.js";

export const packets = { name: "packets", title: "Packets", mount, isThere: () => offers("/captures") };

const VERDICTS = { forwarded: "good", consumed: "good", punted: "good", dropped: "bad" };

function mount(main) {
  const message = h("div");
  const captures = captureCard(message);
  fill(main, head("Packets"), message, h("div", { class: "stack" }, captures.element, traceCard()));
  return subscribe(captures.load);
}

/** The values of a form's controls, numbers as numbers, without what is empty. */
function values(form) {
  const all = [...new FormData(form)].filter(([, value]) => value !== "");
  return Object.fromEntries(all.map(([name, value]) => {
    const isNumber = form.elements[name].inputMode === "numeric";
    return [name, isNumber ? Number(value) : value];
  }));
}

function text(name, label, placeholder, hint) {
  const control = h("input", { type: "text", name, placeholder, autocomplete: "off", spellcheck: "false" });
  return field(label, control, hint);
}

function number(name, label, placeholder) {
  return field(label, h("input", { type: "text", inputmode: "numeric", name, placeholder, autocomplete: "off" }));
}

async function ports(control) {
  const status = await get("/status").catch(() => ({ ports: [] }));
  for (const port of status.ports) control.append(h("option", { value: port.name }, port.name));
}

function captureCard(message) {
  const port = select([["", "all"]], { name: "ports" });
  ports(port);
  const form = h("form", { "aria-label": "Capture packets", onsubmit: start },
    h("div", { class: "fields" },
      text("filter", "Filter", "tcp port 80 and host 192.0.2.7", "as for tcpdump; empty for everything"),
      field("Port", port),
      number("seconds", "Seconds", "60"),
      number("snaplen", "Bytes of each frame", "65535"),
      number("packets_per_second", "Frames a second, of each worker", "10000")),
    h("div", { class: "row end" }, h("button", { type: "submit", class: "primary" }, "Capture")));
  const list = table({
    caption: "Captures",
    empty: "Nothing was captured.",
    key: (row) => row.id,
    columns: [
      { label: "Capture", number: true, text: (row) => String(row.id) },
      { label: "Filter", mono: true, text: (row) => row.spec.filter || "everything" },
      { label: "State", badge: (row) => row.running ? ["running", "good"] : [`over: ${row.over}`, ""] },
      { label: "Packets", number: true, text: (row) => count(row.packets) },
      { label: "Size", number: true, text: (row) => bytes(row.bytes) },
      { label: "Lost", number: true, text: (row) => count(row.missed + row.limited) },
      { label: "Actions", actions: true, sign: (row) => `${row.id} ${row.running}`, node: actions },
    ],
  });

  function actions(row) {
    const button = (label, name, onclick) => h("button", { type: "button", class: "small", "aria-label": `${name} capture ${row.id}`, onclick }, label);
    return [
      row.running ? button("Stop", "Stop", () => act("POST", `/captures/${row.id}/stop`, "stopped")) : null,
      button("Download", "Download", () => save(row.id)),
      button("Delete", "Delete", () => remove(row)),
    ];
  }

  async function start(event) {
    event.preventDefault();
    const spec = values(form);
    if (spec.ports) spec.ports = [spec.ports];
    try {
      await request("POST", "/captures", { body: spec });
      fill(message);
      done("Capturing.");
      await load();
    } catch (error) {
      fill(message, problem(error));
    }
  }

  async function act(method, path, what) {
    try {
      await request(method, path);
      done(`The capture was ${what}.`);
      await load();
    } catch (error) {
      failed(error);
    }
  }

  async function remove(row) {
    const yes = await confirm({ title: `Delete capture ${row.id}?`, text: "What was captured is lost.", yes: "Delete", danger: true });
    if (yes) await act("DELETE", `/captures/${row.id}`, "deleted");
  }

  async function save(id) {
    try {
      const address = URL.createObjectURL(await download(`/captures/${id}/packets`));
      h("a", { href: address, download: `sluice-${id}.pcapng` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    } catch (error) {
      failed(error);
    }
  }

  async function load() {
    try {
      list.update((await get("/captures")).captures);
    } catch (error) {
      fill(message, problem(error));
    }
  }

  return { element: card("Captures", null, form, list.element), load };
}

function traceCard() {
  const port = select([], { name: "port" });
  ports(port);
  const result = h("div", { role: "status" });
  const protocols = [["tcp", "TCP"], ["udp", "UDP"], ["icmp", "ICMP echo"]];
  const form = h("form", { "aria-label": "Trace a packet", onsubmit: ask },
    h("div", { class: "fields" },
      field("Comes in by", port),
      field("Protocol", select(protocols, { name: "protocol" })),
      text("source", "Source", "198.51.100.7"),
      number("source_port", "Source port", "40000"),
      text("destination", "Destination", "203.0.113.80"),
      number("destination_port", "Destination port", "80"),
      text("flags", "TCP flags", "S", "letters of FSRPAUEC")),
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
      const answer = (await request("POST", "/trace", { body: values(form) })).data;
      const verdict = answer.reason ? `${answer.verdict}: ${answer.reason}` : answer.verdict;
      fill(result, h("p", {}, h("span", { class: `badge ${VERDICTS[answer.verdict] ?? ""}` }, verdict), " ", answer.text), steps.element);
      steps.update(answer.steps.map((step, at) => ({ ...step, at })));
    } catch (error) {
      fill(result, problem(error));
    }
  }

  return card("What would become of a packet", null, form, result);
}
