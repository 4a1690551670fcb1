// What a model saw of a text: the text, where it was cut, its chunks and their scores.
//
// A record counts characters as code points, and JavaScript's strings are of UTF-16: texts are cut as arrays of
// code points.

import { drawn, element } from "./dom.js";
import { pieces } from "./marks.js";
import { counted, score, whole } from "./numbers.js";

/** Return the drawing of a document of a record. */
export function seen(recorded, words) {
  const points = Array.from(recorded.text);
  const doc = { ...recorded, length: points.length, part: (from, to) => points.slice(from, to).join("") };
  return element(
    "div",
    { class: "seen-text", tabindex: "0", role: "region", "aria-label": "What the model saw" },
    element("p", { class: "small quiet" }, sizes(doc)),
    extent(doc),
    doc.chunks?.length > 0 ? chunks(doc, words) : uncut(doc, words),
    doc.length < doc.characters &&
      element("p", { class: "small quiet" }, `Not shown here: ${counted(doc.characters - doc.length, "further character")}.`),
  );
}

/** Say in a few words how much of a text the model saw; null where that is all of it, or not known. */
export function seenPart({ characters, cut_at: cut, chunks: all }) {
  if (all?.length > 0) return `${counted(all.length, "chunk")} of the text`;
  return cut === null || cut === undefined ? null : `${whole(cut)} of ${whole(characters)}`;
}

function sizes({ characters, tokens, cut_at: cut, chunks: parts }) {
  const all = counted(characters, "character");
  const read = tokens === null || tokens === undefined ? "" : `, ${counted(tokens, "token")}`;
  if (parts?.length > 0) return `${counted(parts.length, "chunk")} of a text of ${all}${read}.`;
  if (cut === null || cut === undefined) return `${all}${read}`;
  return `The first ${whole(cut)} of ${all}${read}. The rest is beyond what the model takes.`;
}

/** Draw which parts of the whole text the model read: all of it, its beginning, or some chunks. */
function extent({ characters, cut_at: cut, chunks: all }) {
  const inChunks = all?.length > 0;
  const end = inChunks ? characters : (cut ?? characters);
  const spans = inChunks ? all : [{ start: 0, end }];
  const best = bestOf(spans);
  const share = (at) => (100 * Math.min(at, characters)) / Math.max(1, characters);
  return drawn(
    "svg",
    { class: "extent", width: "100%", height: 8, "aria-hidden": "true" },
    drawn("rect", { class: "text", x: "0.1%", y: 0.5, width: "99.8%", height: 7, rx: 2 }),
    ...spans.map((span, at) => {
      const until = Math.max(span.start, Math.min(span.end, end));
      const kind = at !== best ? "read other" : "read";
      return drawn("rect", { class: kind, x: `${share(span.start)}%`, y: 0, width: `${share(until) - share(span.start)}%`, height: 8, rx: 2 });
    }),
    end < characters && drawn("rect", { class: "cut", x: `${share(end)}%`, y: 0, width: 2, height: 8 }),
  );
}

function uncut({ part, length, cut_at: cut }, words) {
  if (cut === null || cut === undefined || cut >= length) return element("p", { dir: "auto" }, ...marked(part(), words));
  return element(
    "p",
    { dir: "auto" },
    ...marked(part(0, cut), words),
    element("span", { class: "cut-here" }, "cut here"),
    element("del", {}, part(cut)),
  );
}

function chunks({ part, chunks: all }, words) {
  const best = bestOf(all);
  return element(
    "ol",
    { class: "chunks" },
    all.map((chunk, at) => {
      const name = `Chunk ${at + 1}, characters ${whole(chunk.start)} to ${whole(chunk.end)}`;
      const points = chunk.score === null || chunk.score === undefined ? "not scored" : `score ${score(chunk.score)}`;
      const counts = at === best && all.length > 1;
      return element(
        "li",
        { class: counts ? "best" : null },
        element("p", { class: "small quiet" }, `${name}: ${points}`, counts && element("strong", {}, " – the best one counts")),
        element("p", { dir: "auto" }, ...marked(part(chunk.start, chunk.end), words)),
      );
    }),
  );
}

/** Return which chunk counts: the first of those with the highest score. */
function bestOf(all) {
  const scores = all.map((chunk) => chunk.score ?? -Infinity);
  return scores.indexOf(Math.max(...scores));
}

/** Return a text with its matched words marked. */
export function marked(text, words) {
  return pieces(text, words).map((piece) => (piece.matched ? element("mark", {}, piece.text) : piece.text));
}
