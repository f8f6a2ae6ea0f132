// Asking the appliance how it is, every two seconds while somebody looks.

import { get } from "./api.js";
import { History } from "./counters.js";

const INTERVAL = 2000;

/** The latest answers, and what came before. Views subscribe to it. */
export const feed = {
  status: null,
  stats: null,
  /** Counters one step earlier, null at first and after a restart of the appliance. */
  before: null,
  history: new History(),
};

const listeners = new Set();
let timer = null;
let running = false;
/** Of the last start: what was asked before it, or before the end, is told to nobody. */
let round = 0;
let connection = () => {};

/** Calls `listener` after every answer, and at once if there is one. Gives a way to stop that. */
export function subscribe(listener) {
  listeners.add(listener);
  if (feed.stats) listener(feed);
  return () => listeners.delete(listener);
}

async function step() {
  const mine = round;
  try {
    const [status, stats] = await Promise.all([get("/status"), get("/stats")]);
    if (mine !== round) return;
    const restarted = feed.stats && stats.uptime_ms <= feed.stats.uptime_ms;
    feed.before = restarted ? null : feed.stats;
    feed.status = status;
    feed.stats = stats;
    feed.history.push(feed.before, stats);
    connection(null);
    for (const listener of listeners) listener(feed);
  } catch (error) {
    if (mine === round) connection(error);
  }
}

async function loop() {
  const mine = round;
  timer = null;
  await step();
  if (mine === round && running && !document.hidden) timer = setTimeout(loop, INTERVAL);
}

function wake() {
  if (running && !document.hidden && timer === null) {
    timer = setTimeout(loop, 0);
  }
}

/** Begins. `onConnection` hears of each step: null, or why it failed. */
export function start(onConnection) {
  connection = onConnection;
  if (running) return;
  running = true;
  document.addEventListener("visibilitychange", wake);
  wake();
}

/** Ends, and forgets what was seen. */
export function stop() {
  running = false;
  round += 1;
  clearTimeout(timer);
  timer = null;
  document.removeEventListener("visibilitychange", wake);
  Object.assign(feed, { status: null, stats: null, before: null, history: new History() });
}

/** Asks at once, after something was changed. */
export async function refresh() {
  if (timer === null) return;
  clearTimeout(timer);
  timer = null;
  await loop();
}
