// Who uses the console, and what their role allows.

import { getIfThere } from "./api.js";

const ROLES = ["viewer", "operator", "admin"];

let me = null;

/** Asks the appliance who this is. Where it cannot say, what was known is. */
export async function ask() {
  me = await getIfThere("/whoami").catch(() => me);
  return me;
}

/** Whoever it was is gone. */
export function forget() {
  me = null;
}

/** `name`, `role` and `users`: whether anybody is asked at all. Null if it is not known. */
export function who() {
  return me;
}

/** Whether a role's rights are there. Where nothing is known all is offered: it is the appliance that refuses. */
export function may(role) {
  return me === null || ROLES.indexOf(me.role) >= ROLES.indexOf(role);
}

/** The roles as `[value, text]` pairs. */
export const roles = [
  ["viewer", "viewer: reads"],
  ["operator", "operator: also changes the configuration"],
  ["admin", "admin: also users, tokens and certificates"],
];
