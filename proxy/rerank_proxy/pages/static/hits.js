// One hit of a column: its place and how it moved, its scores as bars, its text, and what the model saw of it.

import { move, outermost } from "./comparison.js";
import { element } from "./dom.js";
import { excerpt, highlighted, pieces } from "./marks.js";
import { counted, score } from "./numbers.js";
import { marked, seen, seenPart } from "./seen.js";
import { textOf, titleOf } from "./texts.js";

const EXCERPT = 170;
const SIGNS = { up: "▲", down: "▼", same: "=", new: "new", out: "out" };

/**
 * Return the list item of an entry.
 *
 * about: `{column, plain, field, words}`: its column, the plain one, the field that was scored, the matched words.
 */
export function hitItem(entry, about) {
  const { column, field, words } = about;
  const ranked = column.key !== "plain";
  const short = excerpt(textOf(entry.hit, field) || (entry.doc?.text ?? ""), words, EXCERPT);
  return element(
    "li",
    { class: entry.place === null ? "hit outside" : "hit" },
    element("span", { class: "place" }, entry.place === null ? "✕" : String(entry.place)),
    element(
      "div",
      { class: "what" },
      element("div", { class: "top" }, element("h4", { dir: "auto" }, titleOf(entry.hit, entry.id)), ranked && badge(entry)),
      ...scoresAndTexts(entry, about, element("p", { class: "excerpt", dir: "auto" }, ...marked(short, words))),
      ...(ranked || pieces(short, words).some(({ matched }) => matched) ? [] : otherFields(entry, field, words)),
    ),
  );
}

/** Say where a hit came from, in words. */
export function moveInWords(entry) {
  const { kind, by } = move(entry.first, entry.place);
  if (kind === "out") return `left out, was ${entry.first}`;
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
  const first = ["first", "First stage", entry.firstScore, plain];
  const model = ["model", "Model", entry.score, column];
  const shown = column.key === "plain" ? [first] : [model, first];
  return element(
    "dl",
    { class: "scores" },
    shown.filter(([, , value]) => value !== null && value !== undefined).map(([kind, name, value, scale]) =>
      element("div", {}, element("dt", { class: "unseen" }, `${name} score`), element("dd", {}, bar(kind, value, scale), score(value))),
    ),
    entry.doc?.cached && !allCached(column) && element("div", {}, element("dt", { class: "unseen" }, "Score"), element("dd", { class: "chip" }, "cached")),
    entry.place === null && element("div", {}, element("dt", { class: "unseen" }, "Left out"), element("dd", { class: "chip warning" }, whyOutside(entry))),
  );
}

/** What holds of all is said once, above them. */
function allCached({ record }) {
  const { cached, scored } = outermost(record) ?? {};
  return cached > 0 && cached >= scored;
}

function bar(kind, value, { lowest, highest }) {
  const fill = element("span", { class: "fill" });
  const share = highest > lowest ? (value - lowest) / (highest - lowest) : 1;
  fill.style.width = `${(5 + 95 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
  return element("span", { class: `bar-of ${kind}`, "aria-hidden": "true" }, fill);
}

function whyOutside({ doc }) {
  if (doc?.dropped) return "score below the lowest";
  return doc?.text === null ? "no text in the field" : "left out";
}

function otherFields(entry, field, words) {
  return highlighted(entry.hit)
    .filter((found) => found.field !== field)
    .slice(0, 3)
    .map((found) =>
      element("p", { class: "excerpt", dir: "auto" }, element("span", { class: "quiet" }, `${found.field}: `), ...marked(excerpt(found.text, words, 90), words)),
    );
}

/** The row of scores, the excerpt, and in its place, when asked for, what the model saw of the text. */
function scoresAndTexts(entry, about, short) {
  const row = element("div", { class: "row between" }, scores(entry, about));
  const { doc } = entry;
  if (about.column.key === "plain" || !doc?.text) return [row, short];
  const part = seenPart(doc);
  const panel = element("div", { class: "seen", hidden: true });
  const button = element(
    "button",
    { type: "button", class: part === null || doc.chunks?.length > 0 ? "plain small see" : "plain small see cut", "aria-expanded": "false" },
    part === null ? "What the model saw" : `The model saw ${part}`,
    element("span", { class: "unseen" }, `${doc.chunks?.length > 0 || part === null ? "" : " characters"}: ${titleOf(entry.hit, entry.id)}`),
  );
  button.addEventListener("click", () => {
    // Drawn when it is asked for: a window has many texts, and long ones.
    if (panel.childElementCount === 0) panel.append(seen(doc, about.words));
    panel.hidden = !panel.hidden;
    short.hidden = !panel.hidden;
    button.setAttribute("aria-expanded", String(!panel.hidden));
  });
  row.append(button);
  return [row, short, panel];
}
