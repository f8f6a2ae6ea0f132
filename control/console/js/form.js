// Controls of forms that ask the API something.

import { Problem, get } from "./api.js";
import { field, h, select, unique } from "./dom.js";

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

/**
 * Two fields for a new password. `value()` is what stands in both, and throws a `Problem` if that is not the
 * same; `clear()` empties them.
 */
export function newPassword(label) {
  const [first, again] = [secret("new-password"), secret("new-password")];
  return {
    fields: [field(label, first, "twelve characters or more"), field("The same again", again)],
    focus: () => first.focus(),
    clear() {
      first.value = "";
      again.value = "";
    },
    value() {
      if (first.value !== again.value) throw new Problem(0, { title: "The two are not the same" });
      return first.value;
    },
  };
}

/** An input for a password. */
export function secret(autocomplete) {
  return h("input", { type: "password", autocomplete, required: true });
}

/** A checkbox: the change is for the next start, and what is in use stays. It goes with no `confirm`. */
export function atStart(confirm) {
  const control = h("input", { type: "checkbox", id: unique("field"), onchange: () => { confirm.disabled = control.checked; } });
  const label = h("label", { for: control.id }, "Not now: from the next start on");
  return {
    element: h("div", { class: "check" }, control, label),
    wanted: () => control.checked,
    clear() {
      control.checked = false;
      confirm.disabled = false;
    },
  };
}

/**
 * How a change of the configuration is made: why, for how long, only in one's candidate, or from the next
 * start on. `seconds` stand in the form at first. `query()` is what the API takes.
 */
export function terms({ seconds = 0, candidate = false, start = false } = {}) {
  const comment = h("input", { type: "text", maxlength: "1000", autocomplete: "off" });
  const confirm = h("input", { type: "number", min: "0", max: "86400", value: String(seconds), inputmode: "numeric" });
  const where = h("input", { type: "checkbox", id: unique("field"), onchange: () => { confirm.disabled = where.checked; } });
  const later = atStart(confirm);
  return {
    fields: [
      h("div", { class: "fields" },
        field("Comment", comment, "kept in the history"),
        field("Confirm within", confirm, "seconds, or it is undone; 0: for good")),
      candidate ? h("div", { class: "check" }, where, h("label", { for: where.id }, "Only in my candidate, to be committed later")) : null,
      start ? later.element : null,
    ],
    candidate: () => where.checked,
    clear() {
      comment.value = "";
      later.clear();
    },
    query() {
      const limit = Math.floor(Number(confirm.value));
      return {
        comment: where.checked ? undefined : comment.value.trim(),
        confirm_seconds: limit > 0 && !confirm.disabled ? limit : undefined,
        candidate: where.checked || undefined,
        at_restart: later.wanted() || undefined,
      };
    },
  };
}
