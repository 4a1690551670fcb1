// The form of a search: what it says, and what there is to choose from.

import { byId, element, setOptions } from "./dom.js";
import * as catalogue from "./catalogue.js";
import * as editor from "./editor.js";
import { simpleBody, withEndpoint } from "./bodies.js";

const OTHER = "\u0000other";
const VALUES = { field: "field", a: "a", b: "b", query: "query", words: "words", fields: "fields", minScore: "min-score", body: "body" };
let mode = "query";
let wanted = {};
let unread = null;
/** The endpoint of questions, while a body says its own. */
let asked = "";

/** Return what the form says, as `state.js` has it. */
export function read() {
  const values = Object.fromEntries(Object.entries(VALUES).map(([name, id]) => [name, byId(id).value]));
  const window = whole("window", 50, 1000);
  return {
    ...values,
    mode,
    index: index(),
    query: values.query.trim(),
    words: values.words.trim(),
    fields: values.fields.trim(),
    minScore: values.minScore.trim(),
    window,
    size: whole("size", 10, 100),
    chunks: byId("chunks").checked,
  };
}

/** Put a search into the form. */
export function write(state) {
  wanted = { index: state.index, field: state.field, a: state.a, b: state.b };
  for (const name of ["query", "words", "fields", "minScore"]) byId(VALUES[name]).value = state[name];
  byId("window").value = String(state.window);
  byId("size").value = String(state.size);
  byId("chunks").checked = state.chunks;
  if (state.mode === "body") editor.write(state.body);
  const plain = !state.words && !state.fields && !state.minScore && !state.chunks && state.window === 50 && state.size === 10;
  byId("options").open = !plain;
  byId("body").dataset.written = state.mode === "body" ? "yes" : "";
  showMode(state.mode);
}

/** Choose between a question and a body. The body begins as what the question would send. */
export function showMode(next) {
  if (next === "body" && mode === "query" && byId("body").dataset.written !== "yes") {
    const state = read();
    editor.write(withEndpoint(bodyOf(state), state.a));
    asked = state.a;
    byId("a").value = "";
  }
  mode = next;
  for (const part of document.querySelectorAll(".by-query")) part.hidden = mode !== "query";
  for (const part of document.querySelectorAll(".by-body")) part.hidden = mode !== "body";
  byId("by-query").setAttribute("aria-pressed", String(mode === "query"));
  byId("by-body").setAttribute("aria-pressed", String(mode === "body"));
  const asWritten = byId("a").querySelector(".as-written");
  if (asWritten !== null) asWritten.hidden = asWritten.disabled = mode !== "body";
  if (mode === "query" && byId("a").value === "") chooseEndpoint();
}

/** A question names an endpoint: the one that it had before, or the first. */
function chooseEndpoint() {
  byId("a").value = asked;
  if (!byId("a").value && byId("a").options.length > 1) byId("a").selectedIndex = 1;
}

/** Return the reranked search of the simple form. */
export function bodyOf(state) {
  const fields = state.fields.split(",").map((field) => field.trim()).filter(Boolean);
  return simpleBody({
    ...state,
    field: state.field || "text",
    fields: fields.length > 0 ? fields : [state.field || "text"],
    window: Math.max(state.window, state.size),
    minScore: state.minScore === "" ? null : Number(state.minScore),
  });
}

/** Say what is missing from a search, and the id of its field; null where nothing is. */
export function missing(state) {
  if (!state.index) return ["Choose an index.", "index"];
  if (state.mode === "body") return null;
  if (!state.query) return ["Write a question.", "query"];
  if (!state.field) return ["Choose the field whose text is scored.", "field"];
  if (state.minScore !== "" && !Number.isFinite(Number(state.minScore))) return ["The lowest score is no number.", "min-score"];
  return null;
}

/** Fill the lists. Returns `{indices, endpoints, faults}`: how many there are, and what could not be read. */
export async function fill() {
  const faults = [];
  const [indices, endpoints] = await Promise.all([catalogue.indices, catalogue.endpoints].map((list) => list().catch((fault) => {
    faults.push(fault);
    return [];
  })));
  fillIndices(indices);
  const ids = [...endpoints];
  for (const id of [wanted.a, wanted.b]) if (id && !ids.some(({ value }) => value === id)) ids.push({ value: id, label: `${id} (not in the list)` });
  setOptions(byId("a"), ids, wanted.a || byId("a").value);
  byId("a").prepend(element("option", { value: "", class: "as-written" }, "as the body says"));
  setOptions(byId("b"), [{ value: "", label: "nothing" }, ...ids], wanted.b ?? byId("b").value);
  if (!wanted.a && mode === "body") byId("a").value = "";
  if (faults.length === 0) wanted = { field: wanted.field };
  showMode(mode);
  faults.push(...(await fillFields()));
  return { indices: indices.length, endpoints: endpoints.length, faults };
}

/** Return why there is no list of fields; null where there is one. */
export function fieldsFault() {
  return unread;
}

/** Fill the list of fields, for the index that is chosen. Returns what could not be read. */
export async function fillFields() {
  byId("other-index").hidden = byId("index").value !== OTHER;
  if (!index()) {
    setOptions(byId("field"), []);
    return [];
  }
  try {
    const fields = await catalogue.textFields(index());
    const field = wanted.field || byId("field").value;
    if (field && !fields.some(({ value }) => value === field)) {
      if (wanted.field) fields.push({ value: field, label: `${field} (not in the mapping)` });
    }
    setOptions(byId("field"), fields, field);
    wanted.field = "";
    unread = null;
    return [];
  } catch (fault) {
    unread = fault;
    setOptions(byId("field"), wanted.field ? [{ value: wanted.field }] : []);
    return [fault];
  }
}

function fillIndices(indices) {
  const name = wanted.index || index();
  const known = indices.some(({ value }) => value === name);
  const options = [...indices, { value: OTHER, label: "another one …" }];
  setOptions(byId("index"), options, known || !name ? name : OTHER);
  byId("other-index").value = known ? "" : name;
}

function index() {
  const chosen = byId("index").value;
  return chosen === OTHER ? byId("other-index").value.trim() : chosen;
}

function whole(id, usual, most) {
  const number = Number.parseInt(byId(id).value, 10);
  return Number.isInteger(number) && number >= 1 ? Math.min(number, most) : usual;
}
