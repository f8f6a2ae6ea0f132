// Numbers, units and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const two = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/** 12,345 */
export function count(value) {
  return value === null || value === undefined ? "–" : whole.format(value);
}

/** Value and prefix: 12,345 as 12.3 and k. Below 10,000 there is none. */
function scaled(value) {
  for (const [limit, base, letter] of [[1e12, 1e12, "T"], [1e9, 1e9, "G"], [1e6, 1e6, "M"], [1e4, 1e3, "k"]]) {
    if (Math.abs(value) >= limit) return [one.format(value / base), letter];
  }
  const size = Math.abs(value);
  return [(size < 1 ? two : size < 10 ? one : whole).format(value), ""];
}

/** A number with k, M, G: at most four digits and a letter. */
export function short(value) {
  return value === null || value === undefined ? "–" : scaled(value).join("");
}

/** Per second. */
export function rate(value) {
  return value === null || value === undefined ? "–" : `${short(value)}/s`;
}

function withUnit(value, unit) {
  if (value === null || value === undefined) return "–";
  const [number, letter] = scaled(value);
  return `${number} ${letter}${unit}`;
}

/** Bits per second, of bytes per second. */
export function bits(bytes) {
  return withUnit(typeof bytes === "number" ? bytes * 8 : null, "bit/s");
}

/** Bytes, in powers of 1,000. */
export function bytes(value) {
  return withUnit(value, "B");
}

/** A share of one. */
export function percent(share) {
  return share === null || share === undefined ? "–" : `${one.format(share * 100)}%`;
}

/** The two largest units: "3 d 4 h", "12 s", "350 ms". */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  let left = Math.floor(ms / 1000);
  const parts = [];
  for (const [seconds, name] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    const n = Math.floor(left / seconds);
    left -= n * seconds;
    if (n > 0) parts.push(`${n} ${name}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** A moment, given as RFC 3339, in the reader's time zone. */
export function moment(text) {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? String(text) : time.toLocaleString();
}

/** `web_cache` as `web cache`. */
export function words(name) {
  return String(name).replaceAll("_", " ");
}

/** Address and port; IPv6 in brackets (RFC 3986, section 3.2.2). */
export function endpoint(address, port) {
  const host = String(address).includes(":") ? `[${address}]` : address;
  return port === undefined || port === null ? String(address) : `${host}:${port}`;
}
