// NAT: the pools and rules of the configuration, and what goes by them now.

import { get } from "../api.js";
import { rates } from "../counters.js";
import { card, fill, h, head, problem } from "../dom.js";
import { bits, count, rate, words } from "../format.js";
import { subscribe } from "../poll.js";
import { link } from "../router.js";
import { table } from "../table.js";

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
    card("SNAT rules", h("span", { class: "soft" }, "the first that matches decides"), snat.element),
    card("Static translations", null, fixed.element),
    card("Port forwards", null, forwards.element)));

  let config = null;
  let epoch = null;
  let gone = false;

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
    pools.update((config.snat_pool ?? []).map((pool) => usage(pool, config, found, per)));
    snat.update(config.snat ?? [], found, per);
    fixed.update(config.static_nat ?? [], found, per);
    forwards.update(config.forward ?? [], found, per);
  }

  const stop = subscribe(async (feed) => {
    if (feed.status.epoch !== epoch) {
      epoch = feed.status.epoch;
      await load();
    }
    update(feed);
  });
  return () => {
    gone = true;
    stop();
  };
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
