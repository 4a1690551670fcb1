// What the page asks its own server. Its window has a session, which the address of the page opened once.

import { Fault, faultOf } from "./faults.js";

const KEPT = "rerank-proxy-judge-session";
let session = null;

/**
 * Open a session with the key of the address, or take up that of this window; false where there is neither.
 * The key is taken out of the address: it is worth nothing any more, and no one is to copy it.
 */
export async function openSession() {
  const key = location.hash.slice(1);
  if (/^[\w-]{40,}$/.test(key)) {
    history.replaceState(null, "", `${location.pathname}#judge`);
    ({ session } = await sent("session", { method: "POST", body: JSON.stringify({ key }) }));
    keep();
  } else {
    session = kept();
  }
  return session !== null;
}

/** Read something of the server, such as `pool`. */
export function read(path, id = null) {
  return sent(id === null ? path : `${path}?id=${encodeURIComponent(id)}`, {});
}

/** Save what is said of a document; gives the progress of its query. */
export async function save(path, said) {
  return (await sent(path, { method: "PUT", body: JSON.stringify(said), keepalive: true })).query;
}

async function sent(path, init) {
  const headers = { Accept: "application/json" };
  if (init.body !== undefined) headers["Content-Type"] = "application/json";
  if (session !== null) headers["X-Judge-Session"] = session;
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { ...init, headers, cache: "no-store", credentials: "omit" });
  } catch {
    throw new Fault({
      status: 0,
      reason: "The command in the terminal does not answer. Start it again, and open the address that it shows: what was saved is kept.",
    });
  }
  let body = null;
  try {
    body = await response.json();
  } catch {
    // What answers is not the server of this page: the status has to do.
  }
  if (!response.ok || body === null) throw faultOf(response.status, body, null);
  return body;
}

function keep() {
  try {
    sessionStorage.setItem(KEPT, session); // of this window and this port alone
  } catch {
    // Storage is switched off: the session lasts until the page is left.
  }
}

function kept() {
  try {
    return sessionStorage.getItem(KEPT);
  } catch {
    return null;
  }
}
