// What a model saw of a text: the text, where it was cut, its chunks and their scores.
//
// A record counts characters as code points, and JavaScript's strings are of UTF-16: texts are cut as arrays of
// code points.

import { element } from "./dom.js";
import { pieces } from "./marks.js";
import { counted, score, whole } from "./numbers.js";

/** Return the drawing of a document of a record. */
export function seen(recorded, words) {
  const points = Array.from(recorded.text);
  const doc = { ...recorded, length: points.length, part: (from, to) => points.slice(from, to).join("") };
  return element(
    "div",
    { class: "seen-text" },
    element("p", { class: "small quiet" }, sizes(doc)),
    doc.chunks?.length > 0 ? chunks(doc, words) : uncut(doc, words),
    doc.length < doc.characters &&
      element("p", { class: "small quiet" }, `Not shown here: ${counted(doc.characters - doc.length, "further character")}.`),
  );
}

function sizes({ characters, tokens, cut_at: cut }) {
  const all = counted(characters, "character");
  const read = tokens === null || tokens === undefined ? "" : `, ${counted(tokens, "token")}`;
  if (cut === null || cut === undefined) return `${all}${read}`;
  return `The first ${whole(cut)} of ${all}${read}. The rest is beyond what the model takes.`;
}

function uncut({ part, length, cut_at: cut }, words) {
  if (cut === null || cut === undefined || cut >= length) return element("p", {}, ...marked(part(), words));
  return element(
    "p",
    {},
    ...marked(part(0, cut), words),
    element("span", { class: "cut-here" }, "cut here"),
    element("del", {}, part(cut)),
  );
}

function chunks({ part, length, chunks: all, cut_at: cut }, words) {
  const best = Math.max(...all.map((chunk) => chunk.score ?? -Infinity));
  const read = element(
    "ol",
    { class: "chunks" },
    all.map((chunk, at) => {
      const name = `Chunk ${at + 1}, characters ${whole(chunk.start)} to ${whole(chunk.end)}`;
      const points = chunk.score === null || chunk.score === undefined ? "not scored" : `score ${score(chunk.score)}`;
      const counts = chunk.score === best && all.length > 1;
      return element(
        "li",
        { class: counts ? "best" : null },
        element("p", { class: "small quiet" }, `${name}: ${points}`, counts && element("strong", {}, " – the best one counts")),
        element("p", {}, ...marked(part(chunk.start, chunk.end), words)),
      );
    }),
  );
  if (cut === null || cut === undefined || cut >= length) return read;
  return element("div", {}, read, element("p", {}, element("span", { class: "cut-here" }, "cut here"), element("del", {}, part(cut))));
}

/** Return a text with its matched words marked. */
export function marked(text, words) {
  return pieces(text, words).map((piece) => (piece.matched ? element("mark", {}, piece.text) : piece.text));
}
