// One search, seen from several sides: plain, and reranked by one endpoint or two. Pure.

import { ranksLast } from "./bodies.js";

/**
 * Return the columns of a comparison.
 *
 * plain: the answer of the plain search. sides: `[{key, title, answer, record, body}]`, the reranked ones. A document
 * that has one of the places that the search asks for, in any column, is shown in all.
 *
 * A column is `{key, title, ranker, entries, lowest, highest}`; ranker is the reranker of the record whose order is
 * that of the hits, null where something else has ordered them. An entry is a document with its `place` from 1 in that
 * column (null: it has none, and `why` says why), `score`, `first` (the place in the plain column), `firstScore`,
 * `hit`, `plainHit`, `ranked` (`[{reranker, doc}]`: what each reranker of the record made of it), and `skippedBefore`,
 * how many places stand between it and the entry above.
 */
export function compare(plain, sides) {
  const first = placed(plain.hits?.hits ?? [], 0);
  const columns = [
    { key: "plain", title: "Plain", ranker: null, documents: first },
    ...sides.map((side) => ({ ...side, ...reranked(side) })),
  ];
  const { from = 0, size = 10 } = sides[0].body;
  const wanted = new Set();
  for (const { documents } of columns) {
    for (const [key, { place }] of documents) if (place !== null && place > from && place <= from + size) wanted.add(key);
  }
  return columns.map((column) => laidOut(column, first, wanted));
}

/** Return all rerankers of a record in the order in which they began: the outermost is the last one. */
export function rerankersOf(record) {
  return [...(record?.searches?.[0]?.rerankers ?? [])].sort((one, other) => one.number - other.number);
}

/** Return what tells one reranker of a record from the others. */
export function nameOf({ number }) {
  return `reranker ${number}`;
}

/** Return whose scores the hits of a reranked column have: the model's, or those of what stands above it. */
export function scoreNameOf({ ranker }) {
  return ranker?.outcome === "applied" ? "model’s score" : "final score";
}

/** Return what became of a document: `up`, `down`, `same`, `out`, `new`, and by how many places. */
export function move(before, after) {
  if (after === null || after === undefined) return { kind: "out", by: 0 };
  if (before === null || before === undefined) return { kind: "new", by: 0 };
  if (before === after) return { kind: "same", by: 0 };
  return after < before ? { kind: "up", by: before - after } : { kind: "down", by: after - before };
}

/** Say how many documents of a column moved which way. */
export function summary(column) {
  const counts = { up: 0, down: 0, same: 0, out: 0, new: 0 };
  for (const entry of column.entries) counts[move(entry.first, entry.place).kind] += 1;
  return counts;
}

export function keyOf(index, id) {
  return `${index}\u0000${id}`;
}

function placed(hits, from) {
  const documents = new Map();
  hits.forEach((hit, at) => {
    documents.set(keyOf(hit._index, hit._id), { hit, place: from + at + 1, score: hit._score ?? null, ranked: [] });
  });
  return documents;
}

/** The hits of the answer, and what only the record knows: those behind the last hit, and those left out. */
function reranked({ answer, record, body }) {
  const { from = 0, size = 10 } = body;
  const documents = placed(answer.hits?.hits ?? [], from);
  const rerankers = rerankersOf(record);
  const ranked = byDocument(rerankers);
  for (const [key, document] of documents) document.ranked = ranked.get(key) ?? [];
  const ranker = ordering(rerankers.at(-1), body, documents);
  const [last, isAll] = [from + documents.size, documents.size < size];
  for (const doc of ranker?.docs ?? []) {
    const key = keyOf(doc.index, doc.id);
    if (documents.has(key)) continue;
    // One that should stand among the hits, or before their end, was left out by something else.
    const isBehind = doc.after !== null && (doc.after <= from || (doc.after > last && !isAll)) && !isTooLow(doc, body);
    documents.set(key, {
      hit: null,
      place: isBehind ? doc.after : null,
      score: doc.score,
      why: whyOut(doc, body),
      ranked: ranked.get(key),
    });
  }
  const inWindow = ranker !== null && !record.cut;
  return { ranker, documents, missing: inWindow ? "not in the window" : isAll ? "not among the hits" : `not among the first ${last}`, ranked };
}

/** Return what rerankers made of each document, those further down first. */
function byDocument(rerankers) {
  const found = new Map();
  for (const reranker of rerankers) {
    for (const doc of reranker.docs) {
      const key = keyOf(doc.index, doc.id);
      found.set(key, [...(found.get(key) ?? []), { reranker, doc }]);
    }
  }
  return found;
}

/** Return a reranker if the hits are in its order, which other parts of a search may change; else null. */
function ordering(reranker, body, documents) {
  if (reranker === undefined || !ranksLast(body)) return null;
  const places = new Map(reranker.docs.map((doc) => [keyOf(doc.index, doc.id), doc.after]));
  return [...documents].every(([key, { place }]) => (places.get(key) ?? place) === place) ? reranker : null;
}

function whyOut(doc, body) {
  if (doc.dropped || isTooLow(doc, body)) return "score below the lowest";
  return doc.text === null ? "no text in the field" : "not among the hits";
}

function isTooLow({ score }, { min_score: lowest }) {
  return typeof lowest === "number" && score !== null && score < lowest;
}

function laidOut(column, first, wanted) {
  const { documents, missing, ranked, ...rest } = column;
  const entries = [];
  const outside = [];
  for (const key of wanted) {
    const original = first.get(key);
    const known = documents.get(key) ?? (missing && original && { hit: null, place: null, score: null, why: missing, ranked: ranked.get(key) ?? [] });
    if (!known || (known.place === null && original === undefined)) continue;
    (known.place === null ? outside : entries).push(entryOf(key, known, original));
  }
  entries.sort((one, other) => one.place - other.place);
  let above = 0;
  for (const entry of entries) {
    entry.skippedBefore = Math.max(0, entry.place - above - 1);
    above = entry.place;
  }
  outside.sort((one, other) => (one.first ?? Infinity) - (other.first ?? Infinity));
  const scores = [...documents.values()].map(({ score }) => score).filter(Number.isFinite);
  return {
    ...rest,
    entries: [...entries, ...outside],
    count: documents.size,
    lowest: Math.min(...scores),
    highest: Math.max(...scores),
  };
}

function entryOf(key, { hit, place, score, why, ranked }, original) {
  return {
    key,
    hit: hit ?? original?.hit ?? null,
    plainHit: original?.hit ?? null,
    id: hit?._id ?? ranked[0]?.doc.id ?? original?.hit?._id ?? "",
    place,
    score,
    why,
    first: original?.place ?? null,
    firstScore: original?.score ?? null,
    ranked,
    skippedBefore: 0,
  };
}
