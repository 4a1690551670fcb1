// Matched terms: where Elasticsearch's highlights mark the texts of a hit. Pure.
//
// What a highlight marks is not a word that could be looked for elsewhere: it is a phrase where a phrase was searched
// for, one character of a Chinese text, or nothing in a field that was not searched. So marks are places, of one hit
// and one field. Places are in units of UTF-16, as in all strings here.

import { CLOSES, OPENS } from "./bodies.js";

const AT_MOST = 2000;

/** Return the marked texts of a hit by field: `{text, ranges}`, a range from its first place to behind its last. */
export function highlighted(hit) {
  return Object.entries(hit?.highlight ?? {}).map(([field, texts]) => ({ field, texts: texts.map(unmarked) }));
}

/** Return where a text of a hit's field is marked: the text is its value, several of them joined, or a part of one. */
export function rangesIn(text, hit, field) {
  const found = [];
  let from = 0; // values are joined in the order of their highlights
  for (const marked of highlighted(hit).find((each) => each.field === field)?.texts ?? []) {
    const at = placeIn(text, marked.text, from);
    if (at === null) continue;
    from = at + marked.text.length;
    for (const [start, end] of marked.ranges) found.push([start + at, end + at]);
  }
  return within(found, 0, text.length);
}

/** Return where a marked text begins in another; less than nothing where that one is a part of it, null: nowhere. */
function placeIn(text, marked, from) {
  const at = text.indexOf(marked, from);
  if (at >= 0) return at;
  const inside = marked.indexOf(text);
  return inside < 0 ? null : -inside;
}

/** Return the ranges of a part of a text, counted from its beginning. */
export function within(ranges, from, to) {
  return ranges
    .filter(([start, end]) => start < to && end > from)
    .map(([start, end]) => [Math.max(start, from) - from, Math.min(end, to) - from]);
}

/** Cut a text into `{text, matched}` pieces. */
export function pieces(text, ranges) {
  const found = [];
  let from = 0;
  for (const [start, end] of ranges.slice(0, AT_MOST)) {
    if (start < from) continue;
    if (start > from) found.push({ text: text.slice(from, start), matched: false });
    found.push({ text: text.slice(start, end), matched: true });
    from = end;
  }
  if (from < text.length) found.push({ text: text.slice(from), matched: false });
  return found;
}

/** Return a part of a text of at most so many units, with its first mark in it, as `{text, ranges}`. */
export function excerpt(text, ranges, length) {
  if (text.length <= length) return { text, ranges };
  const first = ranges[0]?.[0] ?? 0;
  const space = text.lastIndexOf(" ", first - length * 0.3) + 1;
  const from = first < length * 0.7 ? 0 : first - space < length * 0.7 ? space : first;
  const to = atCharacter(text, Math.min(from + length, text.length));
  const before = from > 0 ? "…" : "";
  const inside = within(ranges, from, to).map(([start, end]) => [start + before.length, end + before.length]);
  return { text: `${before}${text.slice(from, to)}${to < text.length ? "…" : ""}`, ranges: inside };
}

/** Return a place that is not between the two units of a character. */
export function atCharacter(text, at) {
  const [before, after] = [text.charCodeAt(at - 1), text.charCodeAt(at)];
  return before >= 0xd800 && before < 0xdc00 && after >= 0xdc00 && after < 0xe000 ? at - 1 : at;
}

/** Take the marks out of a highlight. */
function unmarked(highlight) {
  const [head, ...parts] = highlight.split(OPENS);
  const ranges = [];
  let text = head.replaceAll(CLOSES, "");
  for (const part of parts) {
    const end = part.indexOf(CLOSES);
    if (end > 0) ranges.push([text.length, text.length + end]);
    text += part.replaceAll(CLOSES, "");
  }
  return { text, ranges };
}
