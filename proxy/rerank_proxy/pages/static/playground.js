// The playground: searches as the form says, and shows what came of it.

import { readSearch } from "./bodies.js";
import { compare } from "./comparison.js";
import { address, findAddress, showCopies, start as startCopies } from "./copy_panel.js";
import { byId } from "./dom.js";
import * as editor from "./editor.js";
import { Fault } from "./faults.js";
import * as form from "./form.js";
import { movesTable } from "./moves_table.js";
import { start as startHistory } from "./history_panel.js";
import * as notes from "./notes.js";
import { plan } from "./plan.js";
import * as progress from "./progress.js";
import { ask } from "./requests.js";
import { inWords, outcomeOf, showResults } from "./results.js";
import { start as startSignIn } from "./sign_in.js";
import * as state from "./state.js";
import { waterfall } from "./waterfall.js";

const PLAIN = "The plain search";
let running = null;
/** Ends when the lists of the form are there: a search that is begun before waits for them. */
let filled = Promise.resolve();

function say(text) {
  byId("said").textContent = text;
}

/** Return the search of a state: its body, or the one that was written. Tells what is wrong, and returns null. */
function searchOf(current) {
  const lacking = form.missing(current);
  if (lacking !== null) {
    const [text, id] = lacking;
    const fault = id === "field" ? form.fieldsFault() : null;
    notes.show(fault === null ? notes.warning(text) : notes.faultNote(fault));
    say(text);
    byId(id).focus();
    return null;
  }
  if (current.mode === "query") return form.bodyOf(current);
  const written = editor.check();
  if (written === undefined) {
    notes.show();
    editor.showFault();
    return null;
  }
  try {
    return readSearch(written);
  } catch (fault) {
    if (!(fault instanceof SyntaxError)) throw fault;
    notes.show();
    editor.tell(fault.message);
    byId("body").focus();
    return null;
  }
}

async function search() {
  await filled;
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
      say("The search failed.");
    } else throw fault;
  } finally {
    if (running === own) busy(false);
  }
}

/** Send the searches one after the other, so that none waits for another's model and times can be compared. */
async function run(current, wanted, signal) {
  const { path, field, plain, unmarked, sides } = plan(current, wanted);
  say("Searching …");
  const found = [];
  let first;
  try {
    first = await hitsOf(path, plain, PLAIN, signal);
  } catch (fault) {
    if (fault.status !== 400) throw fault;
    // What is wrong is told best of the search as it was written. Where nothing is, it is what was added to it that this
    // Elasticsearch, or these fields, cannot do.
    found.push(await send(path, sides[0], signal));
    first = await hitsOf(path, unmarked, PLAIN, signal);
  }
  for (const side of sides.slice(found.length)) found.push(await send(path, side, signal));
  show(current, field, first, found);
}

/** Search as one side does. What is wrong is told best of the body as it was written, by its lines and columns. */
async function send(path, side, signal) {
  const where = `The search reranked by ${side.title}`;
  try {
    const whole = await placed(path, side, where, signal);
    return { ...side, whole, answer: whole.body, record: whole.record ?? null };
  } catch (fault) {
    if (fault.status === 400 && side.asWritten !== null) await placed(path, side.asWritten, where, signal);
    throw fault;
  }
}

/** Search, and tell of faults where they are in what was written. */
async function placed(path, { text, begins }, where, signal) {
  try {
    return await hitsOf(path, text, where, signal);
  } catch (fault) {
    throw fault instanceof Fault ? fault.in(begins) : fault;
  }
}

/** Search. What stands between the proxy and Elasticsearch may answer with a page of its own, and status 200. */
async function hitsOf(path, body, where, signal) {
  progress.began(where);
  const answer = await ask("POST", path, body, { where, signal });
  if (Array.isArray(answer.body?.hits?.hits)) return answer;
  throw new Fault({ status: answer.status, reason: "The answer is not that of a search.", where });
}

function show(current, field, plain, sides) {
  const columns = compare(plain.body, sides);
  columns[0].answer = plain;
  notes.show(...skipped(sides), ...nothing(current, columns));
  const any = columns.some(({ entries }) => entries.length > 0);
  byId("results").hidden = !any;
  if (any) {
    byId("results-title").textContent = current.mode === "body" ? "Plain and reranked" : `Plain and reranked: “${current.query}”`;
    showResults(columns, field);
    byId("table").replaceChildren(movesTable(columns));
  }
  byId("waterfall").replaceChildren(
    waterfall([
      { title: "Plain", took_ms: plain.took_ms, record: null },
      ...sides.map(({ title, whole, record }) => ({ title, took_ms: whole.took_ms, record })),
    ]),
  );
  byId("times").hidden = false;
  showCopies({ index: current.index, body: sides[0].body });
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
  if (!is) {
    running = null;
    progress.ended();
    if (document.activeElement === byId("stop")) byId("go").focus(); // it is about to be hidden
  }
  byId("stop").hidden = !is;
  byId("go").textContent = is ? "Searching …" : "Search";
  byId("search").setAttribute("aria-busy", String(is));
}

async function load(past) {
  form.write(past);
  await fill();
}

function fill() {
  filled = fillLists();
  return filled;
}

/** Fill the form with what there is, and say how to begin where there is nothing. */
async function fillLists() {
  const { indices, endpoints, faults } = await form.fill();
  if (faults.length > 0) notes.show(...faults.map((fault) => notes.faultNote(fault)));
  else if (indices === 0) notes.show(notes.noIndex(address()));
  else if (endpoints === 0) notes.show(notes.noEndpoint());
  else if (byId("results").hidden) notes.show(notes.welcome());
}

async function fillFields() {
  const faults = await form.fillFields();
  notes.show(...faults.map((fault) => notes.faultNote(fault)));
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
  byId("by-body").addEventListener("click", async () => {
    await filled; // the body begins with the field and the endpoint that are chosen
    form.showMode("body");
  });
  for (const id of ["index", "other-index"]) {
    byId(id).addEventListener("change", () => {
      filled = fillFields();
    });
  }
  byId("body").addEventListener("input", () => (byId("body").dataset.written = "yes"));
  addEventListener("hashchange", () => {
    const shared = state.fromFragment(location.hash);
    if (shared !== null) load(shared);
  });
}

startSignIn(fill);
startHistory(async (past) => {
  await load(past);
  search();
});
startCopies(say);
listen();
const shared = state.fromFragment(location.hash);
form.write(shared ?? state.DEFAULTS);
filled = findAddress().then(fillLists);
await filled;
byId(shared?.query ? "go" : "query").focus();
