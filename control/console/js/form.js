// Controls of forms that ask the API something.

import { get } from "./api.js";
import { field, h, select } from "./dom.js";

/** The values of a form's controls, numbers as numbers, without what is empty. */
export function values(form) {
  const all = [...new FormData(form)].filter(([, value]) => value !== "");
  return Object.fromEntries(all.map(([name, value]) => {
    const isNumber = form.elements[name].inputMode === "numeric";
    return [name, isNumber ? Number(value) : value];
  }));
}

/** A labelled field for text. */
export function text(name, label, placeholder, hint) {
  const control = h("input", { type: "text", name, placeholder, autocomplete: "off", spellcheck: "false" });
  return field(label, control, hint);
}

/** The same for a number. */
export function number(name, label, placeholder) {
  return field(label, h("input", { type: "text", inputmode: "numeric", name, placeholder, autocomplete: "off" }));
}

/** A list of the appliance's ports, behind other options. */
export function ports(name, options = []) {
  const control = select(options, { name });
  get("/status").catch(() => ({ ports: [] })).then((status) => {
    for (const port of status.ports) control.append(h("option", { value: port.name }, port.name));
  });
  return control;
}
