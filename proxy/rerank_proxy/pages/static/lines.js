// The lines between columns that show where each hit went. A line's kind can be told without its colour: up is thick,
// down is dashed, out of the hits is dotted and ends in a cross. Screen readers have the table instead.

import { drawn, element } from "./dom.js";
import { move, scoreNameOf } from "./comparison.js";
import { atCharacter } from "./marks.js";
import { titleOf } from "./texts.js";

const SLOPE_ROW = 24;
const NAMES = { up: "moved up", down: "moved down", same: "stayed", out: "not among the hits" };

/** Make the legend of reranked columns: of the lines, of the bars and of what is marked in the texts. */
export function legend(ranked) {
  const lines = Object.entries(NAMES).map(([kind, name]) =>
    key(drawn("svg", { viewBox: "0 0 28 10", "aria-hidden": "true" }, ...stroke(kind, [2, 5], [24, 5])), name),
  );
  const bar = (kind) => element("span", { class: `bar-of ${kind}`, "aria-hidden": "true" }, element("span", { class: "fill" }));
  return [
    ...lines,
    ...[...new Set(ranked.map(scoreNameOf))].map((name) => key(bar("model"), name)),
    key(bar("first"), "first stage’s score"),
    key(element("mark", {}, "abc"), "found by this"),
  ];
}

function key(sign, name) {
  return element("span", { class: "key" }, sign, name);
}

/**
 * Draw the lines into an SVG that lies over the columns.
 *
 * pairs: `[{left: Map of elements by document, right: the same, places: from a document to [before, after]}]`.
 * Returns the lines of each document.
 */
export function drawLines(svg, grid, pairs) {
  const frame = grid.getBoundingClientRect();
  svg.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
  const made = new Map();
  const shapes = [];
  for (const { left, right, places } of pairs) {
    for (const [key, from] of left) {
      const to = right.get(key);
      if (to === undefined) continue;
      const { kind } = move(...places(key));
      if (kind === "new") continue; // it has no place on the left that it could come from
      const line = drawn("g", { class: `line ${kind}` }, ...stroke(kind, end(from, frame, "right"), end(to, frame, "left")));
      shapes.push([kind, line]);
      made.set(key, [...(made.get(key) ?? []), line]);
    }
  }
  const order = ["same", "out", "down", "up"];
  shapes.sort(([one], [other]) => order.indexOf(one) - order.indexOf(other));
  svg.replaceChildren(...shapes.map(([, line]) => line));
  return made;
}

/** Return a small drawing of the moves alone, for where columns have no room beside each other. */
export function slope(column) {
  const entries = column.entries.filter(({ first }) => first !== null);
  const left = [...entries].sort((one, other) => one.first - other.first);
  const y = (list, entry) => (list.indexOf(entry) + 0.5) * SLOPE_ROW;
  const svg = drawn("svg", {
    class: "slope",
    viewBox: `0 0 330 ${entries.length * SLOPE_ROW}`,
    "aria-hidden": "true",
  });
  for (const entry of entries) {
    const { kind } = move(entry.first, entry.place);
    const [from, to] = [y(left, entry), y(entries, entry)];
    svg.append(
      drawn("g", { class: `line ${kind}` }, ...stroke(kind, [26, from], [112, to])),
      drawn("text", { x: 20, y: from, class: "before" }, String(entry.first)),
      drawn("text", { x: 138, y: to, class: "after" }, entry.place === null ? "–" : String(entry.place)),
      drawn("text", { x: 146, y: to }, shortened(titleOf(entry.hit, entry.id))),
    );
  }
  return svg;
}

function stroke(kind, [x1, y1], [x2, y2]) {
  const bend = Math.max(6, (x2 - x1) * 0.5);
  const stop = kind === "out" ? x2 - 8 : x2;
  const path = drawn("path", { class: `stroke ${kind}`, d: `M${x1} ${y1}C${x1 + bend} ${y1} ${stop - bend} ${y2} ${stop} ${y2}` });
  if (kind !== "out") return [path, drawn("circle", { class: `end ${kind}`, cx: x2, cy: y2, r: kind === "up" ? 3.5 : 2.75 })];
  return [path, drawn("path", { class: "stroke cross", d: `M${x2 - 7} ${y2 - 3.5}l7 7m0 -7l-7 7` })];
}

function end(item, frame, side) {
  const box = item.getBoundingClientRect();
  const anchor = item.querySelector(".place").getBoundingClientRect();
  return [box[side] - frame.left + (side === "right" ? 3 : -3), anchor.top + anchor.height / 2 - frame.top];
}

function shortened(text) {
  return text.length > 25 ? `${text.slice(0, atCharacter(text, 24))}…` : text;
}
