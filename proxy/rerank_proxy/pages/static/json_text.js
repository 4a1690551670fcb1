// JSON as it is written: its integers, and where a text stops being JSON, by line, column, and what was expected there.
// Browsers word this each in its way, and not all of them say where. Pure.

const SPACE = /[ \t\n\r]*/y;
const STRING = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*"/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;
const MAX_DEPTH = 200;

/** Return `{line, column, message}` of the first fault, counted from 1; null for a text that is JSON. */
export function jsonFault(text) {
  const reader = { text, at: 0 };
  try {
    value(reader, 0);
    skip(reader);
    if (reader.at < text.length) refuse(reader, "the end of the text");
    return null;
  } catch (fault) {
    if (!(fault instanceof Refusal)) throw fault;
    const before = text.slice(0, fault.at);
    const lineStart = before.lastIndexOf("\n") + 1;
    return { line: before.split("\n").length, column: fault.at - lineStart + 1, at: fault.at, message: fault.message };
  }
}

class Refusal extends Error {
  constructor(message, at) {
    super(message);
    this.at = at;
  }
}

function refuse(reader, expected) {
  const found = reader.at >= reader.text.length ? "the text ends" : `there is ${shown(reader.text, reader.at)}`;
  throw new Refusal(`expected ${expected}, but ${found}`, reader.at);
}

function shown(text, at) {
  const character = String.fromCodePoint(text.codePointAt(at));
  if (character === "\n") return "the end of the line";
  return character < " " ? "a control character" : `“${character}”`;
}

function value(reader, depth) {
  skip(reader);
  if (depth > MAX_DEPTH) throw new Refusal(`it is nested more than ${MAX_DEPTH} deep`, reader.at);
  const character = reader.text[reader.at];
  if (character === "{") return members(reader, depth, "}", member);
  if (character === "[") return members(reader, depth, "]", value);
  if (character === '"') return string(reader, "a value");
  if (!take(reader, NUMBER) && !take(reader, WORD)) refuse(reader, "a value");
  return undefined;
}

function members(reader, depth, end, one) {
  reader.at += 1;
  skip(reader);
  if (reader.text[reader.at] === end) {
    reader.at += 1;
    return;
  }
  for (;;) {
    one(reader, depth + 1);
    skip(reader);
    const character = reader.text[reader.at];
    if (character !== "," && character !== end) refuse(reader, `“,” or “${end}”`);
    reader.at += 1;
    if (character === end) return;
  }
}

function member(reader, depth) {
  skip(reader);
  string(reader, "a name in double quotes");
  skip(reader);
  if (reader.text[reader.at] !== ":") refuse(reader, "“:”");
  reader.at += 1;
  value(reader, depth);
}

function string(reader, expected) {
  if (take(reader, STRING)) return;
  if (reader.text[reader.at] !== '"') refuse(reader, expected);
  throw new Refusal("a text in double quotes begins here, and does not end as it should", reader.at);
}

function skip(reader) {
  take(reader, SPACE);
}

function take(reader, pattern) {
  pattern.lastIndex = reader.at;
  if (!pattern.test(reader.text)) return false;
  reader.at = pattern.lastIndex;
  return true;
}

/** Read JSON. An integer that no number holds exactly is a BigInt, where the browser shows how it is written. */
export function readJson(text) {
  return JSON.parse(text, (_, value, { source } = {}) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(source ?? "") ? BigInt(source) : value,
  );
}

/** Write as JSON what readJson has read. */
export function writeJson(value, indent = 0) {
  return JSON.stringify(value, (_, each) => (typeof each === "bigint" ? JSON.rawJSON(String(each)) : each), indent);
}
