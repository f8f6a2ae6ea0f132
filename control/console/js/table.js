// Tables that are filled again and again without losing focus, selection or order.

import { fill, h, setText } from "./dom.js";

/**
 * A table. `columns`: `label`, `number` (to the right), `mono`, `actions` (stays in sight), `sort` (a row's value to sort by), and
 * one of
 * - `text(row)`: text;
 * - `badge(row)`: `[text, kind]`;
 * - `node(row)`, with `sign(row)`: anything; it is made again only when its sign is another one.
 *
 * `key(row)` tells rows apart. `update(rows)` shows rows.
 */
export function table({ caption, columns, key, empty = "Nothing." }) {
  const body = h("tbody");
  const known = new Map();
  let rows = [];
  let order = null;

  const heads = columns.map((column) => {
    const kind = className(column);
    if (!column.sort) return h("th", { scope: "col", class: kind }, column.label);
    const button = h("button", { type: "button", class: "quiet small", onclick: () => sortBy(column) }, column.label);
    return h("th", { scope: "col", class: kind, "aria-sort": "none" }, button);
  });
  const element = h("div", { class: "scroll" },
    h("table", {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, heads)),
      body));

  function sortBy(column) {
    const descending = order?.column === column && !order.descending;
    order = { column, descending };
    columns.forEach((other, at) => {
      if (!other.sort) return;
      const how = descending ? "descending" : "ascending";
      heads[at].setAttribute("aria-sort", other === column ? how : "none");
    });
    update(rows);
  }

  function sorted() {
    if (!order) return rows;
    const { column, descending } = order;
    const compare = (a, b) => {
      const [x, y] = [column.sort(a), column.sort(b)];
      const by = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
      return descending ? -by : by;
    };
    return [...rows].sort(compare);
  }

  function refresh(cell, column, row) {
    if (column.text) {
      setText(cell, column.text(row));
    } else if (column.badge) {
      const [text, kind] = column.badge(row);
      const badge = cell.firstChild ?? cell.appendChild(h("span"));
      badge.className = `badge ${kind}`;
      setText(badge, text);
    } else {
      const sign = column.sign(row);
      if (cell.dataset.sign === sign) return;
      const hadFocus = cell.contains(document.activeElement);
      cell.dataset.sign = sign;
      fill(cell, column.node(row));
      if (hadFocus) cell.querySelector("button, a, input")?.focus();
    }
  }

  function update(next) {
    rows = next;
    if (rows.length === 0) {
      known.clear();
      fill(body, h("tr", {}, h("td", { class: "empty", colspan: columns.length }, empty)));
      return;
    }
    const now = new Set(rows.map(key));
    for (const [name, line] of known) {
      if (!now.has(name)) {
        line.remove();
        known.delete(name);
      }
    }
    body.querySelector("td.empty")?.parentElement.remove();
    sorted().forEach((row, at) => {
      const name = key(row);
      let line = known.get(name);
      if (!line) {
        line = h("tr", {}, columns.map((column) => h("td", { class: className(column) })));
        known.set(name, line);
      }
      columns.forEach((column, i) => refresh(line.children[i], column, row));
      if (body.children[at] !== line) body.insertBefore(line, body.children[at] ?? null);
    });
  }

  update([]);
  return { element, update };
}

function className(column) {
  return ["number", "mono", "actions"].find((kind) => column[kind]) ?? null;
}
