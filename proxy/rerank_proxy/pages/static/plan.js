// What is sent for a search: the plain one, and one for each side that reranks. Pure.

import { plainBody, rerankers, withEndpoint, withMarks } from "./bodies.js";
import { writeJson } from "./json_text.js";

const WRAP = ['{"retriever":', "}"];
/** The endpoint of searches that name none. */
const DEFAULT_ENDPOINT = ".rerank-v1-elasticsearch";

/**
 * Return `{path, field, plain, unmarked, sides}` for a state of the form and its search.
 *
 * plain is a text to send, and unmarked the same search for where terms cannot be marked; a side is
 * `{key, title, body, text, begins, asWritten}`, where begins is the place of the text's first character in what was
 * written, and asWritten is `{text, begins}` without the side's endpoint, where that is another text. field is the one
 * that is scored.
 */
export function plan(state, search) {
  const field = rerankers(search)[0]?.field ?? "";
  const searched = state.mode === "query" ? state.fields.split(",").map((each) => each.trim()) : [];
  const fields = [...new Set([...rerankers(search).map((spec) => spec.field), ...searched])].filter(Boolean);
  const plain = plainBody(search);
  const sides = [["a", state.a], ...(state.b === "" ? [] : [["b", state.b]])].map(([key, endpoint]) => side(key, endpoint, state, search));
  if (sides.length === 2 && sides[0].title === sides[1].title) sides[1].title += " (again)";
  return { path: pathOf(state.index), field, plain: writeJson(withMarks(plain, fields)), unmarked: writeJson(plain), sides };
}

function side(key, endpoint, state, search) {
  const body = withEndpoint(search, endpoint);
  return {
    key,
    title: endpoint || rerankers(search)[0]?.inference_id || DEFAULT_ENDPOINT,
    body,
    ...sent(state, body, endpoint),
    asWritten: state.mode === "body" && endpoint !== "" ? sent(state, body, "") : null,
  };
}

/**
 * Return the text to send, and where it begins in what was written, so that lines and columns of faults are those
 * of who wrote it. A bare retriever is not yet a search: what makes it one stands around it, on its own lines.
 */
function sent(state, body, endpoint) {
  if (state.mode === "query") return { text: JSON.stringify(body, null, 2), begins: { line: 0, column: 0 } };
  const [opens, closes] = JSON.parse(state.body).retriever === undefined ? WRAP : ["", ""];
  const own = opens === "" ? body : body.retriever;
  const written = endpoint === "" ? state.body : writeJson(own, 2);
  const lead = written.slice(0, written.length - written.trimStart().length); // is not sent on
  const column = lead.length - (lead.lastIndexOf("\n") + 1) - opens.length;
  return { text: opens + written.trim() + closes, begins: { line: lead.split("\n").length - 1, column } };
}

/** Names with commas and stars stay as Elasticsearch reads them. */
function pathOf(index) {
  return `/${encodeURIComponent(index).replaceAll("%2C", ",")}/_search`;
}
