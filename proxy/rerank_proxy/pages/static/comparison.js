// One search, seen from several sides: plain, and reranked by one endpoint or two. Pure.

/**
 * Return the columns of a comparison.
 *
 * plain: the answer of the plain search. sides: `[{key, title, answer, record}]`, the reranked ones. shown: how many
 * places of each column are looked at; a document that has one of them in any column is shown in all that have it.
 *
 * A column is `{key, title, entries, outside, lowest, highest}`. An entry is a document with its `place` from 1 in that
 * column (null: left out), `score`, `first` (the place in the plain column), `firstScore`, `hit`, `doc` (of the
 * record), and `skippedBefore`, how many places stand between it and the entry above.
 */
export function compare(plain, sides, shown) {
  const first = placed(plain.hits?.hits ?? [], 0);
  const columns = [
    { key: "plain", title: "Plain", documents: first },
    ...sides.map((side) => ({ ...side, documents: reranked(side) })),
  ];
  const wanted = new Set();
  for (const { documents } of columns) {
    for (const [key, { place }] of documents) if (place !== null && place <= shown) wanted.add(key);
  }
  return columns.map((column) => laidOut(column, first, wanted));
}

/** Return the reranker of a record whose order is the answer's: the outermost of the tree. */
export function outermost(record) {
  const found = record?.searches?.[0]?.rerankers ?? [];
  return found.length === 0 ? null : found[found.length - 1];
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
    documents.set(keyOf(hit._index, hit._id), { hit, place: from + at + 1, score: hit._score ?? null, doc: null });
  });
  return documents;
}

/** The hits of the answer, and what only the record knows: those behind the last hit, and those left out. */
function reranked({ answer, record, from = 0 }) {
  const documents = placed(answer.hits?.hits ?? [], from);
  for (const doc of outermost(record)?.docs ?? []) {
    const key = keyOf(doc.index, doc.id);
    const known = documents.get(key);
    if (known === undefined) documents.set(key, { hit: null, place: doc.after, score: doc.score, doc });
    else known.doc = doc;
  }
  return documents;
}

function laidOut(column, first, wanted) {
  const entries = [];
  const outside = [];
  for (const [key, { hit, place, score, doc }] of column.documents) {
    const original = first.get(key);
    if (place !== null && !wanted.has(key)) continue;
    if (place === null && !isNear(original, wanted, key)) continue;
    const entry = {
      key,
      hit: hit ?? original?.hit ?? null,
      plainHit: original?.hit ?? null,
      id: hit?._id ?? doc?.id ?? "",
      place,
      score,
      first: original?.place ?? doc?.before ?? null,
      firstScore: original?.score ?? doc?.first_score ?? null,
      doc,
      skippedBefore: 0,
    };
    (place === null ? outside : entries).push(entry);
  }
  entries.sort((one, other) => one.place - other.place);
  let above = 0;
  for (const entry of entries) {
    entry.skippedBefore = Math.max(0, entry.place - above - 1);
    above = entry.place;
  }
  outside.sort((one, other) => (one.first ?? Infinity) - (other.first ?? Infinity));
  const scores = [...column.documents.values()].map(({ score }) => score).filter(Number.isFinite);
  const { documents, ...rest } = column;
  return {
    ...rest,
    entries: [...entries, ...outside],
    count: documents.size,
    lowest: Math.min(...scores),
    highest: Math.max(...scores),
  };
}

/** Of what was left out, only what someone would miss is shown: documents that are shown in another column. */
function isNear(original, wanted, key) {
  return original !== undefined && wanted.has(key);
}
