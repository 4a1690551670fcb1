// What the visitor has shown: in the memory of this page alone, gone when it is left. Never kept, never printed.

const NAMES = { "API key": "an API key", token: "the owner of a token" };
let token = null;
let elasticsearch = null;
const listeners = new Set();

export function setToken(value) {
  token = value;
  tell();
}

/** Remember a token of Elasticsearch's token service, or of a login that gives such (JWT). */
export function setBearer(bearer) {
  elasticsearch = { kind: "token", header: `Bearer ${bearer.replace(/^Bearer\s+/i, "")}` };
  tell();
}

/** Remember an API key, in the encoded form that Elasticsearch gives. */
export function setApiKey(encoded) {
  elasticsearch = { kind: "API key", header: `ApiKey ${encoded.replace(/^ApiKey\s+/i, "")}` };
  tell();
}

export function setUser(name, password) {
  const utf8 = new TextEncoder().encode(`${name}:${password}`);
  const coded = btoa(Array.from(utf8, (byte) => String.fromCharCode(byte)).join(""));
  elasticsearch = { kind: "user", name, header: `Basic ${coded}` };
  tell();
}

export function forget() {
  token = null;
  elasticsearch = null;
  tell();
}

/** Return who searches, for people to read; null for a visitor without credentials. */
export function visitor() {
  return elasticsearch === null ? null : (elasticsearch.name ?? NAMES[elasticsearch.kind]);
}

/** Return `API key`, `user`, `token` or null. */
export function kind() {
  return elasticsearch === null ? null : elasticsearch.kind;
}

export function hasToken() {
  return token !== null;
}

/** Return the headers of a request to the admin port. */
export function headers() {
  return {
    ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
    ...(elasticsearch === null ? {} : { "X-Elasticsearch-Authorization": elasticsearch.header }),
  };
}

/** Have a function called whenever something is shown or forgotten. */
export function onChange(listener) {
  listeners.add(listener);
}

// A browser may keep a page that is left, with all that is in its memory, for the person who goes back to it.
addEventListener("pagehide", forget);

function tell() {
  for (const listener of listeners) listener();
}
