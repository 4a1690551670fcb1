// What is sent for a search: the plain one, and one for each side that reranks. Pure.

import { plainBody, rerankers, withEndpoint, withMarks } from "./bodies.js";

/** The endpoint of searches that name none. */
const DEFAULT_ENDPOINT = ".rerank-v1-elasticsearch";

/**
 * Return `{path, field, plain, unmarked, sides}` for a state of the form and its search.
 *
 * plain is a text to send, and unmarked the same search for where terms cannot be marked; a side is `{key, title, body, text}`. field is the one that is scored.
 */
export function plan(state, search) {
  const field = rerankers(search)[0]?.field ?? "";
  const searched = state.mode === "query" ? state.fields.split(",").map((each) => each.trim()) : [];
  const fields = [...new Set([...rerankers(search).map((spec) => spec.field), ...searched])].filter(Boolean);
  const plain = plainBody(search);
  const sides = [["a", state.a], ...(state.b === "" ? [] : [["b", state.b]])].map(([key, endpoint]) => side(key, endpoint, state, search));
  if (sides.length === 2 && sides[0].title === sides[1].title) sides[1].title += " (again)";
  return { path: pathOf(state.index), field, plain: JSON.stringify(withMarks(plain, fields)), unmarked: JSON.stringify(plain), sides };
}

function side(key, endpoint, state, search) {
  const body = withEndpoint(search, endpoint);
  const asWritten = endpoint === "" && state.mode === "body" && search.retriever !== undefined && isWhole(state.body);
  return {
    key,
    title: endpoint || rerankers(search)[0]?.inference_id || DEFAULT_ENDPOINT,
    body,
    text: asWritten ? state.body : JSON.stringify(body, null, 2),
  };
}

/** A bare retriever is not yet a search. */
function isWhole(text) {
  return JSON.parse(text).retriever !== undefined;
}

/** Names with commas and stars stay as Elasticsearch reads them. */
function pathOf(index) {
  return `/${encodeURIComponent(index).replaceAll("%2C", ",")}/_search`;
}
