// One hit of a column: its place and how it moved, its scores as bars, its text, and what the model saw of it.

import { move, nameOf, scoreNameOf } from "./comparison.js";
import { element } from "./dom.js";
import { excerpt, highlighted, rangesIn } from "./marks.js";
import { counted, score } from "./numbers.js";
import { marked, seen, seenPart } from "./seen.js";
import { capitalised, textOf, titleOf } from "./texts.js";

const EXCERPT = 170;
const SIGNS = { up: "▲", down: "▼", same: "=", new: "new", out: "out" };

/**
 * Return the list item of an entry.
 *
 * about: `{column, plain, field}`: its column, the plain one, the field that was scored.
 */
export function hitItem(entry, about) {
  const { column, field } = about;
  const ranked = column.key !== "plain";
  const text = textOf(entry.hit, field) || (docOf(entry, column)?.text ?? "");
  const short = excerpt(text, rangesIn(text, entry.plainHit, field), EXCERPT);
  return element(
    "li",
    { class: entry.place === null ? "hit outside" : "hit" },
    element("span", { class: "place" }, entry.place === null ? "✕" : String(entry.place)),
    element(
      "div",
      { class: "what" },
      element("div", { class: "top" }, element("h4", { dir: "auto" }, titleOf(entry.hit, entry.id)), ranked && badge(entry)),
      ...scoresAndTexts(entry, about, element("p", { class: "excerpt", dir: "auto" }, ...marked(short.text, short.ranges))),
      ...(ranked || short.ranges.length > 0 ? [] : otherFields(entry, field)),
    ),
  );
}

/** Say where a hit came from, in words. */
export function moveInWords(entry) {
  const { kind, by } = move(entry.first, entry.place);
  if (kind === "out") return `${entry.why}, was ${entry.first}`;
  if (kind === "new") return "not among the plain hits";
  if (kind === "same") return "at its place";
  return `${kind} ${counted(by, "place")}, was ${entry.first}`;
}

function badge(entry) {
  const { kind, by } = move(entry.first, entry.place);
  return element(
    "span",
    { class: `move ${kind}`, title: moveInWords(entry) },
    element("span", { "aria-hidden": "true" }, by === 0 ? SIGNS[kind] : `${SIGNS[kind]} ${by}`),
    element("span", { class: "unseen" }, moveInWords(entry)),
  );
}

function scores(entry, { column, plain }) {
  const first = ["first", "first stage’s score", entry.firstScore, plain];
  const model = ["model", scoreNameOf(column), entry.score, column];
  const shown = column.key === "plain" ? [first] : [model, first];
  return element(
    "dl",
    { class: "scores" },
    shown.filter(([, , value]) => value !== null && value !== undefined).map(([kind, name, value, scale]) =>
      element("div", {}, element("dt", { class: "unseen" }, capitalised(name)), element("dd", {}, bar(kind, value, scale), score(value))),
    ),
    docOf(entry, column)?.cached && !isAllCached(column.ranker) && element("div", {}, element("dt", { class: "unseen" }, "Score"), element("dd", { class: "chip" }, "cached")),
    entry.place === null && element("div", {}, element("dt", { class: "unseen" }, "Why it has no place"), element("dd", { class: "chip warning" }, entry.why)),
  );
}

/** What holds of all is said once, above them. */
function isAllCached({ cached, scored }) {
  return cached >= scored;
}

function bar(kind, value, { lowest, highest }) {
  const fill = element("span", { class: "fill" });
  const share = highest > lowest ? (value - lowest) / (highest - lowest) : 1;
  fill.style.width = `${(5 + 95 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
  return element("span", { class: `bar-of ${kind}`, "aria-hidden": "true" }, fill);
}

/** Return what the reranker that gave a column its order made of a document; null where none did. */
function docOf(entry, { ranker }) {
  return entry.ranked.find(({ reranker }) => reranker === ranker)?.doc ?? null;
}

function otherFields(entry, field) {
  return highlighted(entry.hit)
    .filter((found) => found.field !== field)
    .slice(0, 3)
    .map((found) => {
      const [{ text, ranges }] = found.texts.map((each) => excerpt(each.text, each.ranges, 90));
      return element("p", { class: "excerpt", dir: "auto" }, element("span", { class: "quiet" }, `${found.field}: `), ...marked(text, ranges));
    });
}

/** The row of scores, the excerpt, and in its place, when asked for, what each model saw of its text. */
function scoresAndTexts(entry, about, short) {
  const row = element("div", { class: "row between" }, scores(entry, about));
  const ranked = about.column.key === "plain" ? [] : entry.ranked.filter(({ reranker, doc }) => reranker.outcome === "applied" && doc.text !== null);
  const panels = ranked.map((each) => seenPanel(each, entry, ranked.length > 1));
  for (const { button, shown, toggle } of panels) {
    button.addEventListener("click", () => {
      toggle();
      short.hidden = panels.some((each) => !each.shown.hidden);
    });
  }
  row.append(element("div", { class: "buttons" }, ...panels.map(({ button }) => button)));
  return [row, short, ...panels.map(({ shown }) => shown)];
}

/** Return the button, the panel of what one model saw, and what shows and hides it. */
function seenPanel({ reranker, doc }, entry, isOneOfSeveral) {
  const part = seenPart(doc);
  const shown = element("div", { class: "seen", hidden: true });
  const isCut = doc.cut_at !== null && !(doc.chunks?.length > 0);
  const name = isOneOfSeveral ? nameOf(reranker) : null;
  const who = name ?? "the model";
  const button = element(
    "button",
    { type: "button", class: isCut || doc.chunks?.some((chunk) => (chunk.cut_at ?? chunk.end) < chunk.end) ? "plain small see cut" : "plain small see", "aria-expanded": "false" },
    part === null ? `What ${who} saw` : `${capitalised(who)} saw ${part}`,
    element("span", { class: "unseen" }, `${isCut ? " characters" : ""}: ${titleOf(entry.hit, entry.id)}`),
  );
  const toggle = () => {
    // Drawn when it is asked for: a window has many texts, and long ones.
    if (shown.childElementCount === 0) shown.append(seen(doc, rangesIn(doc.text, entry.plainHit, reranker.field), { frames: reranker.frames, name }));
    shown.hidden = !shown.hidden;
    button.setAttribute("aria-expanded", String(!shown.hidden));
  };
  return { button, shown, toggle };
}
