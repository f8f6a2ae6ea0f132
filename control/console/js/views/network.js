// Network: ports and what their devices count, neighbours, routes.

import { pages } from "../api.js";
import { rates } from "../counters.js";
import { card, field, fill, h, head, problem } from "../dom.js";
import { bits, count, duration, rate } from "../format.js";
import { subscribe } from "../poll.js";
import { table } from "../table.js";

export const network = { name: "network", title: "Network", mount };

/** Neighbours and routes are asked of the workers: less often than counters. */
const SLOW = 10_000;

const STATES = { reachable: "good", static: "good", stale: "", resolving: "warn", failed: "bad" };

function mount(main) {
  const ports = table({
    caption: "Ports",
    key: (row) => row.name,
    columns: [
      { label: "Port", text: (row) => row.name, sort: (row) => row.name },
      { label: "Link", badge: (row) => (row.link.up ? [speed(row.link), "good"] : ["down", "bad"]), sort: (row) => String(row.link.up) },
      { label: "Zone", text: (row) => row.zone, sort: (row) => row.zone },
      { label: "In", number: true, text: (row) => `${rate(row.rxFrames)} ${bits(row.rxBytes)}`, sort: (row) => row.rxFrames ?? 0 },
      { label: "Out", number: true, text: (row) => `${rate(row.txFrames)} ${bits(row.txBytes)}`, sort: (row) => row.txFrames ?? 0 },
      { label: "Dropped in", number: true, text: (row) => count(row.rxDropped), sort: (row) => row.rxDropped },
      { label: "Dropped out", number: true, text: (row) => count(row.txDropped), sort: (row) => row.txDropped },
      { label: "Device", mono: true, text: (row) => (row.vlan ? `${row.device} VLAN ${row.vlan}` : row.device) },
      { label: "MAC", mono: true, text: (row) => row.mac },
      { label: "MTU", number: true, text: (row) => count(row.mtu) },
      { label: "Addresses", mono: true, text: (row) => row.addresses.join(" ") },
    ],
  });
  const number = (label, key) => ({ label, number: true, text: (row) => count(row[key]), sort: (row) => row[key] });
  const devices = table({
    caption: "What devices count by themselves",
    key: (row) => row.name,
    columns: [
      { label: "Device", mono: true, text: (row) => row.name },
      number("Frames in", "rx_frames"),
      number("Frames out", "tx_frames"),
      number("Missed", "rx_missed"),
      number("Errors in", "rx_errors"),
      number("No buffer", "rx_no_buffer"),
      number("Errors out", "tx_errors"),
    ],
  });
  const neighbours = table({
    caption: "Neighbours",
    empty: "No neighbour is known.",
    key: (row) => `${row.port} ${row.address}`,
    columns: [
      { label: "Port", text: (row) => row.port, sort: (row) => row.port },
      { label: "Address", mono: true, text: (row) => row.address, sort: (row) => row.address },
      { label: "MAC", mono: true, text: (row) => row.mac ?? "–", sort: (row) => row.mac ?? "" },
      { label: "State", badge: (row) => [row.state, STATES[row.state] ?? ""], sort: (row) => row.state },
      { label: "Heard of", number: true, text: (row) => `${duration(row.age_ms)} ago`, sort: (row) => row.age_ms },
    ],
  });
  const routes = table({
    caption: "Routes",
    key: (row) => `${row.to} ${row.via} ${row.port}`,
    columns: [
      { label: "Network", mono: true, text: (row) => row.to },
      { label: "Via", mono: true, text: (row) => row.via ?? "connected" },
      { label: "Port", text: (row) => row.port },
    ],
  });
  const wanted = h("input", { type: "search", autocomplete: "off", spellcheck: "false", oninput: () => showNeighbours() });
  const message = h("div");
  fill(main, head("Network"), message, h("div", { class: "stack" },
    card("Ports", null, ports.element),
    card("Devices", null, devices.element),
    card("Neighbours", field("Find a neighbour", wanted), neighbours.element),
    card("Routes", null, routes.element)));

  let known = [];
  let timer = null;
  let gone = false;

  function showNeighbours() {
    const text = wanted.value.trim().toLowerCase();
    neighbours.update(known.filter((row) => [row.port, row.address, row.mac ?? "", row.state].some((value) => value.toLowerCase().includes(text))));
  }

  async function slowly() {
    try {
      const [found, ways] = await Promise.all([pages("/neighbours", "neighbours"), pages("/routes", "routes")]);
      if (gone) return;
      known = found.neighbours;
      showNeighbours();
      routes.update(ways.routes);
      fill(message);
    } catch (error) {
      if (!gone) fill(message, problem(error));
    }
    if (!gone) timer = setTimeout(slowly, SLOW);
  }

  slowly();
  const stop = subscribe((feed) => {
    const per = rates(feed, "ports");
    const counters = new Map(feed.stats.ports.map((port) => [port.name, port]));
    ports.update(feed.status.ports.map((port) => {
      const counted = counters.get(port.name);
      return {
        ...port,
        rxFrames: per(counted, "rx_frames"),
        rxBytes: per(counted, "rx_bytes"),
        txFrames: per(counted, "tx_frames"),
        txBytes: per(counted, "tx_bytes"),
        rxDropped: counted.rx_dropped,
        txDropped: counted.tx_dropped,
      };
    }));
    devices.update(feed.stats.devices);
  });
  return () => {
    gone = true;
    clearTimeout(timer);
    stop();
  };
}

function speed(link) {
  return link.speed_mbps > 0 ? `up, ${link.speed_mbps >= 1000 ? `${link.speed_mbps / 1000} G` : `${link.speed_mbps} M`}bit/s` : "up";
}
