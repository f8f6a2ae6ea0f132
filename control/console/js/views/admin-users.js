// Users: who may log in, and what they may do.

import { announce, done, failed } from "../announce.js";
import { Problem, pages, path, request } from "../api.js";
import { ask, confirm } from "../dialog.js";
import { card, field, fill, h, problem, refocus, select } from "../dom.js";
import { newPassword } from "../form.js";
import { table } from "../table.js";
import { roles, who } from "../who.js";

export function users(panel) {
  let known = [];
  let gone = false;
  const message = h("div");
  const add = h("button", { type: "button", class: "primary", onclick: make }, "Add user");
  const view = table({
    caption: "Users",
    key: (row) => row.name,
    columns: [
      { label: "Name", text: (row) => (isMe(row) ? `${row.name} (you)` : row.name), sort: (row) => row.name },
      { label: "Role", text: (row) => row.role, sort: (row) => row.role },
      { label: "Password", badge: (row) => (row.must_change_password ? ["to be changed at the login", "warn"] : ["", ""]) },
      { label: "Actions", actions: true, node: actions, sign: (row) => row.role },
    ],
  });
  fill(panel, card("Users", add, message, view.element));

  function actions(row) {
    const button = (text, name, does, kind) => h("button", { type: "button", class: `small ${kind}`, "aria-label": `${name} ${row.name}`, onclick: () => does(row) }, text);
    return h("div", { class: "row" },
      button("Role", "Change the role of", changeRole, ""),
      // One's own is changed by whoever knows the old one.
      isMe(row) ? null : button("Password", "Set a new password for", changePassword, ""),
      button("Delete", "Delete", remove, "danger"));
  }

  async function load() {
    try {
      const found = (await pages("/users", "users")).users;
      if (gone) return;
      known = found;
      view.update(known);
      fill(message);
    } catch (error) {
      if (!gone) fill(message, problem(error));
    }
  }

  async function told(text) {
    done(text);
    announce(text);
    await load();
    refocus(add);
  }

  async function make() {
    const name = h("input", { type: "text", required: true, maxlength: "64", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
    const role = select(roles);
    const password = newPassword("Password");
    const made = await ask({
      title: "Add a user",
      text: "The password is good for the first login, which asks for another one.",
      fields: [field("Name", name, "letters, digits, '-', '_' and '.'"), field("Role", role), password.fields],
      yes: "Add",
      submit: async () => {
        const body = { role: role.value, password: password.value() };
        const taken = known.some((user) => user.name === name.value);
        if (taken) throw new Problem(409, { title: `There is a user ${name.value} already` });
        await request("PUT", path("users", name.value), { body, absent: true });
        return name.value;
      },
    });
    if (made) await told(`${made} may log in now.`);
  }

  async function changeRole(row) {
    const role = select(roles);
    role.value = row.role;
    const changed = await ask({
      title: `Change the role of ${row.name}`,
      text: "Their tokens have no more rights than the role either.",
      fields: field("Role", role),
      yes: "Change",
      submit: () => put(row, { role: role.value }),
    });
    if (!changed) return;
    if (isMe(row)) {
      // All that is shown depends on it.
      location.reload();
      return;
    }
    await told(`${row.name} is ${role.value} now.`);
  }

  async function changePassword(row) {
    const password = newPassword("New password");
    const changed = await ask({
      title: `Set a new password for ${row.name}`,
      text: "Their logins end; the next one asks for another password. Tokens stay.",
      fields: password.fields,
      yes: "Set",
      submit: () => put(row, { role: row.role, password: password.value() }),
    });
    if (changed) await told(`${row.name} has a new password.`);
  }

  async function put(row, body) {
    const to = path("users", row.name);
    const { etag, data } = await request("GET", to);
    if (data.role !== row.role) {
      await load();
      throw new Problem(412, { title: "Somebody else was faster", detail: `${row.name} is ${data.role} now` });
    }
    await request("PUT", to, { body, match: etag });
  }

  async function remove(row) {
    const text = isMe(row) ? "That is you: you are logged out, and your tokens end." : "Their logins and tokens end.";
    if (!(await confirm({ title: `Delete ${row.name}?`, text, yes: "Delete", danger: true }))) return;
    try {
      await request("DELETE", path("users", row.name));
      await told(`${row.name} is no user any more.`);
    } catch (error) {
      failed(error);
    }
  }

  load();
  return () => { gone = true; };
}

function isMe(row) {
  return row.name === who()?.name;
}
