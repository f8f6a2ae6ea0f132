// Overview: how the appliance is, and how it has been for ten minutes.

import { getIfThere } from "../api.js";
import { chart } from "../chart.js";
import { card, fill, h, head } from "../dom.js";
import { bits, count, duration, percent, rate, short, words } from "../format.js";
import { subscribe } from "../poll.js";
import { table } from "../table.js";
import { talkers } from "./talkers.js";

/** Reasons in the graph; the table has all. */
const REASONS = 6;

export const overview = { name: "overview", title: "Overview", mount };

function mount(main) {
  const packets = chart({ title: "Packets per second", format: rate });
  const sessions = chart({ title: "Sessions", format: short });
  const opened = chart({ title: "New sessions per second", format: rate });
  const drops = chart({ title: "Drops per second, by reason", format: rate });
  const load = chart({ title: "Worker load, as share of busy polls", format: percent, limit: 1 });
  const most = talkers();
  const meanings = new Map();
  learn(meanings);
  const clock = { hz: null };
  tick(clock);
  const tiles = h("dl", { class: "tiles" });
  const reasons = table({
    caption: "Frames dropped, by reason",
    empty: "No frame was dropped.",
    key: ([reason]) => reason,
    columns: [
      { label: "Reason", text: ([reason]) => words(reason), sort: ([reason]) => reason },
      { label: "Meaning", text: ([reason]) => meanings.get(reason) ?? "" },
      { label: "Frames", number: true, text: ([, frames]) => count(frames), sort: ([, frames]) => frames },
      { label: "Now", number: true, text: ([, , now]) => rate(now), sort: ([, , now]) => now ?? 0 },
    ],
  });
  const workers = table({
    caption: "Workers",
    key: (worker) => worker.core,
    columns: [
      { label: "Core", number: true, text: (worker) => String(worker.core) },
      { label: "Sessions", number: true, text: (worker) => count(worker.sessions) },
      { label: "Load", number: true, text: (worker) => percent(worker.load) },
      { label: "Frames a burst", number: true, text: (worker) => short(worker.burst) },
      { label: "ns a frame", number: true, text: (worker) => short(worker.ns) },
      { label: "Cycles a frame", number: true, text: (worker) => short(worker.cycles) },
      { label: "Epoch", number: true, text: (worker) => count(worker.epoch) },
    ],
  });
  fill(main, head("Overview"), tiles,
    h("div", { class: "charts" },
      [packets, sessions, opened, drops, load].map((one) => one.element),
      card("Workers", null, workers.element),
      most.element,
      card("Drops by reason", null, reasons.element)));

  const stop = subscribe(({ status, stats, before, history }) => {
    const { points, latest } = history;
    fill(tiles, facts(status, latest).map(([name, value, more]) =>
      h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, value, more ? h("small", { class: "soft" }, ` ${more}`) : null))));
    packets.update(points, [
      { name: "received", value: (point) => point.received },
      { name: "forwarded", value: (point) => point.forwarded },
    ]);
    sessions.update(points, [{ name: "open", value: (point) => point.sessions }]);
    opened.update(points, [
      { name: "opened", value: (point) => point.opened },
      { name: "ended", value: (point) => point.ended },
    ]);
    drops.update(points, history.reasons(REASONS).map((reason) => ({ name: words(reason), value: (point) => point.drops[reason] ?? null })));
    load.update(points, status.workers.map((worker, at) => ({ name: `core ${worker.core}`, value: (point) => point.load[at] ?? null })));
    const dropped = Object.entries(stats.total.dropped).filter(([, frames]) => frames > 0).sort((a, b) => b[1] - a[1]);
    reasons.update(dropped.map(([reason, frames]) => [reason, frames, latest?.drops[reason] ?? null]));
    workers.update(status.workers.map((worker, at) => ({ ...worker, load: latest?.load[at] ?? null, ...pace(before?.workers[at], stats.workers[at], clock.hz) })));
    most.update(status.sessions.v4 + status.sessions.v6);
  });
  return () => {
    stop();
    most.end();
  };
}

/** What each reason means; the table does without until it is known. */
async function learn(meanings) {
  const answer = await getIfThere("/drops").catch(() => null);
  for (const { reason, meaning } of answer?.drops ?? []) meanings.set(reason, meaning);
}

/** The rate of the workers' time stamp counter; the table does without until it is known. */
async function tick(clock) {
  const answer = await getIfThere("/workers").catch(() => null);
  clock.hz = answer?.workers[0]?.tsc_hz ?? null;
}

/** How large a worker's bursts were between two readings, and how long it worked for a frame, in cycles where `hz` is known. */
function pace(before, now, hz) {
  if (!before) return {};
  const sum = (reading) => reading.bursts.reduce((all, { count }) => all + count, 0);
  const frames = now.received - before.received;
  const bursts = sum(now) - sum(before);
  if (!(frames > 0 && bursts > 0)) return {};
  const ns = (now.busy_ns - before.busy_ns) / frames;
  return { burst: frames / bursts, ns, cycles: hz ? (ns * hz) / 1e9 : null };
}

function facts(status, latest) {
  const { v4, v6, limit_v4: room4, limit_v6: room6 } = status.sessions;
  const down = status.ports.filter((port) => !port.link.up).length;
  return [
    ["Packets in", rate(latest?.received)],
    ["Traffic in", bits(latest?.bytesIn)],
    ["Traffic out", bits(latest?.bytesOut)],
    ["Sessions", short(v4 + v6), `of ${short(room4 + room6)}`],
    ["New sessions", rate(latest?.opened)],
    ["Drops", rate(latest?.dropped)],
    ["Ports", down === 0 ? "all up" : `${down} down`, `of ${status.ports.length}`],
    ["Packet buffers", percent(status.buffers.total > 0 ? status.buffers.free / status.buffers.total : null), "free"],
    ["Up for", duration(status.uptime_ms)],
    ...(status.next ? [["Next start", "changes", `by ${status.next.author} wait for it`]] : []),
  ];
}
