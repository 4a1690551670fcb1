// Where the time of each side went, stage by stage, as a table whose last column is drawn to one scale.

import { nameOf, rerankersOf } from "./comparison.js";
import { drawn, element } from "./dom.js";
import { milliseconds } from "./numbers.js";

const MEANINGS = {
  parse: "reading the request",
  upstream: "Elasticsearch",
  tokenise: "cutting texts into tokens",
  queue: "waiting for the model",
  score: "the model",
  splice: "writing the answer",
};
const AT_MOST = 60;

/** Return the table. sides: `[{title, took_ms, record}]`, the plain one without a record. */
export function waterfall(sides) {
  const whole = Math.max(...sides.map(({ took_ms: took, record }) => Math.max(took, record?.took_ms ?? 0)), 0.1);
  return element(
    "table",
    { class: "waterfall" },
    element("caption", { class: "unseen" }, "Stages of each search, with their beginning and length in milliseconds"),
    element("thead", {}, element("tr", {}, ...["Stage", "What", "From", "Took"].map((name, at) => heading(name, at)), scale(whole))),
    ...sides.map((side) => body(side, whole)),
  );
}

function heading(name, at) {
  return element("th", { scope: "col", class: ["", "about", "from number", "number"][at] }, name);
}

/** The axis: as many round steps as fit. */
function scale(whole) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000].find((each) => whole / each <= 4) ?? whole;
  const marks = [];
  for (let at = 0; at <= whole * 0.93; at += step) marks.push(at);
  return element(
    "th",
    { class: "chart", scope: "col" },
    element("span", { class: "unseen" }, "Drawn"),
    drawn(
      "svg",
      { "aria-hidden": "true", height: 14, width: "100%" },
      ...marks.map((at) => drawn("text", { class: at > 0.6 * whole && "far", x: `${(100 * at) / whole}%`, y: 11 }, at === 0 ? "0" : `${Number(at.toFixed(1))} ms`)),
    ),
  );
}

function body({ title, took_ms: took, record }, whole) {
  const stages = grouped(record?.stages ?? []);
  const rerankers = rerankersOf(record);
  const rows = stages.slice(0, AT_MOST).map((stage) => stageRow(stage, whole, rerankers.length > 1 ? rerankers : []));
  if (stages.length > AT_MOST) {
    rows.push(element("tr", {}, element("td", { colspan: 5, class: "quiet" }, `${stages.length - AT_MOST} further stages are not shown.`)));
  }
  return element(
    "tbody",
    {},
    element(
      "tr",
      { class: "whole" },
      element("th", { scope: "rowgroup" }, element("span", { class: "title" }, title), record?.cut && element("span", { class: "quiet" }, " (parts of the record were left out for their size)")),
      element("td", { class: "about" }),
      element("td", { class: "from" }),
      element("td", { class: "number" }, milliseconds(took)),
      element("td", { class: "chart" }, chart("own", [[0, took]], whole)),
    ),
    ...rows,
  );
}

/** Join what is done piece by piece: stages of one kind, label and reranker that follow each other have one row. */
function grouped(stages) {
  const groups = [];
  for (const { stage, label, reranker = null, start_ms: start, end_ms: end } of stages) {
    const last = groups.at(-1);
    if (last?.stage === stage && last.label === label && last.reranker === reranker) last.spans.push([start, end]);
    else groups.push({ stage, label, reranker, spans: [[start, end]] });
  }
  return groups;
}

/** Return how long any of the spans was under way: those side by side count once. They are in the order of beginnings. */
function length(spans) {
  let [took, until] = [0, -Infinity];
  for (const [start, end] of spans) {
    took += Math.max(0, end - Math.max(start, until));
    until = Math.max(until, end);
  }
  return took;
}

function stageRow({ stage, label, reranker, spans }, whole, several) {
  const took = length(spans);
  const whose = several.find(({ number }) => number === reranker);
  const about = label && label !== stage ? label : (MEANINGS[stage] ?? "");
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, stage),
    element("td", { class: "about" }, whose === undefined ? about : `${about}: ${nameOf(whose)}`),
    element("td", { class: "from number" }, milliseconds(spans[0][0])),
    element("td", { class: "number" }, milliseconds(took)),
    element("td", { class: "chart" }, chart(stage, spans, whole)),
  );
}

function chart(stage, spans, whole) {
  const share = (ms) => Math.min(100, (100 * ms) / whole);
  const known = Object.hasOwn(MEANINGS, stage) ? stage : "own";
  return drawn(
    "svg",
    { "aria-hidden": "true", width: "100%", height: 14 },
    ...spans.map(([start, end]) => {
      const width = Math.max(0.4, share(end) - share(start));
      return drawn("rect", { class: `stage ${known}`, x: `${Math.min(99.6, share(start))}%`, width: `${width}%`, y: 2, height: 10, rx: 2 });
    }),
  );
}
