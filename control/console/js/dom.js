// Making elements. Text only ever becomes text: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("p", { class: "soft", onclick: f }, "text", child)`. */
export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** The same within an SVG. */
export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), value);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  return fill(element, ...children);
}

/** Replaces what is in an element. Lists are taken apart, and what is null is left out. */
export function fill(element, ...children) {
  const nodes = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  element.replaceChildren(...nodes);
  return element;
}

/** Sets text, where it is another one: selections and screen readers are left in peace. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let last = 0;

/** An id that no other element has. */
export function unique(name) {
  last += 1;
  return `${name}-${last}`;
}

/** A labelled form control. */
export function field(label, control, hint) {
  if (!control.id) control.id = unique("field");
  const children = [h("label", { for: control.id }, label), control];
  if (hint) {
    const id = `${control.id}-hint`;
    control.setAttribute("aria-describedby", id);
    children.push(h("small", { id }, hint));
  }
  return h("div", { class: "field" }, children);
}

/** A `<select>` of `[value, text]` pairs. */
export function select(options, attributes = {}) {
  return h("select", attributes, options.map(([value, text]) => h("option", { value }, text)));
}

/** Gives the focus to an element if what had it is gone. */
export function refocus(element) {
  if (document.activeElement === document.body) element.focus();
}

const labelOf = (element) => element.getAttribute("aria-label") ?? element.textContent;

/** What has the focus in `place`, to be found again by `refind`; null if nothing has. */
export function focused(place) {
  const one = document.activeElement;
  return place.contains(one) ? { tag: one.tagName, label: labelOf(one) } : null;
}

/**
 * Gives the focus to what had it in `place` before everything in there was made anew: what is labelled so, or
 * else the first that is about the same thing, which is the last word of labels.
 */
export function refind(place, had) {
  if (!had || document.activeElement !== document.body) return;
  const all = [...place.querySelectorAll(had.tag)];
  const thing = (label) => label.split(" ").at(-1);
  const same = all.find((one) => labelOf(one) === had.label);
  (same ?? all.find((one) => thing(labelOf(one)) === thing(had.label)))?.focus();
}

/** The head of a view: its title, which gets the focus, and what stands beside it. */
export function head(title, ...beside) {
  return h("div", { class: "head" }, h("h1", { tabindex: "-1" }, title), h("div", { class: "row" }, beside));
}

/** A card with a title. */
export function card(title, beside, ...children) {
  const id = unique("card");
  const top = h("div", { class: "head" }, h("h2", { id }, title), h("div", { class: "row" }, beside));
  return h("section", { class: "card", "aria-labelledby": id }, top, children);
}

/** What the API says is wrong, as people read it. */
export function problem(error) {
  const faults = (error.errors ?? []).map((fault) => {
    const where = [fault.path || fault.parameter, fault.line ? `line ${fault.line}` : ""].filter(Boolean).join(", ");
    const text = [fault.detail, fault.remedy].filter(Boolean).join("; ");
    return h("li", {}, where ? h("code", {}, where) : null, where ? ": " : "", text);
  });
  return h("div", { class: "problem", role: "alert" },
    h("strong", {}, error.title ?? "Something went wrong"),
    faults.length === 0 && error.detail ? h("p", {}, error.detail) : null,
    faults.length > 0 ? h("ul", {}, faults) : null);
}
