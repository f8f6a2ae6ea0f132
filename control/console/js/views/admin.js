// Administration: users, tokens, the audit log, certificates, the support bundle, and one's own account.

import { fill, h, head } from "../dom.js";
import { tabs } from "../tabs.js";
import { may, who } from "../who.js";
import { account } from "./admin-account.js";
import { audit } from "./admin-audit.js";
import { certificates } from "./admin-certificates.js";
import { support } from "./admin-support.js";
import { tokens } from "./admin-tokens.js";
import { users } from "./admin-users.js";

export const admin = { name: "admin", title: "Administration", mount };

function mount(main, parameters) {
  // Where nobody is asked who they are, there are no accounts.
  const isAsked = who()?.users === true;
  const all = [
    { name: "account", title: "Own account", open: account, there: isAsked },
    { name: "users", title: "Users", open: users, there: isAsked && may("admin") },
    { name: "tokens", title: "Tokens", open: tokens, there: isAsked && may("admin") },
    { name: "audit", title: "Audit log", open: audit, there: may("admin") },
    { name: "certificates", title: "Certificates", open: certificates, there: may("admin") },
    { name: "support", title: "Support bundle", open: support, there: may("operator") },
  ];
  const { elements, close } = tabs("Administration", all.filter((tab) => tab.there), parameters.tab);
  const note = isAsked ? null : h("p", { class: "note" }, "Nobody is asked who they are, so there are no users and no tokens: ", h("code", {}, "auth"), " of ", h("code", {}, "[api]"), " says so.");
  fill(main, head("Administration"), note, elements);
  return close;
}
