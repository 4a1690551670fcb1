// The cards of documents. Texts of documents become text nodes, whatever they hold.

import { element } from "./dom.js";

const LONG = 700;

/** Return the words for what was said of a document; null where nothing was. */
export function saidOf({ grade, unsure }) {
  if (unsure) return "not sure";
  return grade === null ? null : `grade ${grade}`;
}

/** Make the list item of a document. `onSay` gets a grade, or "unsure". */
export function card(entry, place, count, scale, onSay, onFocus) {
  const heading = element("h2", { id: `document-${place}` }, `Document ${place} of ${count}`);
  const state = element("span", { class: "chip" });
  const meaning = element("p", { class: "meaning" });
  const buttons = scale.map((words, grade) => gradeButton(String(grade), `${grade}: ${words}`, grade, String(grade)));
  for (const button of buttons) button.disabled = entry.missing;
  const unsure = gradeButton("Not sure", "I am not sure", "unsure", "s", element("kbd", {}, "s"));
  unsure.classList.add("unsure");
  const item = element(
    "li",
    {
      class: "card document",
      tabindex: "-1",
      "aria-labelledby": heading.id,
      on: { focusin: onFocus, pointerdown: onFocus },
    },
    element("header", {}, heading, element("code", {}, entry.id), state),
    texts(entry),
    given(entry),
    element("div", { class: "grades", role: "group", "aria-label": `Grade of document ${place}` }, buttons, unsure, meaning),
  );

  function gradeButton(label, name, value, key, ...more) {
    return element(
      "button",
      {
        type: "button",
        "data-grade": value,
        "aria-label": name,
        "aria-pressed": "false",
        "aria-keyshortcuts": key,
        title: name,
        on: {
          click: () => onSay(value),
          pointerenter: () => { meaning.textContent = name; },
          pointerleave: () => { draw(); },
        },
      },
      label,
      ...more,
    );
  }

  function draw() {
    const chosen = entry.unsure ? "unsure" : entry.grade;
    for (const button of [...buttons, unsure]) {
      button.setAttribute("aria-pressed", String(button.dataset.grade === String(chosen)));
    }
    const words = saidOf(entry);
    item.classList.toggle("judged", words !== null);
    state.textContent = words === null ? (entry.given ? "not decided" : "not judged") : words;
    state.className = words === null ? "chip" : entry.unsure ? "chip warning" : "chip good";
    meaning.textContent = entry.unsure ? "You can come back to it." : entry.grade === null ? "" : scale[entry.grade];
  }

  draw();
  return { item, draw, expand: () => item.querySelector(".texts button")?.click() };
}

function texts(entry) {
  if (entry.missing) {
    return element(
      "p",
      { class: "message warning" },
      "This document was in the index when the queries were pooled, and is no longer. It cannot be graded: go on with “Not sure”.",
    );
  }
  if (entry.fields.length === 0) {
    return element("p", { class: "message warning" }, "This document has no text in the fields that are shown.");
  }
  const size = entry.fields.reduce((sum, field) => sum + field.text.length, 0);
  const box = element("div", { class: "texts" }, entry.fields.map((field, number) => fieldOf(field, number, entry)));
  if (size > LONG) box.append(expander(box));
  return box;
}

function fieldOf(field, number, entry) {
  const first = number === 0 && entry.fields.length > 1 && field.text.length < 200;
  const rest = field.characters - field.text.length;
  return element(
    "div",
    { class: [first && "first", field.text.length > LONG / 2 && "long"].filter(Boolean).join(" ") || null },
    element("span", { class: "name" }, field.name),
    element("p", { dir: "auto" }, field.text),
    rest > 0 && element("span", { class: "quiet small" }, `… and ${rest.toLocaleString("en")} more characters, which are not shown`),
  );
}

function expander(box) {
  const button = element("button", { type: "button", class: "plain", "aria-expanded": "false" });
  function draw(open) {
    for (const each of box.querySelectorAll(".long")) each.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
    button.replaceChildren(open ? "Show less " : "Show all of it ", element("kbd", {}, "e"));
  }
  button.addEventListener("click", () => draw(button.getAttribute("aria-expanded") === "false"));
  draw(false);
  return button;
}

function given(entry) {
  if (!entry.given) return null;
  return element(
    "p",
    { class: "given", "aria-label": "What the judges said" },
    Object.entries(entry.given).map(([judge, grade]) =>
      element("span", {}, `${judge} `, element("b", { "data-grade": grade ?? "unsure" }, grade === null ? "not sure" : String(grade))),
    ),
  );
}
