// What went wrong, for people: what, where, and what to do about it.

const MAX_DEPTH = 10;
const MAX_CAUSES = 6;
/** `[3:14]`, as Elasticsearch's parsers of bodies say it, or `line: 3, column: 14`, as that of JSON does. */
const PLACE = /(\[(?=\d+:\d+\])|line: )(\d+)(:|, column: )(\d+)/g;

/** Something that failed, as Elasticsearch, the proxy or the browser told it. */
export class Fault extends Error {
  constructor({ status = null, type = null, reason, causes = [], where = null }) {
    super(reason);
    Object.assign(this, { status, type, reason, causes, where });
  }

  /** Return the fault with the places in what was sent as places in what was written, where that begins there. */
  in({ line, column }) {
    const moved = (text) =>
      text.replace(PLACE, (_, opens, row, between, at) => `${opens}${+row + line}${between}${+at + (+row === 1 ? column : 0)}`);
    return new Fault({ ...this, reason: moved(this.reason), causes: this.causes.map(moved) });
  }
}

/** Return the fault of an answer in Elasticsearch's form, or of one in any other. */
export function faultOf(status, body, where) {
  const error = body?.error;
  if (typeof error === "string") return new Fault({ status, reason: error, where });
  if (!error || typeof error !== "object") {
    return new Fault({ status, reason: `The answer has status ${status}, and no error in it.`, where });
  }
  const causes = [];
  for (const each of within(error)) {
    if (causes.length === MAX_CAUSES) break;
    const line = each.reason && `${each.type ?? "error"}: ${each.reason}`;
    if (line && each.reason !== error.reason && !causes.includes(line)) causes.push(line);
  }
  const reason = error.reason || error.type || `status ${status}`;
  return new Fault({ status, type: error.type ?? null, reason, causes, where });
}

/** Say what to do about a fault; null where only its own words help. */
export function remedy({ status, type, reason, causes }) {
  if (status === 401) return "Sign in with credentials that Elasticsearch knows: the button is at the top right.";
  if (type === "security_exception" || status === 403) {
    return "Sign in as someone who may read the index (privilege read), and its mapping (view_index_metadata).";
  }
  if (type === "index_not_found_exception") return "Choose another index, or make this one first.";
  if ([reason, ...causes].some((each) => /inference endpoint/i.test(each))) {
    return "Choose another endpoint. `rerank-proxy endpoints list` shows those that there are.";
  }
  if (type === "parsing_exception" || type === "x_content_parse_exception" || type === "json_parse_exception") {
    return "Correct the body where the message says it.";
  }
  if (status === 429) return "The proxy has more to do than it can in time: try again, or with a smaller window.";
  if (status === 504) return "It took too long: try again, or with a smaller window. The first search may load a model.";
  if (status === 502 || status === 503) return "See the status page for what is not running.";
  if (status === 413) return "Make the body smaller.";
  if (status === 0) return "Is the proxy running? Try again; the address of this page is its admin port.";
  return null;
}

/** Go through what an error has inside of it, wherever Elasticsearch puts it. */
function* within(error, depth = 0) {
  if (depth > MAX_DEPTH) return;
  const shards = (error.failed_shards ?? []).map((failed) => failed?.reason);
  for (const each of [...(error.root_cause ?? []), ...(error.suppressed ?? []), ...shards, error.caused_by]) {
    if (each === null || typeof each !== "object") continue;
    yield each;
    yield* within(each, depth + 1);
  }
}
