// Tokens: what programs show in place of a login.

import { announce, done, failed } from "../announce.js";
import { pages, path, request } from "../api.js";
import { ask, confirm, reveal } from "../dialog.js";
import { card, field, fill, h, problem, refocus, select } from "../dom.js";
import { moment } from "../format.js";
import { table } from "../table.js";
import { roles, who } from "../who.js";

const DAY = 86_400;

export function tokens(panel) {
  let gone = false;
  const message = h("div");
  const add = h("button", { type: "button", class: "primary", onclick: make }, "Make a token");
  const view = table({
    caption: "Tokens",
    empty: "There is no token.",
    key: (row) => row.id,
    columns: [
      { label: "Name", text: (row) => row.name, sort: (row) => row.name },
      { label: "User", text: (row) => row.user, sort: (row) => row.user },
      { label: "Role", text: (row) => row.role, sort: (row) => row.role },
      { label: "Scope", text: (row) => (row.scope ?? ["all of the role"]).join(", ") },
      { label: "Made", text: (row) => moment(row.created), sort: (row) => row.created },
      { label: "Ends", text: (row) => moment(row.expires), sort: (row) => row.expires },
      { label: "Id", mono: true, text: (row) => row.id },
      { label: "Actions", actions: true, node: revokeButton, sign: (row) => row.id },
    ],
  });
  fill(panel, card("Tokens", add, message, view.element));

  function revokeButton(row) {
    return h("button", { type: "button", class: "small danger", "aria-label": `Revoke token ${row.name} of ${row.user}`, onclick: () => revoke(row) }, "Revoke");
  }

  async function load() {
    try {
      const found = (await pages("/tokens", "tokens")).tokens;
      if (gone) return;
      view.update(found);
      fill(message);
    } catch (error) {
      if (!gone) fill(message, problem(error));
    }
  }

  async function make() {
    const { users } = await pages("/users", "users").catch(() => ({ users: [] }));
    const names = users.length > 0 ? users.map((user) => user.name) : [who().name];
    const name = h("input", { type: "text", required: true, maxlength: "64", autocomplete: "off", spellcheck: "false" });
    const user = select(names.map((one) => [one, one]));
    user.value = who().name;
    const role = select(roles);
    const scope = h("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "config:write sessions:read" });
    const days = h("input", { type: "number", min: "1", max: "3650", value: "90", required: true, inputmode: "numeric" });
    const made = await ask({
      title: "Make a token",
      text: "It has no more rights than its user, and ends with the user.",
      fields: [field("Name", name, "what it is for"), field("User", user), field("Role", role), field("Scope", scope, "areas that it is held to, each to read or to write; nothing: all of the role"), field("Days", days, "until it ends")],
      yes: "Make",
      submit: async () => {
        const body = { name: name.value, user: user.value, role: role.value, seconds: Math.round(Number(days.value) * DAY) };
        const areas = scope.value.split(/[\s,]+/).filter(Boolean);
        if (areas.length > 0) body.scope = areas;
        return (await request("POST", "/tokens", { body })).data;
      },
    });
    if (!made) return;
    load();
    announce("The token was made.");
    await reveal({
      title: `Token ${made.name}`,
      text: "Copy it now: it is not shown again. Whoever has it may do what it may.",
      label: "Token",
      secret: made.token,
    });
  }

  async function revoke(row) {
    const text = "Programs that use it are refused from now on.";
    if (!(await confirm({ title: `Revoke token ${row.name} of ${row.user}?`, text, yes: "Revoke", danger: true }))) return;
    try {
      await request("DELETE", path("tokens", row.id));
      done(`Token ${row.name} is revoked.`);
      announce(`Token ${row.name} is revoked.`);
      await load();
      refocus(add);
    } catch (error) {
      failed(error);
    }
  }

  load();
  return () => { gone = true; };
}
