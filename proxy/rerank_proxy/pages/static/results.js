// The comparison as a whole: a column for each side, the lines between them, and which side a small screen shows.

import { nameOf, rerankersOf, summary } from "./comparison.js";
import { byId, element, drawn } from "./dom.js";
import { hitItem } from "./hits.js";
import { drawLines, legend, slope } from "./lines.js";
import { counted, milliseconds, score } from "./numbers.js";
import { header } from "./requests.js";

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
  byId("legend").replaceChildren(...legend());
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
  const parts = [up && `${up} up`, down && `${down} down`, same && `${same} at their place`, out && `${out} left out`];
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
    element("div", { class: "head" }, element("h3", { id }, column.title), element("div", { class: "facts" }, facts(column))),
    column.entries.length > 0 ? list : element("p", { class: "quiet" }, "No hits."),
  );
}

function gap({ place, skippedBefore }) {
  const range = skippedBefore === 1 ? `${place - 1}` : `${place - skippedBefore} to ${place - 1}`;
  return element("li", { class: "gap" }, `⋯ ${range}`);
}

function facts(column) {
  const found = [column.count > 0 && Number.isFinite(column.lowest) && ["", `scores ${score(column.lowest)} to ${score(column.highest)}`]];
  if (column.key === "plain") found.unshift(["", milliseconds(column.answer.took_ms)]);
  else found.unshift(...sideFacts(column));
  return found.filter(Boolean).map(([kind, text]) => element("span", { class: `chip ${kind}` }, text));
}

function sideFacts({ whole, record }) {
  const rerankers = rerankersOf(record);
  const { outcome } = outcomeOf(whole, record);
  const kind = outcome === "applied" ? "good" : "warning";
  return [
    [kind, outcome],
    ["", milliseconds(whole.took_ms)],
    ...rerankers.flatMap((reranker) => rerankerFacts(reranker, rerankers.length > 1)),
  ];
}

function rerankerFacts(reranker, isOneOfSeveral) {
  return [
    isOneOfSeveral && [reranker.outcome === "applied" ? "" : "warning", `${nameOf(reranker)}: ${reranker.outcome}`],
    reranker.model && ["", reranker.model],
    ["", `${reranker.scored ?? "?"} scored`],
    reranker.cached > 0 && ["accent", `${reranker.cached} from the cache`],
    reranker.truncated > 0 && ["warning", `${counted(reranker.truncated, "text")} cut`],
  ];
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

