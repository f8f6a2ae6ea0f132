// Logging in, where the appliance asks for it.

import { hold, request, token } from "./api.js";
import { field, fill, h, problem } from "./dom.js";
import { newPassword, secret } from "./form.js";

/** Shows the form in `main`; `after` is called when somebody has logged in. */
export function login(main, after) {
  const name = h("input", { type: "text", name: "username", autocomplete: "username", required: true, autocapitalize: "off", spellcheck: "false" });
  const password = secret("current-password");
  const submit = async () => {
    try {
      const user = await enter(name.value, password.value);
      if (user.must_change_password) change(main, name.value, password.value, after);
      else after();
    } catch (error) {
      password.value = "";
      throw error;
    }
  };
  form(main, "Log in", [field("User", name), field("Password", password)], submit);
  name.focus();
}

/** The first password, and one that somebody else has set, are to be changed before anything else. */
function change(main, name, old, after) {
  const password = newPassword("New password");
  const submit = async () => {
    await changePassword(name, old, password.value());
    after();
  };
  form(main, "Choose a new password", password.fields, submit);
  password.focus();
}

/** Changes one's own password, which ends all logins, and logs in again. */
export function changePassword(name, old, password) {
  return hold(async () => {
    await request("PUT", "/password", { body: { old, new: password }, quiet: true });
    await enter(name, password);
  });
}

async function enter(user, password) {
  // One that has ended would have this request refused as well.
  token.clear();
  const { data } = await request("POST", "/login", { body: { user, password }, quiet: true });
  token.set(data.token);
  return data;
}

function form(main, title, fields, submit) {
  const message = h("div");
  const button = h("button", { type: "submit", class: "primary" }, title);
  fill(main, h("form", {
    class: "card login",
    onsubmit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      fill(message);
      try {
        await submit();
      } catch (error) {
        fill(message, problem(error));
      } finally {
        button.disabled = false;
      }
    },
  }, h("h1", { tabindex: "-1" }, title), fields, message, button));
}

/** Has the appliance forget the token, and forgets it here. */
export async function logout() {
  try {
    await request("POST", "/logout", { quiet: true });
  } catch {
    // It ends by itself.
  }
  token.clear();
}
