// What of a hit is shown: its title and its text, wherever they stand in `_source`.

import { atCharacter } from "./marks.js";

const TITLES = ["title", "name", "headline", "subject", "label"];
const LIMIT = 20_000;

/** Return the title of a hit, or its id where it has none. */
export function titleOf(hit, id) {
  const source = hit?._source ?? {};
  for (const name of TITLES) {
    const value = Array.isArray(source[name]) ? source[name][0] : source[name];
    if (typeof value === "string" && value.trim() !== "") return value.slice(0, atCharacter(value, 300));
  }
  return id;
}

/** Return words as a sentence begins with them. */
export function capitalised(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Return the text of a field, such as `plot` or `body.text`; an empty one where there is none. */
export function textOf(hit, field) {
  const found = at(hit?._source, field);
  const values = (Array.isArray(found) ? found : [found]).filter((value) => value !== undefined && value !== null);
  const texts = values.map((value) => (typeof value === "object" ? (value.text ?? JSON.stringify(value)) : String(value)));
  const text = texts.join(" ");
  return text.slice(0, atCharacter(text, LIMIT));
}

function at(value, path) {
  if (value === null || value === undefined || path === "") return value;
  if (Array.isArray(value)) return value.flatMap((each) => at(each, path) ?? []);
  if (typeof value !== "object") return undefined;
  if (Object.hasOwn(value, path)) return value[path];
  const dot = path.indexOf(".");
  return dot < 0 ? undefined : at(value[path.slice(0, dot)], path.slice(dot + 1));
}
