// A text area for JSON: numbers of lines, and what is wrong, where.

import { byId } from "./dom.js";
import { jsonFault, readJson } from "./json_text.js";

const area = byId("body");
const numbers = byId("lines");
const told = byId("body-fault");

area.addEventListener("input", () => {
  number();
  tell(null);
});
area.addEventListener("change", () => area.value.trim() && check());
area.addEventListener("scroll", () => {
  numbers.scrollTop = area.scrollTop;
});
area.addEventListener("keydown", indent);

/** Put a value into the editor. */
export function write(value) {
  area.value = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  number();
  tell(null);
}

/** Return the value in the editor; undefined, with the fault told, where it is no JSON. */
export function check() {
  const fault = jsonFault(area.value);
  if (fault === null) {
    tell(null);
    return readJson(area.value);
  }
  tell(`Line ${fault.line}, column ${fault.column}: ${fault.message}.`);
  return undefined;
}

/** Tell what is wrong with what is written; null: nothing. */
export function tell(text) {
  told.textContent = text ?? "";
  area.setAttribute("aria-invalid", String(text !== null));
}

/** Move the cursor to the fault, if there is one. */
export function showFault() {
  area.focus();
  const fault = jsonFault(area.value);
  if (fault !== null) area.setSelectionRange(fault.at, Math.min(fault.at + 1, area.value.length));
}

/** Enter keeps the indentation. Tab leaves the editor, as everywhere. */
function indent(event) {
  if (event.key !== "Enter" || event.ctrlKey || event.metaKey || event.isComposing) return;
  event.preventDefault();
  const before = area.value.slice(0, area.selectionStart);
  const spaces = /[ \t]*/.exec(before.slice(before.lastIndexOf("\n") + 1))[0];
  const deeper = /[{[]\s*$/.test(before) ? "  " : "";
  area.setRangeText(`\n${spaces}${deeper}`, area.selectionStart, area.selectionEnd, "end");
  area.dispatchEvent(new Event("input"));
}

function number() {
  const count = area.value.split("\n").length;
  numbers.textContent = Array.from({ length: count }, (_, at) => at + 1).join("\n");
}
