// What a model saw of a text: the text, where it was cut, its chunks and their scores, and what it read around it.
//
// A record counts characters as code points, and JavaScript's strings are of UTF-16.

import { drawn, element } from "./dom.js";
import { pieces, within } from "./marks.js";
import { counted, score, whole } from "./numbers.js";
import { capitalised } from "./texts.js";

/**
 * Return the drawing of a document of a reranker of a record.
 *
 * ranges: the marked ones of its text. about: `{frames, name}`: those of the reranker, and its name if it is one of several.
 */
export function seen(recorded, ranges, { frames, name }) {
  const ends = [0];
  for (const point of recorded.text) ends.push(ends.at(-1) + point.length);
  const place = (at) => ends[Math.min(at, ends.length - 1)];
  const doc = { ...recorded, length: ends.length - 1, part: (from, to = Infinity) => part(recorded.text, ranges, place(from), place(to)) };
  return element(
    "div",
    { class: "seen-text", tabindex: "0", role: "region", "aria-label": `What ${name ?? "the model"} saw` },
    element("p", { class: "small quiet" }, name && `${capitalised(name)}: `, sizes(doc)),
    extent(doc),
    doc.chunks?.length > 0 ? chunks(doc) : uncut(doc),
    doc.length < doc.characters &&
      element("p", { class: "small quiet" }, `Not shown here: ${counted(doc.characters - doc.length, "further character")}.`),
    framed(frames?.[doc.frame]),
  );
}

/** Return a part of a text with its marks. */
function part(text, ranges, from, to) {
  return marked(text.slice(from, to), within(ranges, from, to));
}

/** Say what the model read before and after the text: the question, prompts, special tokens. */
function framed(frame) {
  if (frame === undefined) return null;
  const [before, after, apart] = frame.map((text) => text && element("code", { dir: "auto" }, text));
  return element(
    "p",
    { class: "small quiet frame" },
    "In tokens the model reads: ",
    before,
    " the text ",
    after,
    apart && ", and of the question ",
    apart,
  );
}

/** Say in a few words how much of a text the model saw; null where that is all of it, or not known. */
export function seenPart({ characters, cut_at: cut, chunks: all }) {
  if (all?.length > 0) {
    const cut = all.filter((chunk) => (chunk.cut_at ?? chunk.end) < chunk.end).length;
    return `${counted(all.length, "chunk")} of the text${cut > 0 ? `, ${whole(cut)} of them cut` : ""}`;
  }
  return cut === null || cut === undefined ? null : `${whole(cut)} of ${whole(characters)}`;
}

function sizes({ characters, tokens, cut_at: cut, chunks: parts }) {
  const all = counted(characters, "character");
  const isKnown = tokens !== null && tokens !== undefined;
  const read = isKnown ? `, read as ${counted(tokens, "token")} with what stands around it` : "";
  if (parts?.length > 0) return `${counted(parts.length, "chunk")} of a text of ${all}${read}.`;
  if (!isKnown) return `${all} were sent to the model. How much of them it read is not known.`;
  if (cut === null || cut === undefined) return `${all}${read}.`;
  return `The first ${whole(cut)} of ${all}${read}. The rest is beyond what the model takes.`;
}

/** Draw which parts of the whole text the model read: all of it, its beginning, or some chunks. */
function extent({ characters, cut_at: cut, chunks: all }) {
  const inChunks = all?.length > 0;
  const end = inChunks ? characters : (cut ?? characters);
  const spans = inChunks ? all.map((chunk) => ({ ...chunk, end: chunk.cut_at ?? chunk.end })) : [{ start: 0, end }];
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

function uncut({ part, length, cut_at: cut }) {
  if (cut === null || cut === undefined || cut >= length) return element("p", { dir: "auto" }, ...part(0));
  return element("p", { dir: "auto" }, ...part(0, cut), ...leftOut(part(cut)));
}

function leftOut(rest) {
  return [element("span", { class: "cut-here" }, "cut here"), element("del", {}, ...rest)];
}

function chunks({ part, length, chunks: all }) {
  const best = bestOf(all);
  return element(
    "ol",
    { class: "chunks" },
    all.map((chunk, at) => {
      const name = `Chunk ${at + 1}, characters ${whole(chunk.start)} to ${whole(chunk.end)}`;
      const points = chunk.score === null || chunk.score === undefined ? "not scored" : `score ${score(chunk.score)}`;
      const counts = at === best && all.length > 1;
      const cut = chunk.cut_at ?? chunk.end;
      return element(
        "li",
        { class: counts ? "best" : null },
        element("p", { class: "small quiet" }, `${name}: ${points}`, counts && element("strong", {}, " – the best one counts")),
        element("p", { dir: "auto" }, ...part(chunk.start, cut), ...(cut < chunk.end ? leftOut(part(cut, chunk.end)) : []), chunk.end > length && "…"),
      );
    }),
  );
}

/** Return which chunk counts: the first of those with the highest score. */
function bestOf(all) {
  const scores = all.map((chunk) => chunk.score ?? -Infinity);
  return scores.indexOf(Math.max(...scores));
}

/** Return a text with its ranges marked. */
export function marked(text, ranges) {
  return pieces(text, ranges).map((piece) => (piece.matched ? element("mark", {}, piece.text) : piece.text));
}
