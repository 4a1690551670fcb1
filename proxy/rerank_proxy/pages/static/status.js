// The status page: reads status.json again and again while someone can see it, and says when what it shows is old.

import { byId } from "./dom.js";
import { Fault } from "./faults.js";
import * as notes from "./notes.js";
import { duration } from "./numbers.js";
import { read } from "./requests.js";
import { start as startSignIn } from "./sign_in.js";
import { parts, stateLine } from "./status_parts.js";

const EVERY_MS = 5000;
const OLD_MS = 3 * EVERY_MS;

let shownAt = null;
let ready = null;
let paused = false;
let reading = false;
let timer = null;
let last = null;
const whole = new Set();

async function refresh() {
  clearTimeout(timer);
  if (reading) return;
  reading = true;
  try {
    show(await read("status.json"));
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    showFault(fault);
  } finally {
    reading = false;
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(refresh, EVERY_MS);
    showAge();
  }
}

function show(status) {
  shownAt = Date.now();
  last = status;
  notes.show();
  byId("state").replaceChildren(stateLine(status, shownAt));
  showParts();
  if (status.ready !== ready) byId("said").textContent = status.ready ? "The proxy is ready." : `The proxy is not ready: ${status.reason ?? ""}`;
  ready = status.ready;
}

/** What has the keyboard keeps it, although the parts are new ones. */
function showParts() {
  const focused = document.activeElement.id;
  byId("parts").replaceChildren(...parts(last, shownAt, whole));
  if (focused) document.getElementById(focused)?.focus();
}

function showFault(fault) {
  const text = fault.status === 0 ? "The proxy does not answer" : "The status could not be read";
  const old = shownAt === null ? [] : [`What is shown below is ${duration((Date.now() - shownAt) / 1000)} old.`];
  notes.show(fault.status === 0 ? notes.warning(text, ...old, "This page goes on trying.") : notes.faultNote(fault));
  if (ready !== text) byId("said").textContent = `${text}.`;
  ready = text;
}

function showAge() {
  const age = shownAt === null ? null : Date.now() - shownAt;
  const old = age === null || age > OLD_MS;
  byId("age").textContent = age === null ? "not read yet" : paused ? `paused, ${duration(age / 1000)} old` : age < 2000 ? "up to date" : `${duration(age / 1000)} old`;
  byId("age").classList.toggle("warning", old && age !== null);
  byId("main").classList.toggle("old", old && shownAt !== null);
}

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  if (paused) clearTimeout(timer);
  else refresh();
  showAge();
});
byId("parts").addEventListener("click", (event) => {
  const name = event.target.dataset.list;
  if (name === undefined) return;
  if (!whole.delete(name)) whole.add(name);
  showParts();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (!paused) refresh();
});
setInterval(showAge, 1000);
startSignIn(refresh);
refresh();
