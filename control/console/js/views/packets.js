// Packets: captured, with what became of each.

import { done, failed } from "../announce.js";
import { download, get, getIfThere, offers, request } from "../api.js";
import { confirm } from "../dialog.js";
import { card, field, fill, h, head, problem, select } from "../dom.js";
import { number, ports, text, values } from "../form.js";
import { bytes, count } from "../format.js";
import { subscribe } from "../poll.js";
import { save as keep } from "../save.js";
import { table } from "../table.js";

export const packets = { name: "packets", title: "Packets", role: "operator", mount, isThere: () => offers("/captures") };

function mount(main) {
  const message = h("div");
  const captures = captureCard(message);
  fill(main, head("Packets"), message, h("div", { class: "stack" }, captures.element));
  return subscribe(captures.load);
}

function captureCard(message) {
  const link = field("Link to the other appliance", select([["", "without"], ["true", "with"]], { name: "ha" }));
  link.hidden = true;
  getIfThere("/ha").then((peer) => { link.hidden = !peer; }).catch(() => {});
  const form = h("form", { "aria-label": "Capture packets", onsubmit: start },
    h("div", { class: "fields" },
      text("filter", "Filter", "tcp port 80 and host 192.0.2.7", "as for tcpdump; empty for everything"),
      field("Port", ports("ports", [["", "all"]])),
      link,
      number("seconds", "Seconds", "60"),
      number("snaplen", "Bytes of each frame", "65535"),
      number("max_bytes", "Bytes of the file", "16777216"),
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
    if (spec.ha) spec.ha = true;
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
      keep(await download(`/captures/${id}/packets`), `sluice-${id}.pcapng`);
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
