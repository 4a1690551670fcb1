// The bodies of searches: with rerankers, and the same without. Pure.

const RERANKER = "text_similarity_reranker";
const USUAL_SIZE = 10;
/** Those that search by themselves. */
const LEAVES = new Set(["standard", "knn"]);
/** A few sentences each: short enough for every model, and to see which part of a text answers. */
const CHUNKS = { size: 3, chunking_settings: { strategy: "sentence", max_chunk_size: 80, sentence_overlap: 0 } };
/** Stand before and after a matched term in highlights: characters for private use, that no text means. */
export const OPENS = "\uE000";
export const CLOSES = "\uE001";

/** Return the reranked search that the simple form asks for. */
export function simpleBody({ query, words, field, fields, window, size, minScore, chunks }) {
  const matching = fields.length > 1
    ? { multi_match: { query: words || query, fields } }
    : { match: { [fields[0] ?? field]: words || query } };
  return {
    retriever: {
      [RERANKER]: {
        retriever: { standard: { query: matching } },
        field,
        inference_text: query,
        rank_window_size: window,
        ...(minScore === null ? {} : { min_score: minScore }),
        ...(chunks ? { chunk_rescorer: CHUNKS } : {}),
      },
    },
    size,
  };
}

/** Return a search from what someone wrote: a search, or a bare retriever. Throws a SyntaxError with the reason. */
export function readSearch(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new SyntaxError("A search is an object: { … }.");
  }
  const search = value.retriever === undefined && isRetriever(value) ? { retriever: value } : value;
  if (rerankers(search).length === 0) {
    throw new SyntaxError(`There is no ${RERANKER} in it: nothing would be reranked.`);
  }
  return search;
}

/** Return the rerankers of a search, the outermost first. */
export function rerankers(search) {
  const found = [];
  visit(search.retriever, (type, spec) => type === RERANKER && found.push(spec));
  return found;
}

/** Return the search with another endpoint for its outermost reranker. */
export function withEndpoint(search, endpoint) {
  if (!endpoint) return search;
  const copy = structuredClone(search);
  const [outermost] = rerankers(copy);
  if (outermost !== undefined) outermost.inference_id = endpoint;
  return copy;
}

/** Return whether the order of a search's hits is a reranker's: none of its retrievers is above that. */
export function ranksLast(search) {
  return entry(search.retriever)[0] === RERANKER;
}

/** Return the search without its rerankers, for all that they look at. */
export function plainBody(search) {
  const { min_score: _lowest, from = 0, aggs: _aggs, aggregations: _aggregations, ...copy } = structuredClone(search);
  const retriever = unranked(copy.retriever);
  const windows = rerankers(search).map((spec) => Number(spec.rank_window_size ?? USUAL_SIZE));
  return {
    ...copy,
    retriever,
    size: Math.min(Math.max(Number(copy.size ?? USUAL_SIZE) + Number(from), ...windows), mostOf(retriever)),
  };
}

/** Return a search that marks the terms by which it finds the hits. */
export function withMarks(search, fields) {
  return {
    ...search,
    highlight: {
      pre_tags: [OPENS],
      post_tags: [CLOSES],
      number_of_fragments: 0,
      max_analyzed_offset: -1, // as far as the index allows it
      fields: Object.fromEntries(fields.map((field) => [field, {}])),
    },
  };
}

/** Return how many hits a retriever can be asked for: those that combine others refuse more than their window. */
function mostOf(retriever) {
  const [type, spec] = entry(retriever);
  if (type === "rescorer") return Math.min(...[spec.rescore].flat().map((each) => Number(each?.window_size ?? USUAL_SIZE)));
  return spec === undefined || LEAVES.has(type) ? Infinity : Number(spec.rank_window_size ?? USUAL_SIZE);
}

function unranked(retriever) {
  const [type, spec] = entry(retriever);
  if (spec === undefined) return retriever;
  if (type === RERANKER) return unranked(filteredToo(spec.retriever, spec.filter));
  return { [type]: mapChildren(spec, unranked) };
}

/** The filters of a reranker are added to those of its child. */
function filteredToo(retriever, filter) {
  const [type, spec] = entry(retriever);
  if (filter === undefined || spec === undefined) return retriever;
  return { [type]: { ...spec, filter: [spec.filter ?? [], filter].flat() } };
}

function mapChildren(spec, change) {
  const changed = { ...spec };
  if (spec.retriever !== undefined) changed.retriever = change(spec.retriever);
  if (Array.isArray(spec.retrievers)) {
    changed.retrievers = spec.retrievers.map((each) =>
      each?.retriever === undefined ? change(each) : { ...each, retriever: change(each.retriever) },
    );
  }
  return changed;
}

function visit(retriever, see) {
  const [type, spec] = entry(retriever);
  if (spec === undefined) return;
  see(type, spec);
  mapChildren(spec, (child) => {
    visit(child, see);
    return child;
  });
}

function entry(retriever) {
  const [found] = Object.entries(retriever ?? {}).filter(([, spec]) => spec !== null && typeof spec === "object");
  return found ?? [];
}

function isRetriever(value) {
  const [type, spec] = entry(value);
  if (type === undefined || Object.keys(value).length !== 1) return false;
  return type === RERANKER || (spec.retriever ?? spec.retrievers) !== undefined;
}
