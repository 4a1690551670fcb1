// Matched terms: read from Elasticsearch's highlights, and found again in other texts. Pure.

import { CLOSES, OPENS } from "./bodies.js";

const WORD = /[\p{L}\p{N}_]+(?:['’][\p{L}\p{N}]+)?/gu;
const MARKED = new RegExp(`${OPENS}([^${CLOSES}]*)${CLOSES}`, "g");

/** Return the words that stand between the marks of a plain answer's highlights, in lower case. */
export function matchedWords(answer) {
  const words = new Set();
  for (const hit of answer.hits?.hits ?? []) {
    for (const texts of Object.values(hit.highlight ?? {})) {
      for (const text of texts) {
        for (const [, marked] of text.matchAll(MARKED)) words.add(marked.toLowerCase());
      }
    }
  }
  return words;
}

/** Return the texts of a hit's highlights, without the marks, by field. */
export function highlighted(hit) {
  return Object.entries(hit?.highlight ?? {}).map(([field, texts]) => ({ field, text: bare(texts.join(" … ")) }));
}

/** Cut a text into `{text, matched}` pieces; those of matched words apart. */
export function pieces(text, words) {
  const found = [];
  let from = 0;
  for (const match of text.matchAll(WORD)) {
    if (!words.has(match[0].toLowerCase())) continue;
    if (match.index > from) found.push({ text: text.slice(from, match.index), matched: false });
    found.push({ text: match[0], matched: true });
    from = match.index + match[0].length;
  }
  if (from < text.length) found.push({ text: text.slice(from), matched: false });
  return found;
}

/** Return a part of a text of at most so many characters, with its first matched word in it. */
export function excerpt(text, words, length) {
  if (text.length <= length) return text;
  let first = 0;
  for (const match of text.matchAll(WORD)) {
    if (words.has(match[0].toLowerCase())) {
      first = match.index;
      break;
    }
  }
  if (first < length * 0.7) return `${text.slice(0, length)}…`;
  const from = text.lastIndexOf(" ", first - length * 0.3) + 1;
  return `…${text.slice(from, from + length)}${from + length < text.length ? "…" : ""}`;
}

function bare(text) {
  return text.replaceAll(OPENS, "").replaceAll(CLOSES, "");
}
