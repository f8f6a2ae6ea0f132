// The commit that waits to be confirmed: shown above every view, with what is left of its time.

import { announce, done, failed } from "./announce.js";
import { getIfThere, request } from "./api.js";
import { fill, h, setText } from "./dom.js";
import { duration } from "./format.js";
import { refresh } from "./poll.js";
import { may } from "./who.js";

const INTERVAL = 5000;

let bar = null;
let left = null;
/** The revision on trial, and when by this browser's clock its time is over. */
let trial = null;
let timers = [];

/** Begins to look for one, if the appliance knows of such things. */
export function start(element) {
  bar = element;
  stop();
  timers = [setInterval(() => { if (!document.hidden) look(); }, INTERVAL), setInterval(tick, 500)];
  look();
}

export function stop() {
  timers.forEach(clearInterval);
  timers = [];
  trial = null;
  if (bar) bar.hidden = true;
}

/** Looks now. */
export async function look() {
  let found;
  try {
    found = await getIfThere("/config/revisions");
  } catch {
    return;
  }
  if (found === null) {
    stop();
    return;
  }
  show(found.confirmation ?? null);
}

function show(confirmation) {
  if (!confirmation) {
    if (trial) announce("No commit waits to be confirmed any more.");
    trial = null;
    bar.hidden = true;
    return;
  }
  const isNew = trial?.revision !== confirmation.revision;
  trial = { revision: confirmation.revision, over: performance.now() + confirmation.left_ms };
  if (isNew) {
    left = h("strong");
    fill(bar, h("div", { class: "row" },
      h("span", {}, `Revision ${confirmation.revision} by ${confirmation.author} is on trial${confirmation.comment ? ` (${confirmation.comment})` : ""}. It is undone in `, left, "."),
      may("operator") ? h("span", { class: "row" },
        h("button", { type: "button", class: "primary", onclick: () => end("confirm", "It stays.") }, "Confirm"),
        h("button", { type: "button", onclick: () => end("revert", "It was undone.") }, "Undo now")) : null));
    announce(`Revision ${confirmation.revision} is undone in ${duration(confirmation.left_ms)}, unless it is confirmed.`);
  }
  bar.hidden = false;
  tick();
}

function tick() {
  if (!trial) return;
  const ms = trial.over - performance.now();
  setText(left, duration(Math.max(0, Math.ceil(ms / 1000) * 1000)));
  if (ms <= 0) look();
}

async function end(how, said) {
  const { revision } = trial;
  try {
    await request("POST", `/config/${how}`);
    done(`Revision ${revision}: ${said}`);
  } catch (error) {
    failed(error);
  }
  refresh();
  await look();
}
