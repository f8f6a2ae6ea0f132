// Parts of the configuration: one rule, one pool, one section, and nothing around it.

import { announce, done, failed } from "../announce.js";
import { Problem, changeable, get, path, request } from "../api.js";
import { ask } from "../dialog.js";
import { card, field, fill, h, problem, refocus, select } from "../dom.js";
import { terms } from "../form.js";
import { refresh } from "../poll.js";
import { table } from "../table.js";
import { look } from "../trial.js";
import { result, said } from "./config-edit.js";

/** What an item of a list is called: its name; of a route, its network; a network itself. Some have none. */
const nameOf = (item) => (typeof item === "string" ? item : item.name ?? (item.from === undefined ? item.to : undefined));

export function parts(panel) {
  const which = select([], { onchange: show });
  const where = select([["running", "what is in use"], ["candidate", "my candidate"]], { onchange: load });
  const message = h("div");
  const body = h("div");
  let whole = {};
  /** By their titles. */
  let kinds = new Map();
  let gone = false;
  fill(panel, h("div", { class: "stack" },
    h("div", { class: "fields" }, field("Part", which), field("Of", where)), message, body));

  const isCandidate = () => where.value === "candidate";
  const query = () => (isCandidate() ? { candidate: true } : {});

  async function load() {
    try {
      const [found, resources] = await Promise.all([get(isCandidate() ? "/candidate" : "/config"), changeable("/config")]);
      if (gone) return;
      whole = found;
      kinds = new Map(expand(resources, whole).map((kind) => [kind.title, kind]));
      const chosen = which.value;
      fill(which, [...kinds.keys()].map((title) => h("option", { value: title }, title)));
      if (kinds.has(chosen)) which.value = chosen;
      fill(message);
      show();
    } catch (error) {
      if (gone) return;
      kinds = new Map();
      fill(body);
      const none = error.type.endsWith(":no-candidate");
      fill(message, none ? h("p", { class: "note" }, "You have no candidate; begin one under Candidate.") : problem(error));
    }
  }

  function show() {
    const kind = kinds.get(which.value);
    if (!kind) return;
    const value = kind.steps.reduce((at, step) => (Array.isArray(at) ? at.find((item) => nameOf(item) === step) : at?.[step]), whole);
    fill(body, kind.isList ? list(kind, value ?? []) : section(kind, value));
  }

  function section(kind, value) {
    const isThere = value !== undefined;
    const buttons = [
      h("button", { type: "button", class: "primary", onclick: () => edit(kind, null, []).catch(failed) }, isThere ? "Edit" : "Write"),
      kind.canGo && isThere ? h("button", { type: "button", class: "danger", onclick: () => remove(kind, null).catch(failed) }, "Delete") : null,
    ];
    const text = !isThere ? h("p", { class: "soft" }, "Nothing is written; defaults hold.") : h("pre", { class: "source", tabindex: "0", "aria-label": kind.title }, JSON.stringify(value, null, 2));
    return card(kind.title, buttons, text);
  }

  function list(kind, items) {
    // What has no name goes by its place, from 0.
    const rows = items.map((item, at) => ({ at: at + 1, name: nameOf(item) ?? String(at), item }));
    const names = items.map(nameOf).filter((name) => name !== undefined);
    const view = table({
      caption: `${kind.title}, in their order`,
      empty: "There is none.",
      key: (row) => row.name,
      columns: [
        { label: "Position", number: true, text: (row) => String(row.at) },
        { label: "Name", text: (row) => row.name },
        { label: "What it says", mono: true, text: (row) => saying(row.item) },
        { label: "Actions", actions: true, sign: (row) => row.name, node: (row) => actions(kind, row, names) },
      ],
    });
    view.update(rows);
    const add = h("button", { type: "button", class: "primary", onclick: () => create(kind, names, items.length).catch(failed) }, "Add");
    return card(kind.title, add, view.element);
  }

  function actions(kind, row, names) {
    const isWhole = typeof row.item === "string";
    const button = (text, does, style) => h("button", { type: "button", class: `small ${style}`, "aria-label": `${text} ${row.name}`, onclick: () => does(kind, row.name, names).catch(failed) }, text);
    return h("div", { class: "row" }, isWhole ? null : button("Edit", edit, ""), button("Delete", remove, "danger"));
  }

  async function create(kind, names, next) {
    const name = h("input", { type: "text", required: true, autocomplete: "off", spellcheck: "false" });
    name.value = kind.isNamed ? "" : String(next);
    const source = textarea("{}");
    const isNetwork = kind.steps.at(-1) === "networks";
    const position = places(names, [["last", "last"], ["first", "first"]]);
    await change({
      title: `Add to ${kind.title}`,
      fields: [
        kind.isNamed ? field("Name", name, kind.steps[0] === "route" || isNetwork ? "the network, as 10.0.0.0/8" : undefined) : null,
        isNetwork ? null : field("What it says (JSON)", source, kind.isNamed ? "without its name" : undefined),
        kind.isNamed ? field("Position", position) : null,
      ],
      yes: "Add",
      send: (asked) => {
        const query = { ...asked, position: kind.isNamed ? position.value : undefined };
        return request("PUT", path("config", ...kind.steps, name.value.trim()), { body: parsed(source), absent: true, query });
      },
    });
  }

  /** Path, value and ETag of an item, or of the section itself. */
  async function read(kind, name) {
    const to = path("config", ...kind.steps, ...(name === null ? [] : [name]));
    try {
      return { to, ...(await request("GET", to, { query: query() })) };
    } catch (error) {
      // A section that may be absent, and is.
      if (error.status === 404 && name === null) return { to, data: {}, etag: null };
      throw error;
    }
  }

  async function edit(kind, name, names) {
    const { to, data, etag } = await read(kind, name);
    const source = textarea(JSON.stringify(data, null, 2));
    const position = places(names.filter((other) => other !== name), [["", "where it is"], ["first", "first"], ["last", "last"]]);
    await change({
      title: `Edit ${name ?? kind.title}`,
      fields: [field("What it says (JSON)", source), name !== null && kind.isNamed ? field("Position", position) : null],
      yes: "Change",
      send: (asked) => request("PUT", to, { body: parsed(source), match: etag, query: { ...asked, position: position.value } }),
    });
  }

  async function remove(kind, name) {
    const { to, data, etag } = await read(kind, name);
    await change({
      title: `Delete ${name ?? kind.title}?`,
      fields: h("p", {}, h("code", {}, saying(data))),
      yes: "Delete",
      danger: true,
      send: (asked) => request("DELETE", to, { match: etag, query: asked }),
    });
  }

  async function change({ title, fields, yes, danger, send }) {
    const how = terms({ start: true });
    const asked = () => (isCandidate() ? query() : how.query());
    const answer = await ask({
      title,
      fields: [fields, isCandidate() ? null : how.fields],
      yes,
      danger,
      submit: async () => (await send(asked())).data,
      check: async () => result((await send({ ...asked(), dry_run: true })).data, true),
    });
    if (!answer) return;
    done(said(answer));
    announce(said(answer));
    look();
    refresh();
    await load();
    refocus(which);
  }

  load();
  return () => { gone = true; };
}

/** Lists and sections by the API's paths; where a path goes through an item, one for each item. */
function expand(resources, whole) {
  const all = [...resources.keys()];
  // Networks of a list have paths of their own, and all of them together are but a part of the list.
  const above = all.filter((one) => one.endsWith("}")).map((one) => one.slice(0, one.lastIndexOf("/")));
  return [...new Set([...all.filter((one) => !one.endsWith("}")), ...above])].flatMap((resource) => {
    const item = all.find((other) => other.startsWith(`${resource}/{`) && other.endsWith("}"));
    const steps = resource.split("/").slice(2);
    const at = steps.findIndex((step) => step.startsWith("{"));
    const ways = at < 0 ? [steps] : (whole[steps[at - 1]] ?? []).map((one) => steps.with(at, nameOf(one)));
    const kind = { isList: item !== undefined, isNamed: !item?.endsWith("{index}"), canGo: "delete" in (resources.get(resource) ?? {}) };
    return ways.map((way) => ({ ...kind, steps: way, title: way.join(" / ") }));
  });
}

function saying(item) {
  if (typeof item === "string") return "";
  const { name, ...rest } = item;
  return Object.entries(rest).map(([key, value]) => `${key} = ${JSON.stringify(value)}`).join(", ");
}

function textarea(text) {
  const area = h("textarea", { class: "source short", spellcheck: "false", autocomplete: "off", autocapitalize: "off" });
  area.value = text;
  return area;
}

function parsed(area) {
  try {
    return JSON.parse(area.value);
  } catch (error) {
    throw new Problem(0, { title: "This is no JSON", detail: error.message });
  }
}

function places(names, first) {
  return select([...first, ...names.flatMap((name) => [[`before:${name}`, `before ${name}`], [`after:${name}`, `after ${name}`]])]);
}
