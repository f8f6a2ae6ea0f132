// From counters, which only count up, to rates and what the graphs show.

/** Points that are kept: ten minutes of them. */
const KEPT = 300;

/** Seconds between two readings, by the appliance's clock. */
export function seconds(before, now) {
  return (now.uptime_ms - before.uptime_ms) / 1000;
}

/** By how much a counter grew per second; null if it is not known, or began anew. */
export function rate(before, now, elapsed) {
  if (typeof before !== "number" || typeof now !== "number" || !(elapsed > 0) || now < before) return null;
  return (now - before) / elapsed;
}

/**
 * Rates of named items (ports, services, servers): `rates(feed, "ports")` gives a function of an item
 * and a counter's name.
 */
export function rates(feed, list) {
  const { before, stats } = feed;
  if (!before) return () => null;
  const elapsed = seconds(before, stats);
  const key = (item) => `${item.kind ?? ""}/${item.name}`;
  const earlier = new Map(before[list].map((item) => [key(item), item]));
  return (item, counter) => {
    const was = earlier.get(key(item));
    return was ? rate(was[counter], item[counter], elapsed) : null;
  };
}

/** Share of a worker's polls that found something. A worker that slept was not busy meanwhile. */
export function load(before, now) {
  const polls = now.polls - before.polls;
  return polls > 0 ? Math.min(1, (now.busy_polls - before.busy_polls) / polls) : 0;
}

/** One point of the graphs, of two readings. */
export function sample(before, now) {
  const elapsed = seconds(before, now);
  const total = (counter) => rate(before.total[counter], now.total[counter], elapsed);
  const sum = (reading, counter) => reading.ports.reduce((all, port) => all + port[counter], 0);
  const ports = (counter) => rate(sum(before, counter), sum(now, counter), elapsed);
  const drops = {};
  for (const [reason, value] of Object.entries(now.total.dropped)) {
    drops[reason] = rate(before.total.dropped[reason] ?? 0, value, elapsed) ?? 0;
  }
  return {
    time: now.uptime_ms,
    received: total("received"),
    forwarded: total("forwarded"),
    bytesIn: ports("rx_bytes"),
    bytesOut: ports("tx_bytes"),
    opened: total("sessions_opened"),
    ended: total("sessions_ended"),
    sessions: now.total.sessions_v4 + now.total.sessions_v6,
    drops,
    dropped: Object.values(drops).reduce((all, value) => all + value, 0),
    load: now.workers.map((worker, at) => (before.workers[at] ? load(before.workers[at], worker) : null)),
  };
}

/** The points of the last ten minutes. */
export class History {
  constructor() {
    this.points = [];
  }

  /** Adds a reading; without one before it nothing is known yet, and what was known is of another process. */
  push(before, now) {
    if (!before) {
      this.points = [];
      return;
    }
    if (seconds(before, now) <= 0) return;
    this.points.push(sample(before, now));
    if (this.points.length > KEPT) this.points.shift();
  }

  get latest() {
    return this.points.at(-1) ?? null;
  }

  /** The reasons that frames were dropped for, most frequent first. */
  reasons(limit) {
    const sums = new Map();
    for (const point of this.points) {
      for (const [reason, value] of Object.entries(point.drops)) {
        if (value > 0) sums.set(reason, (sums.get(reason) ?? 0) + value);
      }
    }
    return [...sums].sort((a, b) => b[1] - a[1]).slice(0, limit).map(([reason]) => reason);
  }
}
