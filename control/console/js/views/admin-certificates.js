// Certificates: the appliance's own, and those that its clients may show.

import { announce, done } from "../announce.js";
import { Problem, get, request } from "../api.js";
import { confirm } from "../dialog.js";
import { card, field, fill, h, problem, refocus, unique } from "../dom.js";
import { moment } from "../format.js";
import { save } from "../save.js";
import { certificates as read, parts } from "../x509.js";

/** Of a list of revoked certificates. */
const LIST = /^X509 CRL$/;
const MONTH_MS = 30 * 86_400_000;

export function certificates(panel) {
  const stack = h("div", { class: "stack" }, h("p", { class: "soft" }, "Reading the certificate…"));
  let gone = false;
  fill(panel, stack);

  async function load() {
    try {
      const [own, { clients }] = await Promise.all([get("/tls"), get("/tls/clients")]);
      if (!gone) fill(stack, ownCard(own), clientCard(clients ?? null));
    } catch (error) {
      if (gone) return;
      const isPlain = error.type.endsWith(":no-tls");
      fill(stack, isPlain ? h("p", { class: "note" }, "The API is not under TLS, and has no certificate: ", h("code", {}, "tls"), " of ", h("code", {}, "[api]"), " says so.") : problem(error));
    }
  }
  load();
  return () => { gone = true; };
}

function ownCard(own) {
  const facts = h("div");
  const upload = files("Certificate", "PEM, with those that vouch for it");
  const key = files("Private key", "PEM; none if it is in the same file");
  const message = h("div", { role: "status" });
  const button = h("button", { type: "submit", class: "primary" }, "Replace the certificate");
  const keep = h("button", { type: "button", onclick: () => save(new Blob([own.certificate], { type: "application/x-pem-file" }), "sluice.pem") }, "Download the certificate");
  const form = h("form", { "aria-label": "Replace the certificate", onsubmit: replace },
    h("div", { class: "row top" }, upload.element, key.element), message, h("div", { class: "row end" }, button));
  fill(facts, about(own.certificate, own.sha256));

  async function replace(event) {
    event.preventDefault();
    fill(message);
    button.disabled = true;
    try {
      const [text, other] = [await upload.text(), await key.text()];
      const chain = parts(text, /^CERTIFICATE$/).join("\n");
      if (!chain) throw new Problem(0, { title: "There is no certificate in this file", detail: "It has to be in PEM form." });
      const secret = parts(other || text, /^((RSA|EC) )?PRIVATE KEY$/);
      if (secret.length === 0) throw new Problem(0, { title: "There is no private key", detail: "It has to be in PEM form, and without a passphrase." });
      const question = {
        title: "Use this certificate?",
        body: [about(chain), h("p", {}, "All connections from now on meet it. A browser that does not trust it asks whether it shall, or refuses: reload the page then.")],
        yes: "Use it",
        danger: true,
      };
      if (!(await confirm(question))) return;
      own = (await request("PUT", "/tls", { body: { certificate: chain, key: secret[0] } })).data;
      fill(facts, about(own.certificate, own.sha256));
      done("The certificate was replaced.");
      announce("The certificate was replaced.");
    } catch (error) {
      fill(message, problem(error));
    } finally {
      // Also the key goes.
      form.reset();
      button.disabled = false;
      refocus(button);
    }
  }

  return card("Certificate of this appliance", keep, facts, h("h3", {}, "Another one"), form);
}

function clientCard(clients) {
  const state = h("div");
  const upload = files("Authorities", "PEM: who vouches for clients");
  const revoked = files("Revocation lists", "PEM; none: those of before, as long as the authorities are");
  const required = h("input", { type: "checkbox", id: unique("field") });
  const message = h("div", { role: "status" });
  const none = h("button", { type: "button", onclick: ignore }, "Ask for none");
  const form = h("form", { "aria-label": "Certificates of clients", onsubmit: change },
    h("div", { class: "row top" }, upload.element, revoked.element),
    h("div", { class: "check" }, required, h("label", { for: required.id }, "Take no connection without one")),
    message,
    h("div", { class: "row end" }, none, h("button", { type: "submit", class: "primary" }, "Ask clients for certificates")));

  function show() {
    none.disabled = clients === null;
    required.checked = clients?.required ?? false;
    if (clients === null) {
      fill(state, h("p", {}, "Clients are not asked for certificates."));
      return;
    }
    fill(state,
      h("p", {}, clients.required ? "No connection is taken without a certificate." : "Who shows a certificate is the user that it names; passwords and tokens do as well."),
      h("p", {}, `Revocation lists: ${parts(clients.crls ?? "", LIST).length}`),
      about(clients.authorities));
  }

  async function send(method, body, text) {
    try {
      const { data } = await request(method, "/tls/clients", { body });
      clients = data?.clients ?? null;
      form.reset();
      fill(message);
      show();
      done(text);
      announce(text);
    } catch (error) {
      fill(message, problem(error));
    }
  }

  async function change(event) {
    event.preventDefault();
    // The authorities of before stay, if there is no other file.
    const authorities = parts(await upload.text(), /^CERTIFICATE$/).join("\n") || clients?.authorities;
    const isRequired = required.checked;
    const chosen = await revoked.text();
    const lists = parts(chosen, LIST).join("\n");
    const wrong = (title, detail) => fill(message, problem(new Problem(0, { title, detail })));
    if (!authorities) return wrong("There is no certificate in this file", "Choose one with authorities in PEM form.");
    if (chosen && !lists) return wrong("There is no revocation list in this file", "It has to be in PEM form.");
    const text = "If you have no certificate that they vouch for, you are locked out, this browser too: the way back is the machine itself.";
    if (isRequired && !(await confirm({ title: "Take no connection without a certificate?", text, yes: "Take none", danger: true }))) return;
    const kept = authorities === clients?.authorities ? clients?.crls : undefined;
    const crls = lists || kept;
    await send("PUT", { authorities, required: isRequired, crls }, "Clients are asked for certificates.");
  }

  async function ignore() {
    if (!(await confirm({ title: "Ask for no certificates?", text: "Who has no password and no token cannot come in any more.", yes: "Ask for none", danger: true }))) return;
    await send("DELETE", undefined, "Clients are asked for no certificates.");
  }

  show();
  return card("Certificates of clients", null, state, form);
}

/** A field for a file, and what is in the file that was chosen: "" without one. */
function files(label, hint) {
  const input = h("input", { type: "file", accept: ".pem,.crt,.cer,.crl,.key" });
  return {
    element: field(label, input, hint),
    text: async () => (input.files.length > 0 ? input.files[0].text() : ""),
  };
}

/** What certificates say of themselves. */
function about(pem, sha256) {
  let all;
  try {
    all = read(pem);
  } catch {
    return h("p", { class: "note" }, "The certificate cannot be read here.");
  }
  return all.map((one, at) => h("dl", { class: "facts" },
    fact("Subject", one.subject || "–"),
    fact("Issuer", one.issuer === one.subject ? "itself" : one.issuer),
    one.names.length > 0 ? fact("For", one.names.join(", ")) : null,
    fact("From", moment(one.from)),
    fact("Until", moment(one.until), " ", badge(one)),
    sha256 && at === 0 ? fact("SHA-256", h("code", {}, sha256)) : null));
}

function fact(name, ...value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}

function badge({ from, until }) {
  const now = Date.now();
  if (until < now) return h("span", { class: "badge bad" }, "over");
  if (from > now) return h("span", { class: "badge bad" }, "not yet");
  if (until - now < MONTH_MS) return h("span", { class: "badge warn" }, "ends soon");
  return h("span", { class: "badge good" }, "good");
}
