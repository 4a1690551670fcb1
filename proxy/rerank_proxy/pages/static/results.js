// The comparison as a whole: a column for each side, the lines between them, and which side a small screen shows.

import { nameOf, rerankersOf, summary } from "./comparison.js";
import { byId, element, drawn } from "./dom.js";
import { hitItem } from "./hits.js";
import { drawLines, legend, slope } from "./lines.js";
import { counted, milliseconds, score } from "./numbers.js";
import { header } from "./requests.js";
import { capitalised } from "./texts.js";

const WIDE = { 2: "(min-width: 50rem)", 3: "(min-width: 72rem)" };

let redraw = () => {};
let chosen = null;
new ResizeObserver(() => redraw()).observe(byId("columns"));

/** Show a comparison: the columns of `compare`, and the scored field. */
export function showResults(columns, field) {
  const [plain] = columns;
  const lists = columns.map((column) => ({ column, items: new Map() }));
  const svg = drawn("svg", { class: "lines", "aria-hidden": "true" });
  const grid = element(
    "div",
    { class: `columns of-${columns.length}` },
    ...lists.map(({ column, items }) => columnSection(column, { plain, field }, items)),
    svg,
  );
  byId("legend").replaceChildren(...legend(columns.slice(1)));
  byId("columns").replaceChildren(grid);
  byId("results").hidden = false;
  const wide = matchMedia(WIDE[columns.length] ?? WIDE[2]);
  showSides(columns, grid, wide);
  let lines = new Map();
  redraw = () => {
    svg.toggleAttribute("hidden", !wide.matches);
    if (wide.matches) lines = drawLines(svg, grid, neighbours(lists));
  };
  redraw();
  lightTogether(lists, (key) => lines.get(key) ?? []);
}

/** Return in words what a reranked column did to the hits. */
export function inWords(column) {
  const { up, down, same, out } = summary(column);
  const parts = [up && `${up} up`, down && `${down} down`, same && `${same} at their place`, out && `${out} not among the hits`];
  return `${column.title}: ${parts.filter(Boolean).join(", ") || "no hits"}`;
}

/** Return `{outcome, reason}` of a reranked side, one of whose rerankers may have been skipped: as recorded, or as the header X-Rerank says. */
export function outcomeOf(answer, record) {
  const rerankers = rerankersOf(record);
  const skipped = rerankers.find(({ outcome }) => outcome !== "applied");
  if (rerankers.length > 0) return { outcome: skipped?.outcome ?? "applied", reason: skipped?.reason ?? null };
  const said = header(answer, "x-rerank") ?? "";
  return { outcome: /^\s*(\w+)/.exec(said)?.[1] ?? "unknown", reason: /reason=([^;,]+)/.exec(said)?.[1] ?? null };
}

function columnSection(column, about, items) {
  const list = element("ol", { class: "hits" });
  for (const entry of column.entries) {
    if (entry.place !== null && entry.skippedBefore > 0) list.append(gap(entry));
    const item = hitItem(entry, { ...about, column });
    items.set(entry.key, { item, place: entry.place });
    list.append(item);
  }
  const id = `column-${column.key}`;
  return element(
    "section",
    { class: "column", "data-side": column.key, "aria-labelledby": id },
    element("div", { class: "head" }, element("h3", { id }, column.title), ...facts(column).map((row) => element("div", { class: "facts" }, row))),
    column.entries.length > 0 ? list : element("p", { class: "quiet" }, "No hits."),
  );
}

function gap({ place, skippedBefore }) {
  const range = skippedBefore === 1 ? `${place - 1}` : `${place - skippedBefore} to ${place - 1}`;
  return element("li", { class: "gap" }, `⋯ ${range}`);
}

/** Return rows of facts: of a column, and of each of its rerankers where there are several. */
function facts(column) {
  const scores = column.count > 0 && Number.isFinite(column.lowest) && chip("", `scores ${score(column.lowest)} to ${score(column.highest)}`);
  if (column.key === "plain") return [[chip("", milliseconds(column.answer.took_ms)), scores]];
  const own = [outcomeChip(outcomeOf(column.whole, column.record)), chip("", milliseconds(column.whole.took_ms))];
  const rerankers = rerankersOf(column.record);
  if (rerankers.length < 2) return [[...own, ...rerankers.flatMap(rerankerFacts), scores]];
  return [[...own, scores], ...rerankers.map((reranker) => [nameAndPlace(reranker), outcomeChip(reranker), ...rerankerFacts(reranker)])];
}

function nameAndPlace(reranker) {
  return element("span", { class: "small" }, `${capitalised(nameOf(reranker))} (${reranker.endpoint}, ${reranker.field})`);
}

function rerankerFacts(reranker) {
  return [
    reranker.model && chip("", reranker.model),
    chip("", `${reranker.scored ?? "?"} scored`),
    reranker.cached > 0 && chip("accent", `${reranker.cached} from the cache`),
    reranker.truncated > 0 && chip("warning", `${counted(reranker.truncated, "text")} cut`),
  ];
}

function outcomeChip({ outcome }) {
  return chip(outcome === "applied" ? "good" : "warning", outcome);
}

function chip(kind, text) {
  return element("span", { class: `chip ${kind}` }, text);
}

function neighbours(lists) {
  return lists.slice(1).map((right, at) => {
    const left = lists[at];
    return {
      left: elements(left.items),
      right: elements(right.items),
      places: (key) => [left.items.get(key).place, right.items.get(key).place],
    };
  });
}

function elements(items) {
  return new Map([...items].map(([key, { item }]) => [key, item]));
}

/** A hit that is pointed at is lit in all columns, with its lines. */
function lightTogether(lists, linesOf) {
  for (const { items } of lists) {
    for (const [key, { item }] of items) {
      const light = (on) => () => {
        for (const list of lists) list.items.get(key)?.item.classList.toggle("lit", on);
        for (const line of linesOf(key)) line.classList.toggle("lit", on);
      };
      item.addEventListener("pointerenter", light(true));
      item.addEventListener("pointerleave", light(false));
      item.addEventListener("focusin", light(true));
      item.addEventListener("focusout", light(false));
    }
  }
}

function showSides(columns, grid, wide) {
  if (!columns.some(({ key }) => key === chosen)) chosen = columns.at(1)?.key ?? "plain";
  const buttons = columns.map((column) =>
    element("button", { type: "button", on: { click: () => choose(column.key) } }, column.title),
  );
  function choose(key) {
    chosen = key;
    columns.forEach((column, at) => buttons[at].setAttribute("aria-pressed", String(column.key === chosen)));
    for (const section of grid.querySelectorAll(".column")) {
      section.hidden = !wide.matches && section.dataset.side !== chosen;
    }
    byId("sides").hidden = wide.matches;
    const column = columns.find((each) => each.key === chosen);
    byId("slope").replaceChildren(...(wide.matches || chosen === "plain" ? [] : [slope(column)]));
    redraw();
  }
  byId("sides").replaceChildren(...buttons);
  wide.onchange = () => choose(chosen);
  choose(chosen);
}
