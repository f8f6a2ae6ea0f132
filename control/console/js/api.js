// The REST API, docs/api.md. The console has no other way to the appliance.

const BASE = "/api/v1";
const TOKEN = "sluice.token";
/** Longer than the appliance takes before it gives up by itself. */
const PATIENCE = 35_000;

/** What the API says is wrong (RFC 9457), or that it cannot be reached (`status` 0). */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `status ${status}`);
    this.status = status;
    this.type = body.type ?? "";
    this.title = body.title ?? `The appliance answered with status ${status}`;
    this.detail = body.detail;
    this.errors = body.errors ?? [];
  }
}

let askForLogin = () => {};
let lookWho = () => {};

/** Whom to tell that something was refused for somebody's role, which may be another one by now. */
export function onRefused(handler) {
  lookWho = handler;
}

/** Whom to tell that somebody must log in. */
export function onLoginNeeded(handler) {
  askForLogin = handler;
}

/** The token of this browser tab; it is forgotten with the tab. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  clear: () => sessionStorage.removeItem(TOKEN),
};

/** What a request has to wait for: until then nobody knows by which token it is sent. */
let held = Promise.resolve();

/** Does what ends the login and begins another one; whoever asks for something meanwhile waits. */
export function hold(work) {
  const whole = work();
  held = whole.catch(() => {});
  return whole;
}

function url(path, query) {
  const parameters = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return BASE + path + (parameters.length > 0 ? `?${new URLSearchParams(parameters)}` : "");
}

/**
 * Sends a request. `options`: `query`, `body` (text, or anything that becomes JSON), `type` of the
 * body, `accept`, `match` (an ETag, for If-Match), `absent` (only if it is not there yet), `quiet` (a
 * missing login is only thrown).
 * Gives `{ status, etag, data }`; throws a `Problem`.
 */
export async function request(method, path, options = {}) {
  if (!options.quiet) await held;
  const headers = { Accept: options.accept ?? "application/json" };
  const credential = token.get();
  if (credential) headers.Authorization = `Bearer ${credential}`;
  if (options.match) headers["If-Match"] = options.match;
  if (options.absent) headers["If-None-Match"] = "*";
  let body;
  if (options.body !== undefined) {
    const isText = typeof options.body === "string";
    body = isText ? options.body : JSON.stringify(options.body);
    headers["Content-Type"] = options.type ?? (isText ? "application/toml" : "application/json");
  }
  let response;
  let text;
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    response = await fetch(url(path, options.query), { method, headers, body, signal, cache: "no-store" });
    text = await response.text();
  } catch {
    throw new Problem(0, { title: "The appliance does not answer" });
  }
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  const data = isJson && text ? JSON.parse(text) : text;
  if (response.ok) return { status: response.status, etag: response.headers.get("ETag"), data };
  const error = new Problem(response.status, isJson ? data : {});
  throw options.quiet ? error : refused(error, credential);
}

/** Whoever has to log in, or to log in anew to change the password, is asked to; unless that is done already. */
function refused(error, credential) {
  const isLogin = error.status === 401 || error.type.endsWith(":password-change-required");
  if (isLogin && credential === token.get()) {
    token.clear();
    askForLogin();
  } else if (error.status === 403) {
    lookWho();
  }
  return error;
}

/** Reads JSON. */
export async function get(path, query) {
  return (await request("GET", path, { query })).data;
}

/** Reads a file, as bytes. */
export async function download(path) {
  const credential = token.get();
  const headers = credential ? { Authorization: `Bearer ${credential}` } : {};
  let response;
  try {
    response = await fetch(url(path), { headers, cache: "no-store" });
  } catch {
    throw new Problem(0, { title: "The appliance does not answer" });
  }
  if (response.ok) return response.blob();
  throw refused(new Problem(response.status, await response.json().catch(() => ({}))), credential);
}

/**
 * Asks for something that answers by lines of JSON, and calls `each` with every one as it comes. Ends early
 * with the signal, by an error.
 */
export async function lines(path, body, signal, each) {
  const credential = token.get();
  const headers = { "Content-Type": "application/json" };
  if (credential) headers.Authorization = `Bearer ${credential}`;
  let response;
  try {
    response = await fetch(url(path), { method: "POST", headers, body: JSON.stringify(body), signal, cache: "no-store" });
  } catch {
    throw new Problem(0, { title: "The appliance does not answer" });
  }
  if (!response.ok) throw refused(new Problem(response.status, await response.json().catch(() => ({}))), credential);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch {
      throw new Problem(0, { title: "The answer ended early" });
    }
    if (piece.done) return;
    const whole = (rest + piece.value).split("\n");
    rest = whole.pop();
    for (const line of whole) each(JSON.parse(line));
  }
}

let description = null;

/** What the appliance's OpenAPI document says of its resources, by path below `/api/v1`. */
async function resources() {
  const below = ({ paths }) => Object.fromEntries(Object.entries(paths).map(([path, methods]) => [path.replace(BASE, ""), methods]));
  description ??= get("/openapi.json").then(below);
  try {
    return await description;
  } catch {
    description = null;
    return {};
  }
}

/** Whether this appliance has a resource. */
export async function offers(path) {
  return path in (await resources());
}

/** The resources below a path that can be changed in parts, by their paths, and which methods each has. */
export async function changeable(path) {
  const all = Object.entries(await resources());
  return new Map(all.filter(([one, methods]) => one.startsWith(`${path}/`) && "patch" in methods));
}

/** The names of the query parameters that reading a resource takes. */
export async function parameters(path) {
  const asked = (await resources())[path]?.get?.parameters ?? [];
  return asked.filter((one) => one.in === "query").map((one) => one.name);
}

/** Reads a list that comes in pages, whole: the last page, with the items of all. */
export async function pages(path, key) {
  const items = [];
  let cursor;
  for (;;) {
    const page = await get(path, { limit: 1000, cursor });
    items.push(...page[key]);
    cursor = page.next;
    if (!cursor) return { ...page, [key]: items };
  }
}

/** Reads JSON of a resource that this appliance may not have; null if so. With `list`, a list of that key in pages. */
export async function getIfThere(path, list) {
  if (!(await offers(path))) return null;
  try {
    return await (list ? pages(path, list) : get(path));
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/** A path of names, each of them escaped. */
export function path(...names) {
  return names.map((name) => `/${encodeURIComponent(name)}`).join("");
}
