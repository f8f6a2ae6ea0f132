// Questions that stop everything else. The browser keeps the focus inside and gives it back.

import { fill, h, problem, unique } from "./dom.js";

/** A dialog that `build(dialog, close)` fills. Resolves to what it is closed with; to null by Escape. */
function modal(title, build) {
  return new Promise((resolve) => {
    const heading = unique("dialog");
    const dialog = h("dialog", { "aria-labelledby": heading }, h("h2", { id: heading }, title));
    let answer = null;
    const close = (with_) => {
      answer = with_;
      dialog.close();
    };
    // What was written or shown goes with it.
    dialog.addEventListener("close", () => {
      fill(dialog);
      dialog.remove();
      resolve(answer);
    });
    const first = build(dialog, close);
    document.body.append(dialog);
    dialog.showModal();
    first?.focus();
  });
}

/**
 * Asks, and resolves to whether the answer was yes.
 * `question`: `title`, `text` or `body` (nodes), `yes` (the button), `danger`.
 */
export async function confirm({ title, text, body, yes, danger = false }) {
  const answer = await modal(title, (dialog, close) => {
    const no = h("button", { type: "button", onclick: () => close(false) }, "Cancel");
    const go = h("button", { type: "button", class: danger ? "danger" : "primary", onclick: () => close(true) }, yes);
    dialog.append(
      ...(text ? [h("p", {}, text)] : []),
      ...(body ? [body].flat(Infinity) : []),
      h("div", { class: "row end" }, no, go),
    );
    // What can do harm is not what Enter does.
    return danger ? no : go;
  });
  return answer === true;
}

/**
 * A form. `submit(form)` does what it is for; what that throws is shown, and the form stays. Resolves to
 * what `submit` gives, to null if nothing was done.
 * `question`: `title`, `text`, `fields` (nodes), `yes` (the button), `danger`; `check()`, if there is a button
 * for it, gives nodes that say what would come of it.
 */
export function ask({ title, text, fields, yes, danger = false, submit, check }) {
  return modal(title, (dialog, close) => {
    const message = h("div", { "aria-live": "polite" });
    const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, yes);
    const no = h("button", { type: "button", onclick: () => close(null) }, "Cancel");
    let busy = false;
    const run = async (work) => {
      if (busy) return;
      busy = true;
      go.disabled = true;
      fill(message);
      try {
        await work();
      } catch (error) {
        fill(message, problem(error));
      } finally {
        busy = false;
        go.disabled = false;
      }
    };
    const form = h("form", {
      class: "stack",
      onsubmit: (event) => {
        event.preventDefault();
        run(async () => close((await submit(form)) ?? true));
      },
    },
    text ? h("p", {}, text) : null, fields, message,
    h("div", { class: "row end" }, no,
      check ? h("button", { type: "button", onclick: () => { if (form.reportValidity()) run(async () => fill(message, await check())); } }, "Check") : null,
      go));
    // It is not known before the answer whether it was done.
    dialog.addEventListener("cancel", (event) => { if (busy) event.preventDefault(); });
    dialog.append(form);
    return danger ? no : form.querySelector("input, select, textarea");
  });
}

/** Shows a secret this once, to be copied. */
export function reveal({ title, text, label, secret }) {
  return modal(title, (dialog, close) => {
    const shown = h("input", { type: "text", class: "mono secret", readonly: true, id: unique("secret"), autocomplete: "off", spellcheck: "false", onfocus: () => shown.select() });
    shown.value = secret;
    const said = h("span", { class: "soft", role: "status" });
    const copy = h("button", {
      type: "button",
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(shown.value);
          said.textContent = "Copied.";
        } catch {
          shown.select();
          said.textContent = "The browser does not allow it: copy what is selected.";
        }
      },
    }, "Copy");
    const end = h("button", { type: "button", class: "primary", onclick: () => { shown.value = ""; close(true); } }, "Close");
    dialog.append(h("p", {}, text), h("label", { for: shown.id }, label), shown, h("div", { class: "row end" }, said, copy, end));
    return shown;
  });
}
