// Telling people what happened: screen readers by a live region, everybody by a message in a corner.

import { h } from "./dom.js";

/** Says something to screen readers when they have finished their sentence. */
export function announce(text) {
  const region = document.getElementById("announce");
  region.textContent = "";
  // A change is what is read out, also if the text is the same as before.
  requestAnimationFrame(() => { region.textContent = text; });
}

function message(kind, ...children) {
  const box = h("div", { class: kind }, h("div", {}, children));
  const close = h("button", { type: "button", class: "quiet small", "aria-label": "Dismiss", onclick: () => box.remove() }, "×");
  box.append(close);
  document.getElementById("toasts").replaceChildren(box);
  return box;
}

/** Something was done. Goes away by itself. */
export function done(text) {
  const box = message("done", text);
  setTimeout(() => box.remove(), 6000);
}

/** Something failed. Stays until it is dismissed. */
export function failed(error) {
  const faults = (error.errors ?? []).map((fault) => [fault.path || fault.parameter, fault.detail].filter(Boolean).join(": "));
  const detail = faults.length > 0 ? faults.join("; ") : error.detail;
  message("problem", h("strong", {}, error.title ?? String(error)), detail ? h("p", {}, detail) : null);
}
