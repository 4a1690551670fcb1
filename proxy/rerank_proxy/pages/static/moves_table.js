// The comparison as a table: what the columns and lines show, for those who do not see them, and to copy.

import { moveInWords } from "./hits.js";
import { element } from "./dom.js";
import { score } from "./numbers.js";
import { titleOf } from "./texts.js";

/** Return the table of a comparison's columns. */
export function movesTable(columns) {
  const [plain, ...ranked] = columns;
  const rows = new Map();
  for (const column of [...ranked, plain]) for (const entry of column.entries) rows.set(entry.key, rows.get(entry.key) ?? entry);
  const found = columns.map((column) => new Map(column.entries.map((entry) => [entry.key, entry])));
  return element(
    "table",
    {},
    element("caption", { class: "unseen" }, "Places and scores of each hit, plain and reranked"),
    element(
      "thead",
      {},
      element("tr", {}, cell("th", "Hit"), ...columns.flatMap(({ title, key }) => headings(title, key))),
    ),
    element(
      "tbody",
      {},
      ...[...rows.values()].map((entry) =>
        element(
          "tr",
          {},
          element("th", { scope: "row", class: "hit-title", dir: "auto" }, titleOf(entry.hit, entry.id)),
          ...columns.flatMap(({ key }, at) => cells(found[at].get(entry.key), key)),
        ),
      ),
    ),
  );
}

function headings(title, key) {
  const names = key === "plain" ? ["place", "score"] : ["place", "score", "move"];
  return names.map((name) => element("th", { scope: "col", class: name === "move" ? null : "number" }, `${title}: ${name}`));
}

function cells(entry, key) {
  const number = (text) => element("td", { class: "number" }, text);
  const place = String(entry?.place ?? "–");
  const values = [number(place), number(entry === undefined ? "–" : score(entry.score))];
  return key === "plain" ? values : [...values, element("td", {}, entry === undefined ? "–" : moveInWords(entry))];
}

function cell(tag, text) {
  return element(tag, { scope: "col" }, text);
}
