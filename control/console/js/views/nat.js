// NAT: the pools and rules of the configuration, and what goes by them now.

import { get, getIfThere } from "../api.js";
import { rates } from "../counters.js";
import { card, fill, h, head, problem } from "../dom.js";
import { bits, count, percent, rate, words } from "../format.js";
import { subscribe } from "../poll.js";
import { link } from "../router.js";
import { table } from "../table.js";

/** Workers look through all sessions to know which ports are in use. */
const SLOW = 10_000;

export const nat = { name: "nat", title: "NAT", mount };

function mount(main) {
  const pools = table({
    caption: "SNAT pools",
    empty: "The configuration has no SNAT pool.",
    key: (row) => row.name,
    columns: [
      { label: "Pool", text: (row) => row.name, sort: (row) => row.name },
      { label: "Addresses", mono: true, text: (row) => row.addresses.join(", ") },
      { label: "Ports", text: (row) => row.ports },
      { label: "Mapping", text: (row) => row.mapping },
      { label: "Filtering", text: (row) => row.filtering },
      { label: "Used by", text: (row) => row.users.join(", ") || "nothing" },
      { label: "Sessions", number: true, text: (row) => count(row.sessions), sort: (row) => row.sessions },
      { label: "New", number: true, text: (row) => rate(row.opened), sort: (row) => row.opened ?? 0 },
      { label: "Exhausted", number: true, text: (row) => count(row.exhausted), sort: (row) => row.exhausted ?? 0 },
    ],
  });
  const addresses = table({
    caption: "Addresses of SNAT pools",
    empty: "The configuration has no SNAT pool.",
    key: (row) => `${row.pool} ${row.address}`,
    columns: [
      { label: "Pool", text: (row) => row.pool, sort: (row) => row.pool },
      { label: "Address", mono: true, text: (row) => row.address, sort: (row) => row.address },
      { label: "Ports in use", text: used, sort: (row) => Object.values(row.ports ?? {}).reduce((all, n) => all + n, 0) },
      { label: "Most of", number: true, text: (row) => percent(share(row)), sort: share },
      { label: "Sessions", number: true, text: (row) => count(row.sessions), sort: (row) => row.sessions },
      { label: "Of the peer", number: true, text: (row) => count(row.peer_sessions), sort: (row) => row.peer_sessions },
    ],
  });
  const blocks = table({
    caption: "Workers' shares of SNAT pools",
    empty: "The configuration has no SNAT pool.",
    key: (row) => `${row.pool} ${row.worker}`,
    columns: [
      { label: "Pool", text: (row) => row.pool },
      { label: "Worker", number: true, text: (row) => String(row.worker) },
      { label: "Its ports", text: (row) => (row.block ? row.block.join("–") : "any, by destination") },
      { label: "Sessions", number: true, text: (row) => count(row.sessions) },
      { label: "Mappings of all pools", number: true, text: (row) => count(row.mappings) },
    ],
  });
  const snat = services("snat", "SNAT rules", [
    { label: "From", text: (row) => row.from ?? "any" },
    { label: "To", text: (row) => row.to ?? "any" },
    { label: "Source becomes", text: becomes },
  ]);
  const fixed = services("static", "Static translations", [
    { label: "External", mono: true, text: (row) => row.external },
    { label: "Internal", mono: true, text: (row) => row.internal },
    { label: "Open from", text: (row) => (row.open_from ?? []).join(", ") || "–" },
  ]);
  const forwards = services("forward", "Port forwards", [
    { label: "External", mono: true, text: (row) => `${row.address} ${row.protocol} ${row.port}` },
    { label: "To", mono: true, text: (row) => row.to },
  ]);
  const message = h("div");
  fill(main, head("NAT"), message, h("div", { class: "stack" },
    card("SNAT pools", null, pools.element),
    card("Ports in use", h("span", { class: "soft" }, "one port serves many destinations at once, unless the mapping is endpoint-independent"), addresses.element),
    card("By worker", null, blocks.element),
    card("SNAT rules", h("span", { class: "soft" }, "the first that matches decides"), snat.element),
    card("Static translations", null, fixed.element),
    card("Port forwards", null, forwards.element)));

  let config = null;
  let epoch = null;
  let gone = false;
  let timer = null;

  async function load() {
    try {
      config = await get("/config");
      fill(message);
    } catch (error) {
      if (!gone) fill(message, problem(error));
    }
  }

  function update(feed) {
    if (!config || gone) return;
    const per = rates(feed, "services");
    const found = new Map(feed.stats.services.map((service) => [`${service.kind}/${service.name}`, service]));
    const counted = new Map(feed.stats.snat_pools.map((pool) => [pool.name, pool]));
    pools.update((config.snat_pool ?? []).map((pool) => ({ ...usage(pool, config, found, per), exhausted: counted.get(pool.name)?.exhausted })));
    snat.update(config.snat ?? [], found, per);
    fixed.update(config.static_nat ?? [], found, per);
    forwards.update(config.forward ?? [], found, per);
  }

  async function slowly() {
    try {
      const answer = await getIfThere("/snat_pools", "snat_pools");
      if (gone) return;
      const found = answer?.snat_pools ?? [];
      addresses.update(found.flatMap((pool) => pool.addresses.map((one) => ({ ...one, pool: pool.name, room: pool.last_port - pool.first_port + 1 }))));
      blocks.update(found.flatMap((pool) => pool.workers.map((one, worker) => ({ ...one, pool: pool.name, worker }))));
    } catch (error) {
      if (!gone) fill(message, problem(error));
    }
    if (!gone) timer = setTimeout(slowly, SLOW);
  }

  slowly();
  const stop = subscribe(async (feed) => {
    if (feed.status.epoch !== epoch) {
      epoch = feed.status.epoch;
      await load();
    }
    update(feed);
  });
  return () => {
    gone = true;
    clearTimeout(timer);
    stop();
  };
}

/** Ports in use, by protocol. */
function used(row) {
  if (!row.ports) return "too many to tell";
  return Object.entries(row.ports).map(([protocol, n]) => `${protocol} ${count(n)}`).join(", ") || "none";
}

/** How much of its ports the protocol uses that uses most. */
function share(row) {
  return row.ports ? Math.max(0, ...Object.values(row.ports)) / row.room : null;
}

/** A table of one kind of service: what it is, and its counters. */
function services(kind, caption, columns) {
  const view = table({
    caption,
    empty: "The configuration has none.",
    key: (row) => row.name,
    columns: [
      { label: "Name", text: (row) => row.name, sort: (row) => row.name },
      ...columns,
      {
        label: "Sessions",
        number: true,
        node: (row) => h("a", { href: link("sessions", { service: `${kind}/${row.name}` }) }, count(row.sessions), h("span", { class: "unseen" }, ` sessions of ${row.name}`)),
        sign: (row) => String(row.sessions),
        sort: (row) => row.sessions,
      },
      { label: "New", number: true, text: (row) => rate(row.opened), sort: (row) => row.opened ?? 0 },
      { label: "Out", number: true, text: (row) => bits(row.out), sort: (row) => row.out ?? 0 },
      { label: "Back", number: true, text: (row) => bits(row.back), sort: (row) => row.back ?? 0 },
      { label: "Refused", number: true, text: (row) => count(row.refused), sort: (row) => row.refused },
    ],
  });
  return {
    element: view.element,
    update(items, found, per) {
      view.update(items.map((item) => {
        const service = found.get(`${kind}/${item.name}`);
        return {
          ...item,
          sessions: service?.sessions ?? 0,
          refused: service?.refused ?? 0,
          opened: service ? per(service, "sessions_opened") : null,
          out: service ? per(service, "bytes_original") : null,
          back: service ? per(service, "bytes_reply") : null,
        };
      }));
    },
  };
}

function becomes(row) {
  if (row.keep) return "stays as it is";
  if (row.masquerade) return "the port's address";
  return `pool ${row.pool}`;
}

/** A pool with the services whose sources it translates, and their sessions. */
function usage(pool, config, found, per) {
  const users = [
    ...(config.snat ?? []).filter((rule) => rule.pool === pool.name).map((rule) => `snat/${rule.name}`),
    ...(config.forward ?? []).filter((rule) => rule.source === pool.name).map((rule) => `forward/${rule.name}`),
    ...(config.virtual_server ?? []).filter((rule) => rule.snat_pool === pool.name).map((rule) => `virtual_server/${rule.name}`),
  ];
  const used = users.map((name) => found.get(name)).filter(Boolean);
  const opened = used.map((service) => per(service, "sessions_opened"));
  return {
    name: pool.name,
    addresses: pool.addresses ?? [],
    ports: String(pool.ports ?? "all"),
    mapping: words(pool.mapping ?? "endpoint_dependent"),
    filtering: words(pool.filtering ?? "as the mapping"),
    users,
    sessions: used.reduce((all, service) => all + service.sessions, 0),
    opened: opened.includes(null) ? null : opened.reduce((all, one) => all + one, 0),
  };
}
