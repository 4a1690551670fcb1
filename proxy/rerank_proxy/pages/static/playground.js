// The playground: searches as the form says, and shows what came of it.

import { plainBody, readSearch, withEndpoint } from "./bodies.js";
import { compare } from "./comparison.js";
import { FORMS } from "./copies.js";
import * as credentials from "./credentials.js";
import { byId, element } from "./dom.js";
import * as editor from "./editor.js";
import { Fault } from "./faults.js";
import * as form from "./form.js";
import { matchedWords } from "./marks.js";
import { movesTable } from "./moves_table.js";
import * as notes from "./notes.js";
import { ask, read } from "./requests.js";
import { inWords, outcomeOf, showResults } from "./results.js";
import { start as startSignIn } from "./sign_in.js";
import * as state from "./state.js";
import { waterfall } from "./waterfall.js";

let running = null;
let copied = null;
let copiedForm = FORMS[0];

function say(text) {
  byId("said").textContent = text;
}

/** Return the search of a state: its body, or the one that was written. Tells what is wrong, and returns null. */
function searchOf(current) {
  const lacking = form.missing(current);
  if (lacking !== null) {
    const [text, id] = lacking;
    notes.show(notes.warning(text));
    say(text);
    byId(id).focus();
    return null;
  }
  if (current.mode === "query") return form.bodyOf(current);
  const written = editor.check();
  if (written === undefined) {
    editor.showFault();
    return null;
  }
  try {
    return readSearch(written);
  } catch (fault) {
    if (!(fault instanceof SyntaxError)) throw fault;
    editor.tell(fault.message);
    byId("body").focus();
    return null;
  }
}

async function search() {
  const current = form.read();
  const wanted = searchOf(current);
  if (wanted === null) return;
  running?.abort();
  const own = new AbortController();
  running = own;
  busy(true);
  history.replaceState(null, "", `#${state.toFragment(current)}`);
  state.remember(current);
  try {
    await run(current, wanted, own.signal);
  } catch (fault) {
    if (fault.name === "AbortError") {
      if (running === own) say("Stopped.");
    } else if (fault instanceof Fault) {
      hideResults();
      notes.show(notes.faultNote(fault));
    } else throw fault;
  } finally {
    if (running === own) busy(false);
  }
}

/** Send the searches one after the other, so that none waits for another's model and times can be compared. */
async function run(current, wanted, signal) {
  const path = `/${encodeURIComponent(current.index).replaceAll("%2C", ",")}/_search`;
  const field = form.scoredField(wanted);
  const fields = [...new Set([field, ...current.fields.split(",").map((each) => each.trim())])].filter(Boolean);
  say("Searching …");
  const plain = await ask("POST", path, plainBody(wanted, fields), { where: "The plain search", signal });
  const sides = [];
  for (const [key, endpoint] of [["a", current.a], ["b", current.b]]) {
    if (key === "b" && endpoint === "") continue;
    const title = endpoint || "As the body says";
    const body = withEndpoint(wanted, endpoint);
    const whole = await ask("POST", path, body, { where: `The search reranked by ${title}`, signal });
    sides.push({ key, title, body, whole, answer: whole.body, record: whole.record ?? null, from: body.from ?? 0 });
  }
  if (sides.length === 2 && sides[0].title === sides[1].title) sides[1].title += " (again)";
  show(current, field, plain, sides);
}

function show(current, field, plain, sides) {
  const words = matchedWords(plain.body);
  const columns = compare(plain.body, sides, sides[0].body.size ?? 10);
  columns[0].answer = plain;
  notes.show(...skipped(sides), ...nothing(current, columns));
  const any = columns.some(({ entries }) => entries.length > 0);
  byId("results").hidden = !any;
  if (any) {
    showResults(columns, { field, words });
    byId("table").replaceChildren(movesTable(columns));
  }
  byId("waterfall").replaceChildren(
    waterfall([
      { title: "Plain", took_ms: plain.took_ms, record: null },
      ...sides.map(({ title, whole, record }) => ({ title, took_ms: whole.took_ms, record })),
    ]),
  );
  byId("times").hidden = false;
  copied = { index: current.index, body: sides[0].body };
  showCopy();
  byId("copies").hidden = false;
  say(`Found. ${columns.slice(1).map(inWords).join(". ")}.`);
}

function skipped(sides) {
  return sides
    .map(({ title, whole, record }) => ({ title, ...outcomeOf(whole, record) }))
    .filter(({ outcome }) => outcome === "skipped")
    .map(({ title, reason }) =>
      notes.warning(
        `Reranking by ${title} was skipped`,
        `The reason: ${reason ?? "none was given"}. The hits are in the order of the first stage.`,
        "The search allows this by allow_rerank_failures. Without it, an error would say more; so does the log of the proxy.",
      ),
    );
}

function nothing(current, columns) {
  if (columns.some(({ entries }) => entries.length > 0)) return [];
  const where = current.mode === "body" ? "The retriever" : `“${current.words || current.query}”`;
  return [
    notes.warning(
      `${where} finds nothing in ${current.index}`,
      "A reranker orders what the first stage finds. Let that one look for words that stand in the texts: Options, “Find these words first”.",
    ),
  ];
}

function hideResults() {
  for (const id of ["results", "times", "copies"]) byId(id).hidden = true;
}

function busy(is) {
  if (!is) running = null;
  byId("stop").hidden = !is;
  byId("go").textContent = is ? "Searching …" : "Search";
  byId("search").setAttribute("aria-busy", String(is));
}

function showCopy() {
  if (copied === null) return;
  byId("forms").replaceChildren(
    ...FORMS.map((each) =>
      element(
        "button",
        {
          type: "button",
          "aria-pressed": String(each === copiedForm),
          on: { click: () => ((copiedForm = each), showCopy(), focusForm()) },
        },
        each.name,
      ),
    ),
  );
  byId("copied").textContent = copiedForm.text({ ...copied, url: address(), kind: credentials.kind() });
}

function focusForm() {
  byId("forms").querySelector('[aria-pressed="true"]').focus();
}

function address() {
  return byId("url").value.trim().replace(/\/+$/, "") || `http://${location.hostname}:9201`;
}

async function copy() {
  try {
    await navigator.clipboard.writeText(byId("copied").textContent);
    say(`${copiedForm.name} is copied.`);
    byId("copy").textContent = "Copied";
    setTimeout(() => (byId("copy").textContent = "Copy"), 1500);
  } catch {
    // Browsers give the clipboard to pages of this machine and of https alone.
    getSelection().selectAllChildren(byId("copied"));
    say("The text is selected: copy it with the keyboard.");
  }
}

function showHistory() {
  const earlier = state.remembered();
  byId("earlier").replaceChildren(
    ...(earlier.length === 0 ? [element("li", { class: "quiet" }, "None yet.")] : earlier.map(earlierItem)),
  );
  byId("clear-history").disabled = earlier.length === 0;
  if (!byId("history").open) byId("history").showModal();
}

function earlierItem(past) {
  const again = async () => {
    byId("history").close();
    await load(past);
    search();
  };
  const sides = [past.a, past.b].filter(Boolean).join(" and ");
  return element("li", {}, element("button", { type: "button", class: "plain", on: { click: again } }, element("span", {}, state.inWords(past)), element("span", { class: "small quiet" }, sides)));
}

async function load(past) {
  form.write(past);
  await fill();
}

/** Fill the form with what there is, and say how to begin where there is nothing. */
async function fill() {
  const { indices, endpoints, faults } = await form.fill();
  if (faults.length > 0) notes.show(...faults.map((fault) => notes.faultNote(fault)));
  else if (indices === 0) notes.show(notes.noIndex(address()));
  else if (endpoints === 0) notes.show(notes.noEndpoint());
  else if (byId("results").hidden) notes.show(notes.welcome());
}

async function showAddress() {
  try {
    const { clients } = await read("status.json");
    if (clients?.url) byId("url").value = clients.url;
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    // The form says what is wrong: it asks the same port.
  }
  if (byId("url").value === "") byId("url").value = address();
}

function listen() {
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  byId("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      search();
    }
  });
  byId("stop").addEventListener("click", () => running?.abort());
  byId("by-query").addEventListener("click", () => form.showMode("query"));
  byId("by-body").addEventListener("click", () => form.showMode("body"));
  for (const id of ["index", "other-index"]) {
    byId(id).addEventListener("change", async () => {
      const faults = await form.fillFields();
      notes.show(...faults.map((fault) => notes.faultNote(fault)));
    });
  }
  byId("body").addEventListener("input", () => (byId("body").dataset.written = "yes"));
  byId("copy").addEventListener("click", copy);
  byId("url").addEventListener("input", showCopy);
  byId("open-history").addEventListener("click", showHistory);
  byId("clear-history").addEventListener("click", () => {
    state.forgetAll();
    showHistory();
  });
  credentials.onChange(showCopy);
  addEventListener("hashchange", () => {
    const shared = state.fromFragment(location.hash);
    if (shared !== null) load(shared);
  });
}

startSignIn(fill);
listen();
const shared = state.fromFragment(location.hash);
form.write(shared ?? state.DEFAULTS);
await showAddress();
await fill();
byId(shared?.query ? "go" : "query").focus();
