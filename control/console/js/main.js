// The frame: navigation, login, and one view at a time.

import { announce } from "./announce.js";
import { onLoginNeeded, onRefused, request, token } from "./api.js";
import { fill, h, head, setText } from "./dom.js";
import { login, logout } from "./login.js";
import * as poll from "./poll.js";
import { link, parse } from "./router.js";
import * as theme from "./theme.js";
import * as trial from "./trial.js";
import { ask, forget, may, who } from "./who.js";
import { admin } from "./views/admin.js";
import { config } from "./views/config.js";
import { ha } from "./views/ha.js";
import { logs } from "./views/logs.js";
import { nat } from "./views/nat.js";
import { network } from "./views/network.js";
import { packets } from "./views/packets.js";
import { overview } from "./views/overview.js";
import { servers } from "./views/servers.js";
import { sessions } from "./views/sessions.js";
import { tools } from "./views/tools.js";

const VIEWS = [overview, servers, sessions, nat, network, packets, tools, ha, logs, config, admin];

/** Between two looks at what one's role is. */
const ROLE = 10_000;

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const logoutButton = document.getElementById("logout");
const anchors = new Map(VIEWS.map((view) => [view.name, anchor(view)]));

let unmount = () => {};
let open = false;

function anchor(view) {
  const href = link(view.name);
  // A link to where one is begins the view anew.
  const again = () => { if (location.hash === href) go(); };
  return h("a", { href, onclick: again }, view.title);
}

function show() {
  if (!open) return;
  const { name, parameters } = parse(location.hash);
  const view = VIEWS.find((one) => one.name === name) ?? overview;
  unmount();
  unmount = (may(view.role ?? "viewer") ? view.mount(main, parameters) : refuse(view)) ?? (() => {});
  for (const [other, anchor] of anchors) {
    if (other === view.name) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  document.title = `${view.title} – Sluice`;
  scrollTo(0, 0);
}

/** In place of a view that somebody's role has nothing to do with. */
function refuse(view) {
  fill(main, head(view.title), h("p", { class: "note" }, `This takes the role ${view.role}; yours is ${who().role}.`));
}

/** A view that was chosen gets the focus, so that the keyboard goes on from there. */
function go() {
  show();
  main.querySelector("h1")?.focus({ preventScroll: true });
}

function onConnection(error) {
  connection.className = `badge ${error ? "bad" : "good"}`;
  setText(connection, error ? error.title : "connected");
  const status = poll.feed.status;
  if (status) setText(document.getElementById("node"), `${status.name} · ${status.version}`);
  // It could not be asked before.
  if (!error && open && who() === null) {
    ask().then((me) => { if (me && open) begin(); });
  }
}

/** Hides the links of views that this appliance, or this user's role, has nothing for. */
async function hideMissing() {
  for (const view of VIEWS.filter((one) => one.isThere || one.role)) {
    const there = may(view.role ?? "viewer") && (!view.isThere || await view.isThere().catch(() => false));
    anchors.get(view.name).parentElement.hidden = !there;
  }
}

/** Shows what is for whoever this is. */
function begin() {
  const me = who();
  logoutButton.textContent = me ? `Log out ${me.name}` : "Log out";
  logoutButton.hidden = token.get() === null;
  hideMissing();
  show();
}

/** Somebody's role may be another one: what it does not allow any more is not shown. */
async function lookWho() {
  const before = who()?.role;
  const me = await ask();
  if (!open || !me || !before || me.role === before) return;
  announce(`Your role is ${me.role} now.`);
  begin();
}

async function enter() {
  open = true;
  await ask();
  if (!open) return;
  begin();
  poll.start(onConnection);
  trial.start(document.getElementById("trial"));
}

function askForLogin() {
  if (!open && main.querySelector(".login")) return;
  open = false;
  forget();
  poll.stop();
  trial.stop();
  unmount();
  unmount = () => {};
  logoutButton.hidden = true;
  fill(connection);
  document.title = "Log in – Sluice";
  login(main, () => {
    announce("Logged in.");
    enter();
  });
}

async function start() {
  theme.start(document.getElementById("theme"));
  fill(document.getElementById("views"), VIEWS.map((view) => h("li", { hidden: Boolean(view.isThere || view.role) }, anchors.get(view.name))));
  // The address is the view's; the skip link must not change it.
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  logoutButton.addEventListener("click", async () => {
    await logout();
    askForLogin();
  });
  onLoginNeeded(askForLogin);
  onRefused(lookWho);
  setInterval(() => { if (open && !document.hidden) lookWho(); }, ROLE);
  addEventListener("hashchange", go);
  try {
    await request("GET", "/status");
  } catch (error) {
    if (error.status === 401) return;
    onConnection(error);
  }
  enter();
}

start();
