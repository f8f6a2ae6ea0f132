// High availability: the other appliance, and what would be lost if this one died.

import { getIfThere, request } from "../api.js";
import { card, fill, h, head, problem } from "../dom.js";
import { count, words } from "../format.js";
import { subscribe } from "../poll.js";
import { table } from "../table.js";
import { may } from "../who.js";

/** Shown if the appliance knows of another one. */
export const ha = { name: "ha", title: "HA", mount, isThere: async () => (await getIfThere("/ha")) !== null };

const STATES = { present: "good", joining: "warn", unreachable: "bad", dead: "bad" };

const NUMBERS = [
  ["sessions_own", "Sessions of this node"],
  ["sessions_replica", "Copies of the peer's sessions"],
  ["pointers", "Tuples of which only the owner is known"],
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

/* Of packets that travel with what is told of their session. */
const INLINE = [
  ["sent", "First packets sent for the peer"],
  ["direct", "First packets that left without the peer"],
  ["recalled", "First packets that waited for the peer in vain, and were sent"],
  ["returned", "First packets given back to the peer, as it alone can send them"],
  ["lost", "First packets that neither could send"],
];

function holder(group) {
  const holders = group.holders ?? [];
  if (group.held_here && holders.length < 2) return "this node";
  if (!holders.length) return "nobody";
  return holders.length > 1 ? `several: nodes ${holders.join(", ")}` : `node ${holders[0]}`;
}

function mount(main) {
  const state = h("div", { class: "row" });
  const message = h("div");
  const ways = h("p", { class: "soft" });
  const failing = h("p", { class: "soft" });
  const duty = h("button", { type: "button", disabled: true, hidden: !may("operator"), onclick: changeDuty }, "Hand over");
  let wanted = "maintenance";
  const numbers = table({
    caption: "Sessions and records",
    key: (row) => row.name,
    columns: [
      { label: "What", text: (row) => row.text },
      { label: "Count", number: true, text: (row) => count(row.value) },
    ],
  });
  const peers = table({
    caption: "Other nodes",
    key: (row) => row.node,
    columns: [
      { label: "Node", number: true, text: (row) => String(row.node), sort: (row) => row.node },
      { label: "State", text: (row) => row.state },
      { label: "HA link", text: (row) => (row.ha_link ? "works" : "is down") },
      { label: "Witness", text: (row) => (row.witness === null ? "none" : row.witness ? "works" : "is down") },
      { label: "Sessions that it may not know", number: true, text: (row) => count(row.sessions_untold), sort: (row) => row.sessions_untold },
      { label: "Frames not acknowledged", number: true, text: (row) => count(row.lag), sort: (row) => row.lag },
      { label: "Milliseconds since proven equal", number: true, text: (row) => count(row.digest_age_ms), sort: (row) => row.digest_age_ms },
    ],
  });
  const groups = table({
    caption: "Groups of addresses",
    empty: "The configuration has no group.",
    key: (row) => row.name,
    columns: [
      { label: "Group", text: (row) => row.name },
      { label: "Virtual MAC address", text: (row) => row.virtual_mac },
      { label: "Priority here", number: true, text: (row) => count(row.priority), sort: (row) => row.priority },
      { label: "Held by", text: holder },
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
    card("Peer", duty, state, ways, failing),
    card("Other nodes", null, peers.element),
    card("Groups of addresses", null, groups.element),
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
      h("span", {}, `This is node ${answer.node}; ${answer.peer === null ? "the worst of the others" : `node ${answer.peer}`} is`),
      h("span", { class: `badge ${STATES[answer.peer_state] ?? ""}` }, answer.peer_state),
      h("span", { class: `badge ${answer.ready ? "good" : "warn"}` }, answer.ready ? "ready: nothing would be lost" : "not ready"));
    const works = (way) => (way ? "works" : "is down");
    ways.textContent = `The HA link ${works(answer.ha_link)}` + (answer.witness === null ? "." : `; the second way for heartbeats ${works(answer.witness)}.`);
    const lost = (answer.trackers ?? []).filter((tracker) => !tracker.ok);
    failing.textContent = lost.map((tracker) => `${tracker.name} fails: priorities are lowered by ${tracker.lower_by}.`).join(" ");
    wanted = answer.duty === "active" ? "maintenance" : "active";
    duty.textContent = wanted === "active" ? "Take part again" : "Hand over to other nodes";
    duty.disabled = wanted === "maintenance" && !(answer.peers ?? []).some((peer) => peer.state === "present");
    peers.update(answer.peers ?? []);
    if (answer.duty !== "active") state.append(h("span", { class: "badge warn" }, answer.away ? "away: it can be stopped" : "handing over"));
    groups.update(answer.groups ?? []);
    const inline = INLINE.map(([name, text]) => ({ name: `inline_${name}`, text, value: answer.inline?.[name] ?? 0 }));
    numbers.update([
      ...NUMBERS.filter(([name]) => name in answer).map(([name, text]) => ({ name, text, value: answer[name] })),
      ...inline.filter(({ value }) => value > 0),
    ]);
    reasons.update(Object.entries(answer.redirected_by_reason ?? {}).filter(([, value]) => value > 0).map(([name, value]) => ({ name, value })));
  }

  async function changeDuty() {
    duty.disabled = true;
    try {
      const { data } = await request("POST", "/ha/handover", { body: { duty: wanted } });
      if (!gone) show(data);
    } catch (error) {
      if (!gone) fill(message, problem(error));
    }
  }

  const stop = subscribe(load);
  return () => {
    gone = true;
    stop();
  };
}
