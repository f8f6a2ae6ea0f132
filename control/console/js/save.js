// Files for people to keep.

import { h } from "./dom.js";

/** Has the browser save it under a name. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
