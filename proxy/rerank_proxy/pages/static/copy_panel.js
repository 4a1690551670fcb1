// The search to take along: in which form, and against which address.

import { FORMS } from "./copies.js";
import * as credentials from "./credentials.js";
import { byId, element } from "./dom.js";
import { Fault } from "./faults.js";
import { read } from "./requests.js";

const SHOWN_MS = 1500;
const DEFAULT_PORT = 9201;
let search = null;
let form = FORMS[0];

/** Let the panel work; `say` tells screen readers. */
export function start(say) {
  byId("copy").addEventListener("click", () => copy(say));
  byId("url").addEventListener("input", draw);
  credentials.onChange(draw);
}

/** Show a search, `{index, body}`, to copy. */
export function showCopies(shown) {
  search = shown;
  draw();
  byId("copies").hidden = false;
}

/** Return the address that clients send their searches to. */
export function address() {
  return byId("url").value.trim().replace(/\/+$/, "") || `http://${location.hostname}:${DEFAULT_PORT}`;
}

/** Ask the proxy for that address. */
export async function findAddress() {
  try {
    byId("url").value = addressOf((await read("status.json")).settings ?? []);
  } catch (fault) {
    // The form says what is wrong: it asks the same port.
    if (!(fault instanceof Fault)) throw fault;
  }
  if (byId("url").value === "") byId("url").value = address();
}

/** Return the address that clients use, from the settings that differ from the default. */
function addressOf(settings) {
  const value = (name) => settings.find((setting) => setting.name === name)?.value;
  const [, host, port] = /^(.*):(\d+)$/.exec(value("listen") ?? "") ?? [];
  const scheme = value("tls.cert") ? "https" : "http";
  const everywhere = host === undefined || ["", "0.0.0.0", "[::]"].includes(host);
  return `${scheme}://${everywhere ? location.hostname : host}:${Number(port) || DEFAULT_PORT}`;
}

function draw() {
  if (search === null) return;
  byId("forms").replaceChildren(...FORMS.map(formButton));
  byId("copied").textContent = form.text({ ...search, url: address(), kind: credentials.kind() });
}

function formButton(each) {
  const choose = () => {
    form = each;
    draw();
    byId("forms").querySelector('[aria-pressed="true"]').focus();
  };
  return element("button", { type: "button", "aria-pressed": String(each === form), on: { click: choose } }, each.name);
}

async function copy(say) {
  try {
    await navigator.clipboard.writeText(byId("copied").textContent);
    say(`${form.name} is copied.`);
    byId("copy").textContent = "Copied";
    setTimeout(() => (byId("copy").textContent = "Copy"), SHOWN_MS);
  } catch {
    // Browsers give the clipboard to pages of this machine and of https alone.
    getSelection().selectAllChildren(byId("copied"));
    say("The text is selected: copy it with the keyboard.");
  }
}
