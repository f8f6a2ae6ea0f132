// High availability: the other appliance, and what would be lost if this one died.

import { getIfThere } from "../api.js";
import { card, fill, h, head, problem } from "../dom.js";
import { count, words } from "../format.js";
import { subscribe } from "../poll.js";
import { table } from "../table.js";

/** Shown if the appliance knows of another one. */
export const ha = { name: "ha", title: "HA", mount, isThere: async () => (await getIfThere("/ha")) !== null };

const STATES = { present: "good", joining: "warn", dead: "bad" };

const NUMBERS = [
  ["sessions_own", "Sessions of this node"],
  ["sessions_replica", "Copies of the peer's sessions"],
  ["sessions_untold", "Sessions that would be lost if this node died now, at most"],
  ["sessions_taken_over", "Sessions taken over from a peer that died"],
  ["lag", "Frames of records that the peer has not acknowledged"],
  ["digest_age_ms", "Milliseconds since both tables were last proven equal"],
  ["digest_mismatches", "Buckets of the peer's digest that differed"],
  ["repairs", "Buckets that were told anew"],
  ["records_sent", "Records told"],
  ["records_received", "Records heard"],
  ["records_lost", "Records that found no room"],
  ["conflicts", "Records that say other than what is known here"],
  ["redirected", "Packets handed to the peer"],
  ["corrected_received", "Packets that the peer handed to this node"],
];

function mount(main) {
  const state = h("div", { class: "row" });
  const message = h("div");
  const numbers = table({
    caption: "Sessions and records",
    key: (row) => row.name,
    columns: [
      { label: "What", text: (row) => row.text },
      { label: "Count", number: true, text: (row) => count(row.value) },
    ],
  });
  const reasons = table({
    caption: "Packets handed to the peer, by reason",
    empty: "None was handed to the peer.",
    key: (row) => row.name,
    columns: [
      { label: "Reason", text: (row) => words(row.name) },
      { label: "Packets", number: true, text: (row) => count(row.value), sort: (row) => row.value },
    ],
  });
  fill(main, head("HA"), message, h("div", { class: "stack" },
    card("Peer", null, state),
    card("Sessions and records", null, numbers.element),
    card("Packets handed to the peer, by reason", null, reasons.element)));
  let gone = false;

  async function load() {
    try {
      const answer = await getIfThere("/ha");
      if (gone) return;
      if (!answer) {
        fill(message, h("p", { class: "note" }, "The configuration names no other appliance."));
        return;
      }
      show(answer);
      fill(message);
    } catch (error) {
      if (!gone) fill(message, problem(error));
    }
  }

  function show(answer) {
    fill(state,
      h("span", {}, `This is node ${answer.node}; node ${answer.peer} is`),
      h("span", { class: `badge ${STATES[answer.peer_state] ?? ""}` }, answer.peer_state),
      h("span", { class: `badge ${answer.ready ? "good" : "warn"}` }, answer.ready ? "ready: nothing would be lost" : "not ready"));
    numbers.update(NUMBERS.filter(([name]) => name in answer).map(([name, text]) => ({ name, text, value: answer[name] })));
    reasons.update(Object.entries(answer.redirected_by_reason ?? {}).filter(([, value]) => value > 0).map(([name, value]) => ({ name, value })));
  }

  const stop = subscribe(load);
  return () => {
    gone = true;
    stop();
  };
}
