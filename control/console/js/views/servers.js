// Virtual servers: what clients address, the real servers behind it, and how to take one out.

import { announce, done, failed } from "../announce.js";
import { get, getIfThere, path, request } from "../api.js";
import { confirm } from "../dialog.js";
import { rates } from "../counters.js";
import { card, fill, focused, h, head, problem, refind, setText } from "../dom.js";
import { bits, count, endpoint, moment, rate, words } from "../format.js";
import { refresh, subscribe } from "../poll.js";
import { link } from "../router.js";
import { table } from "../table.js";
import { may } from "../who.js";
import { editServer } from "./server-edit.js";

export const servers = { name: "servers", title: "Virtual servers", mount };

const STATES = {
  up: ["up", "good"],
  draining: ["draining", "warn"],
  down: ["down", "bad"],
};

/** Who takes new sessions of a virtual server. */
const TAKERS = {
  pool: ["pool", "good"],
  backup: ["backup pool", "warn"],
  sorry: ["sorry server", "warn"],
  redirect: ["nobody, clients are redirected", "bad"],
  nobody: ["nobody", "bad"],
};

function mount(main) {
  const body = h("div", { class: "stack" }, h("p", { class: "soft" }, "Reading the configuration…"));
  fill(main, head("Virtual servers"), body);
  let update = () => {};
  let epoch = null;
  let gone = false;
  // What checks have found, by pool and name; null where nothing is checked.
  let found = null;
  // Who takes new sessions, by virtual server.
  let takers = new Map();

  async function take() {
    const answer = await getIfThere("/tiers", "virtual_servers");
    takers = new Map((answer?.virtual_servers ?? []).map((tiers) => [tiers.virtual_server, tiers]));
  }

  async function check() {
    const answer = await getIfThere("/health", "servers");
    const servers = (answer?.servers ?? []).filter((server) => server.checks.length > 0 || server.connections);
    found = servers.length > 0 ? new Map(servers.map((server) => [server.name, server])) : null;
  }

  async function load(feed) {
    try {
      const [config] = await Promise.all([get("/config"), check(), take()]);
      if (gone) return;
      const had = focused(body);
      update = show(body, config, found !== null);
      update(feed, found, takers);
      refind(body, had);
    } catch (error) {
      if (!gone) fill(body, problem(error));
    }
  }

  const stop = subscribe((feed) => {
    // Another epoch is another configuration.
    if (feed.status.epoch !== epoch) {
      epoch = feed.status.epoch;
      load(feed);
    } else {
      update(feed, found, takers);
      // Shown at the next step; a failure of it is one of the connection, and shown there.
      if (found) check().catch(() => {});
      take().catch(() => {});
    }
  });
  return () => {
    gone = true;
    stop();
  };
}

/** Builds the cards of a configuration; gives what fills them. */
function show(body, config, checked) {
  const pools = new Map((config.pool ?? []).map((pool) => [pool.name, pool]));
  const used = new Set();
  const sections = (config.virtual_server ?? []).map((virtual) => {
    const both = [virtual.pool, virtual.backup_pool].filter((name) => name !== undefined && name !== null);
    both.forEach((name) => used.add(name));
    return virtualServer(virtual, both.map((name) => pools.get(name)), checked);
  });
  const unused = [...pools.values()].filter((pool) => !used.has(pool.name));
  sections.push(...unused.map((pool) => lonelyPool(pool, checked)));
  if (sections.length === 0) {
    fill(body, h("p", { class: "note" }, "The configuration has no virtual server."));
  } else {
    fill(body, sections.map((section) => section.element));
  }
  return (feed, found, takers) => sections.forEach((section) => section.update(feed, found, takers));
}

function virtualServer(virtual, pools, checked) {
  const facts = h("p", { class: "soft" });
  const badge = h("span");
  const taker = h("span", { class: "soft" });
  const lists = pools.map((pool) => realServers(pool, checked));
  const address = endpoint(virtual.address, virtual.port);
  const sessions = h("a", { href: link("sessions", { service: virtual.name }) }, "Sessions", h("span", { class: "unseen" }, ` of ${virtual.name}`));
  const how = [virtual.protocol, words(virtual.mode ?? "dnat"), words(virtual.scheduler ?? "weighted_round_robin"), virtual.persistence ? "persistent" : null];
  const element = card(virtual.name, sessions,
    h("p", {}, h("code", {}, address), ` · ${how.filter(Boolean).join(" · ")} · pool ${virtual.pool}`),
    h("p", {}, "New sessions go to: ", badge, " ", taker),
    facts,
    lists.flatMap((list, at) => [at > 0 ? h("p", { class: "soft" }, `Backup pool ${virtual.backup_pool}:`) : null, list.element]));
  return {
    element,
    update(feed, found, takers) {
      const service = feed.stats.services.find((one) => one.kind === "virtual_server" && one.name === virtual.name);
      if (service) facts.textContent = numbers(service, rates(feed, "services"));
      const tiers = takers.get(virtual.name);
      if (tiers) {
        const [text, kind] = TAKERS[tiers.taker] ?? [tiers.taker, ""];
        badge.className = `badge ${kind}`;
        setText(badge, text);
        setText(taker, takes(tiers));
      }
      lists.forEach((list) => list.update(feed, found));
    },
  };
}

/** Which priority groups, since when, how many servers of how many, and why nobody before. */
function takes(tiers) {
  const groups = tiers.tiers.find((tier) => tier.in_use)?.priorities ?? [];
  const parts = [
    groups.length > 1 || groups[0] > 0 ? `priority ${groups.join(", ")}` : null,
    `since ${moment(tiers.since)}`,
    `${tiers.available} of the pool's servers available, ${tiers.min_up} wanted`,
    tiers.why || null,
  ];
  return parts.filter(Boolean).join(" · ");
}

function lonelyPool(pool, checked) {
  const list = realServers(pool, checked);
  return { element: card(`Pool ${pool.name}`, null, h("p", { class: "soft" }, "No virtual server uses it."), list.element), update: list.update };
}

function numbers(service, per) {
  const bytes = [per(service, "bytes_original"), per(service, "bytes_reply")];
  return [
    `${count(service.sessions)} sessions`,
    `${rate(per(service, "sessions_opened"))} new`,
    `${bits(bytes[0])} from clients`,
    `${bits(bytes[1])} to clients`,
    `${count(service.refused)} refused`,
  ].join(" · ");
}

function realServers(pool, checked) {
  const configured = new Map((pool?.server ?? []).map((server) => [`${pool.name}/${server.name}`, server]));
  const sessions = (row) => h("a", { href: link("sessions", { server: row.name }) }, count(row.sessions), h("span", { class: "unseen" }, ` sessions of ${row.name}`));
  const view = table({
    caption: `Real servers of pool ${pool?.name}`,
    empty: "The pool has no real server.",
    key: (row) => row.name,
    columns: [
      { label: "Real server", text: (row) => row.plain, sort: (row) => row.plain },
      { label: "Address", mono: true, text: (row) => row.address, sort: (row) => row.address },
      { label: "State", badge: (row) => STATES[row.state] ?? [row.state, ""], sort: (row) => row.state },
      ...(checked ? [
        { label: "Health", badge: (row) => health(row.check), sort: (row) => row.check?.health ?? "" },
        { label: "Why", text: why },
      ] : []),
      { label: "Weight", number: true, text: (row) => count(row.weight), sort: (row) => row.weight },
      { label: "Sessions", number: true, node: sessions, sign: (row) => String(row.sessions), sort: (row) => row.sessions },
      { label: "New", number: true, text: (row) => rate(row.opened), sort: (row) => row.opened ?? 0 },
      { label: "To it", number: true, text: (row) => bits(row.sent), sort: (row) => row.sent ?? 0 },
      { label: "From it", number: true, text: (row) => bits(row.answered), sort: (row) => row.answered ?? 0 },
      ...(may("operator") ? [{ label: "Actions", actions: true, node: actions, sign: (row) => row.state }] : []),
    ],
  });
  return {
    element: view.element,
    update(feed, found) {
      const per = rates(feed, "servers");
      view.update(feed.stats.servers.filter((server) => configured.has(server.name)).map((server) => {
        const { name, address, port, state } = configured.get(server.name);
        return {
          name: server.name,
          pool: pool.name,
          plain: name,
          address: endpoint(address, port),
          // What was asked for; what checks make of it is its health.
          state: state ?? "up",
          check: found?.get(server.name),
          weight: server.weight,
          sessions: server.sessions,
          opened: per(server, "sessions_opened"),
          sent: per(server, "bytes_original"),
          answered: per(server, "bytes_reply"),
        };
      }));
    },
  };
}

/** What checks have found. */
function health(check) {
  const kinds = { up: "good", down: "bad", unknown: "warn" };
  if (check?.health !== "down" && check?.passive === "down") return ["out", "bad"];
  if (check?.checks.length === 0) return [words(check.passive), kinds[check.passive] ?? ""];
  return [words(check?.health ?? "unchecked"), kinds[check?.health] ?? ""];
}

function why(row) {
  const checks = row.check?.checks ?? [];
  const wrong = checks.filter((check) => check.error !== undefined);
  if (wrong.length > 0) return wrong.map((check) => `${check.name}: ${check.error}`).join("; ");
  const seen = row.check?.connections;
  if (seen?.out_until) return `out until ${seen.out_until}: its connections failed`;
  if (row.check?.share_percent < 100) return `starts slowly: ${row.check.share_percent} % of its share`;
  const took = checks.flatMap((check) => check.latency_ms ?? []);
  return took.length > 0 ? `answered in ${count(Math.round(1000 * Math.max(...took)))} µs` : "";
}

function actions(row) {
  const button = (text, state, kind) =>
    h("button", { type: "button", class: `small ${kind}`, "aria-label": `${text} ${row.name}`, onclick: () => change(row, state) }, text);
  return h("div", { class: "row" },
    row.state === "up" ? button("Drain", "draining", "") : button("Enable", "up", "primary"),
    row.state === "down" ? null : button("Disable", "down", "danger"),
    h("button", { type: "button", class: "small", "aria-label": `Change weight and state of ${row.name}`, onclick: () => editServer(row).catch(failed) }, "Change"));
}

async function change(row, state) {
  const texts = {
    draining: [`Drain ${row.name}?`, "It gets no new sessions; those that it has go on until they end.", "Drain"],
    down: [`Disable ${row.name}?`, `It gets no new sessions, and its ${count(row.sessions)} sessions end at their next packet.`, "Disable"],
    up: [`Enable ${row.name}?`, "It gets new sessions again.", "Enable"],
  };
  const [title, text, yes] = texts[state];
  if (!(await confirm({ title, text, yes, danger: state === "down" }))) return;
  try {
    const to = path("config", "pool", row.pool, "server", row.plain);
    await request("PATCH", to, {
      body: { state },
      type: "application/merge-patch+json",
      query: { comment: `console: ${row.name} ${state}` },
    });
    done(`${row.name} is ${state} now.`);
    announce(`${row.name} is ${state} now.`);
    await refresh();
  } catch (error) {
    failed(error);
  }
}
