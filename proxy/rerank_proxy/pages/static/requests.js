// What the page asks the admin port. Nothing else is asked of anyone.

import * as credentials from "./credentials.js";
import { Fault, faultOf } from "./faults.js";

let askForToken = async () => false;
let askForCredentials = async () => false;

/** Name the functions that ask the visitor; each returns whether something was given. */
export function useSignIn({ token, elasticsearch }) {
  askForToken = token;
  askForCredentials = elasticsearch;
}

/** Read a document of the admin port, such as `status.json`. */
export async function read(path, signal = undefined) {
  const response = await answered(path, { signal });
  return response.json();
}

/**
 * Send a request to the proxy, as the visitor. body: JSON as text, which arrives as it is written; null for none.
 *
 * Returns `{status, headers, took_ms, body, record}`; throws a Fault for a status from 400 on. Of someone without
 * credentials Elasticsearch's are asked for, once.
 */
export async function ask(method, path, body, { where, signal = undefined, silent = false } = {}) {
  let answer = await sent(method, path, body, where, signal);
  if (answer.status === 401 && !silent && (await askForCredentials(credentials.kind() !== null))) {
    answer = await sent(method, path, body, where, signal);
  }
  if (answer.status >= 400) throw faultOf(answer.status, answer.body, where);
  return answer;
}

/** Return a header of an answer; its name in lower case. */
export function header(answer, name) {
  const found = Object.entries(answer.headers ?? {}).find(([key]) => key.toLowerCase() === name);
  return found === undefined ? null : String(found[1]);
}

async function sent(method, path, body, where, signal) {
  const response = await answered(
    "playground/request",
    {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      // The text goes in as it stands, so that lines and columns in messages are those of who wrote it.
      body: `{"method":${JSON.stringify(method)},"path":${JSON.stringify(path)},"body":${body ?? "null"}}`,
      signal,
    },
    where,
  );
  return response.json();
}

async function answered(path, init, where = null) {
  let response = await fetched(path, init, where);
  // The admin port's own 401: what Elasticsearch says is inside of a 200.
  if (response.status === 401 && (await askForToken(credentials.hasToken()))) {
    response = await fetched(path, init, where);
  }
  if (response.ok) return response;
  let body = null;
  try {
    body = await response.json();
  } catch {
    // Whatever stands between here and the proxy does not speak JSON: the status has to do.
  }
  throw faultOf(response.status, body, where ?? "The admin port of the proxy");
}

async function fetched(path, init, where) {
  const headers = { Accept: "application/json", ...init.headers, ...credentials.headers() };
  try {
    return await fetch(new URL(path, document.baseURI), { ...init, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault({ status: 0, reason: "The proxy does not answer.", where });
  }
}
