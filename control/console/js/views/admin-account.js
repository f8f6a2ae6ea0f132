// One's own account: who one is, and another password.

import { announce, done } from "../announce.js";
import { card, field, fill, h, problem } from "../dom.js";
import { newPassword, secret } from "../form.js";
import { changePassword } from "../login.js";
import { token } from "../api.js";
import { who } from "../who.js";

export function account(panel) {
  const { name, role } = who();
  fill(panel, h("div", { class: "stack" },
    card("Who you are", null, h("p", {}, "You are ", h("strong", {}, name), `, and your role is ${role}.`)),
    password(name)));
}

function password(name) {
  const old = secret("current-password");
  const wanted = newPassword("New password");
  const message = h("div");
  const button = h("button", { type: "submit", class: "primary" }, "Change password");
  const form = h("form", {
    "aria-label": "Change your password",
    onsubmit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      fill(message);
      try {
        await changePassword(name, old.value, wanted.value());
        done("Your password is another one now.");
        announce("Your password is another one now.");
        wanted.clear();
      } catch (error) {
        fill(message, problem(error));
      } finally {
        old.value = "";
        button.disabled = false;
      }
    },
  },
  h("p", { class: "soft" }, "All of your logins end, but this one. Tokens stay."),
  h("div", { class: "fields" }, field("Password until now", old), wanted.fields),
  message,
  h("div", { class: "row end" }, button));
  // A client certificate is no login, and stands for the user without a password.
  return card("Your password", null, token.get() === null ? h("p", { class: "note" }, "A certificate stands for you here. After a change you are logged in by the password.") : null, form);
}
