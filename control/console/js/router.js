// Which view is shown, by the part of the address behind `#`: `#/sessions?server=web/web1`.

/** Where a link to a view leads. */
export function link(view, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

/** The view and the parameters of an address. */
export function parse(hash) {
  const [name, query] = hash.replace(/^#\/?/, "").split("?");
  return { name, parameters: Object.fromEntries(new URLSearchParams(query ?? "")) };
}
