// Questions that stop everything else. The browser keeps the focus inside and gives it back.

import { h, unique } from "./dom.js";

/**
 * Asks, and resolves to whether the answer was yes.
 * `question`: `title`, `text` or `body` (nodes), `yes` (the button), `danger`.
 */
export function confirm({ title, text, body, yes, danger = false }) {
  return new Promise((resolve) => {
    const heading = unique("dialog");
    const dialog = h("dialog", { "aria-labelledby": heading });
    const close = (answer) => {
      dialog.close();
      dialog.remove();
      resolve(answer);
    };
    const no = h("button", { type: "button", onclick: () => close(false) }, "Cancel");
    const go = h("button", { type: "button", class: danger ? "danger" : "primary", onclick: () => close(true) }, yes);
    dialog.append(
      h("h2", { id: heading }, title),
      ...(text ? [h("p", {}, text)] : []),
      ...(body ? [body].flat() : []),
      h("div", { class: "row end" }, no, go),
    );
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      close(false);
    });
    document.body.append(dialog);
    dialog.showModal();
    // What can do harm is not what Enter does.
    (danger ? no : go).focus();
  });
}
