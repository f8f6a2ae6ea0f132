// Who has most: hosts, services or real servers, in the sessions that live now.

import { get } from "../api.js";
import { card, field, fill, h, problem, select } from "../dom.js";
import { bytes, count, short } from "../format.js";
import { link } from "../router.js";
import { table } from "../table.js";

/** How often it is asked by itself: workers look through all sessions for it. */
const SLOW = 10_000;
/** With more sessions than this, only somebody who asks for it gets it. */
const MANY = 1_000_000;

const BY = [["source", "hosts that open"], ["destination", "addresses they open to"], ["endpoint", "addresses and ports they open to"], ["service", "services"], ["server", "real servers"]];
const ORDERS = [["bytes", "bytes"], ["packets", "packets"], ["sessions", "sessions"]];
/** What of a group can be looked for among sessions. */
const CONDITIONS = { source: "source", destination: "destination", service: "service", server: "server" };

/** A card, how to tell it how many sessions there are, and how to end it. */
export function talkers() {
  const by = select(BY, { onchange: () => look() });
  const order = select(ORDERS, { onchange: () => look() });
  const again = h("button", { type: "button", onclick: () => look() }, "Look now");
  const message = h("div");
  let asked = "source";
  const view = table({
    caption: "Who has most",
    empty: "There is no session.",
    key: (row) => row.name,
    columns: [
      { label: "Who", mono: true, node: who, sign: (row) => `${asked} ${row.name}` },
      { label: "Sessions", number: true, text: (row) => count(row.sessions) },
      { label: "Packets", number: true, text: (row) => short(row.packets) },
      { label: "Bytes", number: true, text: (row) => bytes(row.bytes) },
    ],
  });
  const element = card("Who has most", h("div", { class: "row" }, field("Of", by), field("By", order), again), message, view.element);
  let timer = null;
  let gone = false;
  let sessions = null;
  let question = 0;

  function who(row) {
    if (!row.name) return "none of these";
    const condition = CONDITIONS[asked];
    return condition ? h("a", { href: link("sessions", { [condition]: row.name }) }, row.name) : row.name;
  }

  async function look() {
    clearTimeout(timer);
    question += 1;
    const mine = question;
    try {
      const found = await get("/sessions/top", { by: by.value, order: order.value, limit: 8 });
      if (gone || mine !== question) return;
      asked = by.value;
      view.update(found.groups);
      fill(message, found.exact ? null : h("p", { class: "note" }, "There are more groups than are kept; small ones may be missing."));
    } catch (error) {
      if (!gone && mine === question) fill(message, problem(error));
    }
    if (!gone && mine === question && sessions < MANY) timer = setTimeout(look, SLOW);
  }

  return {
    element,
    update(now) {
      const first = sessions === null;
      sessions = now;
      if (first && sessions < MANY) look();
    },
    end() {
      gone = true;
      clearTimeout(timer);
    },
  };
}
