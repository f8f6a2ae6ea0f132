// What certificates say of themselves (X.509, RFC 5280), as far as people ask for it. Nothing is verified.

/** Names of attributes, by the bytes of their object identifiers. */
const ATTRIBUTES = { "85,4,3": "CN", "85,4,6": "C", "85,4,7": "L", "85,4,8": "ST", "85,4,10": "O", "85,4,11": "OU" };
const ALTERNATIVE_NAMES = "85,29,17";

/** The parts of a PEM text whose labels match, as text. */
export function parts(pem, label) {
  const all = pem.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----/g);
  return [...all].filter((one) => label.test(one[1])).map((one) => one[0]);
}

/** The certificates of a PEM text: `subject`, `issuer`, `names`, `from` and `until` of each. Throws at other things. */
export function certificates(pem) {
  return parts(pem, /^CERTIFICATE$/).map((part) => {
    const body = atob(part.replaceAll(/-----[^-]+-----|\s/g, ""));
    return certificate(Uint8Array.from(body, (letter) => letter.charCodeAt(0)));
  });
}

function certificate(bytes) {
  const [whole] = elements(bytes);
  const [signed] = elements(whole.body);
  // The version is only there if it is not 1.
  const fields = elements(signed.body).filter((one) => one.tag !== 0xa0);
  const [, , issuer, validity, subject] = fields;
  const [from, until] = elements(validity.body).map(time);
  const extensions = fields.find((one) => one.tag === 0xa3);
  return { subject: name(subject), issuer: name(issuer), names: extensions ? alternatives(extensions) : [], from, until };
}

/** The elements of DER one after the other: tag and body of each. */
function elements(bytes) {
  const found = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at];
    let length = bytes[at + 1];
    let start = at + 2;
    if (length > 0x7f) {
      const size = length & 0x7f;
      if (size > 3) throw new Error("too long");
      length = bytes.subarray(start, start + size).reduce((all, byte) => all * 256 + byte, 0);
      start += size;
    }
    if (!(start + length <= bytes.length)) throw new Error("cut off");
    found.push({ tag, body: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return found;
}

function text({ tag, body }) {
  const coding = { 0x14: "latin1", 0x1e: "utf-16be" }[tag] ?? "utf-8";
  return new TextDecoder(coding).decode(body);
}

/** As `CN=www.example.net, O=Example`. */
function name(element) {
  const attributes = elements(element.body).flatMap((set) => elements(set.body));
  const said = attributes.map((attribute) => {
    const [kind, value] = elements(attribute.body);
    return `${ATTRIBUTES[kind.body.join()] ?? "?"}=${text(value)}`;
  });
  return said.join(", ");
}

/** UTCTime and GeneralizedTime (RFC 5280, section 4.1.2.5). */
function time(element) {
  let digits = text(element);
  if (element.tag === 0x17) digits = (Number(digits.slice(0, 2)) < 50 ? "20" : "19") + digits;
  const [, ...fields] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(digits);
  const [year, month, day, hour, minute, second] = fields.map(Number);
  return new Date(Date.UTC(year, month - 1, day, hour, minute, second));
}

/** DNS names, addresses, URIs and mail addresses that it is for. */
function alternatives(extensions) {
  const [list] = elements(extensions.body);
  const one = elements(list.body).map((extension) => elements(extension.body)).find(([kind]) => kind.body.join() === ALTERNATIVE_NAMES);
  if (!one) return [];
  const [names] = elements(one.at(-1).body);
  return elements(names.body).map((found) => {
    if (found.tag === 0x87) return address(found.body);
    return [0x81, 0x82, 0x86].includes(found.tag) ? text(found) : null;
  }).filter((found) => found !== null);
}

function address(bytes) {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: bytes.length / 2 }, (_, at) => (bytes[2 * at] * 256 + bytes[2 * at + 1]).toString(16));
  return groups.join(":");
}
