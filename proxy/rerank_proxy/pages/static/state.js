// One search as the form has it, as the address has it, and as the history has it. Pure but for its storage.

const KEY = "rerank-proxy-history";
const KEPT = 40;
const LONGEST = 20_000;

/** Every part of a search that can be shared or remembered, with what it is by default. Credentials are none. */
export const DEFAULTS = Object.freeze({
  mode: "query",
  index: "",
  field: "",
  a: "",
  b: "",
  query: "",
  words: "",
  fields: "",
  window: 50,
  size: 10,
  minScore: "",
  chunks: false,
  body: "",
});

/** Return the fragment of an address that has the search in it, without `#`. */
export function toFragment(state) {
  const parameters = new URLSearchParams();
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = state[name];
    if (value !== usual && (name !== "body" || state.mode === "body")) parameters.set(name, String(value));
  }
  return parameters.toString();
}

/** Read a fragment. What it does not say, or says wrongly, is as by default; null for one without a search. */
export function fromFragment(fragment) {
  const parameters = new URLSearchParams(fragment.replace(/^#/, ""));
  if (![...parameters.keys()].some((name) => name in DEFAULTS)) return null;
  return cleaned(Object.fromEntries(parameters));
}

/** Return the searches that this browser remembers, the latest first. */
export function remembered() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((each) => each !== null && typeof each === "object").map(cleaned) : [];
  } catch {
    return [];
  }
}

/** Remember a search, in place of an equal one. */
export function remember(state) {
  const text = toFragment(state);
  if (text.length > LONGEST) return;
  const others = remembered().filter((each) => toFragment(each) !== text);
  store([state, ...others].slice(0, KEPT));
}

export function forgetAll() {
  try {
    localStorage.removeItem(KEY);
  } catch {
    // Storage is switched off: nothing was kept.
  }
}

/** Say in a line what a search was. */
export function inWords(state) {
  if (state.mode === "body") return `${state.index}: a retriever body of ${state.body.length} characters`;
  return `${state.index}: “${state.query}”${state.words ? ` among “${state.words}”` : ""}`;
}

function cleaned(given) {
  const state = { ...DEFAULTS };
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = given[name];
    if (value === undefined || value === null) continue;
    if (typeof usual === "number") state[name] = within(Number(value), usual);
    else if (typeof usual === "boolean") state[name] = value === true || value === "true";
    else state[name] = String(value).slice(0, LONGEST);
  }
  if (state.mode !== "body") state.mode = "query";
  return state;
}

function within(number, usual) {
  return Number.isInteger(number) && number >= 1 && number <= 1000 ? number : usual;
}

function store(states) {
  try {
    localStorage.setItem(KEY, JSON.stringify(states));
  } catch {
    // Full or switched off: the history is a convenience.
  }
}
