// Logging in, where the appliance asks for it.

import { Problem, request, token } from "./api.js";
import { field, fill, h, problem } from "./dom.js";

/** Shows the form in `main`; `after` is called when somebody has logged in. */
export function login(main, after) {
  const name = h("input", { type: "text", name: "username", autocomplete: "username", required: true, autocapitalize: "off", spellcheck: "false" });
  const password = h("input", { type: "password", name: "password", autocomplete: "current-password", required: true });
  const message = h("div");
  const button = h("button", { type: "submit", class: "primary" }, "Log in");
  const form = h("form", { class: "card login", onsubmit: submit },
    h("h1", { tabindex: "-1" }, "Log in"), field("User", name), field("Password", password), message, button);
  fill(main, form);
  name.focus();

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    try {
      const { data } = await request("POST", "/login", { body: { user: name.value, password: password.value }, quiet: true });
      if (!data.token) throw new Problem(200, { title: "The appliance gave no token" });
      token.set(data.token);
      after();
    } catch (error) {
      password.value = "";
      fill(message, problem(error));
      password.focus();
    } finally {
      button.disabled = false;
    }
  }
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
