// How far judges agree, as figures and as a table of grades against grades.

import { element } from "./dom.js";

const WORDS = [
  [0.8, "almost perfect"],
  [0.6, "substantial"],
  [0.4, "moderate"],
  [0.2, "fair"],
  [0, "slight"],
];

/** Make a card for each two judges who have graded the same documents. */
export function agreementCards(pairs) {
  if (pairs.length > 0) return pairs.map(cardOf);
  return [
    element(
      "section",
      { class: "card" },
      element("h2", {}, "No two judges have graded the same document yet"),
      element("p", { class: "quiet" }, "As soon as they have, this shows how far they agree."),
    ),
  ];
}

function cardOf(pair) {
  const [one, other] = pair.between;
  return element(
    "section",
    { class: "card" },
    element("h2", {}, `${one} and ${other}`),
    element("p", { class: "quiet" }, sentence(pair)),
    element("div", { class: "compared" }, element(
      "dl",
      { class: "figures" },
      figure("Documents that both graded", String(pair.documents)),
      figure("Equal grades", `${Math.round(pair.equal * 100)} %`),
      figure("Weighted kappa (quadratic)", decimal(pair.quadratic)),
      figure("Weighted kappa (linear)", decimal(pair.linear)),
      figure("Kappa", decimal(pair.kappa)),
      figure("Kappa of 0 against the rest", decimal(pair.relevant)),
    ), element("div", { class: "scroll" }, matrix(pair))),
  );
}

function sentence({ quadratic }) {
  if (quadratic === null) return "Kappa is not defined: both gave one and the same grade throughout.";
  const [, words] = WORDS.find(([least]) => quadratic >= least) ?? [0, "poorer than by chance"];
  return `Their agreement is ${words}, by the weighted kappa and the words of Landis and Koch (1977).`;
}

function figure(name, value) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, value));
}

function decimal(value) {
  return value === null ? "–" : value.toFixed(2);
}

function matrix({ between: [one, other], table }) {
  const most = Math.max(1, ...table.flat());
  const grades = table.map((_, grade) => grade);
  return element(
    "table",
    { class: "matrix" },
    element("caption", {}, `Rows: what ${one} gave. Columns: what ${other} gave.`),
    element("thead", {}, element("tr", {}, element("td", {}), grades.map((grade) => element("th", { scope: "col" }, String(grade))))),
    element(
      "tbody",
      {},
      table.map((row, grade) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, String(grade)),
          row.map((count, column) => {
            const cell = element("td", { class: grade === column ? "same" : "other" }, String(count));
            cell.style.setProperty("--part", String(count / most));
            return cell;
          }),
        ),
      ),
    ),
  );
}
