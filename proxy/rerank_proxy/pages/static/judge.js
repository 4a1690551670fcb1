// The page of a person at work: one query at a time, its documents one below the other, grades by single keys.

import { agreementCards } from "./judge_agreement.js";
import { card, saidOf } from "./judge_cards.js";
import { openSession, read, save } from "./judge_requests.js";
import { byId, element, opened, setOptions } from "./dom.js";

const SECTIONS = {
  judge: { list: "pool", query: "pool/query", save: "judgments" },
  compare: { list: "conflicts", query: "conflicts/query", save: "resolutions" },
};
const state = {
  section: "judge",
  scale: [],
  queries: [], // of the section: {id, text, documents, judged, unsure}
  at: -1, // place of the query that is shown
  documents: [], // of that query, with `draw` and `item`
  current: 0,
  undo: [], // {section, query, document, before}
  keys: true,
};
const MOVES = new Set(["j", "k", "ArrowDown", "ArrowUp"]);
let loading = 0; // the newest load: what an older one brings is thrown away
let saving = Promise.resolve(); // saves go out one after the other, in the order of judging
let unsaved = 0; // saves that are under way or wait

start();

async function start() {
  byId("undo").addEventListener("click", undo);
  byId("help").addEventListener("click", help);
  byId("previous").addEventListener("click", () => go(state.at - 1));
  byId("next").addEventListener("click", () => go(state.at + 1));
  byId("jump").addEventListener("change", (event) => go(Number(event.target.value)));
  byId("keys-on").addEventListener("change", (event) => { state.keys = event.target.checked; });
  document.addEventListener("keydown", onKey);
  new ResizeObserver(([{ target }]) => {
    document.documentElement.style.setProperty("--head", `${target.offsetHeight}px`);
  }).observe(byId("head"));
  if (matchMedia("(max-width: 56rem)").matches) byId("scale-card").open = false;
  try {
    if (!(await openSession())) {
      tell("This window has no session.", "Open the address that the command shows in the terminal.");
      return;
    }
    const work = await read(SECTIONS.judge.list);
    state.scale = work.scale;
    byId("who").textContent = work.judge;
    byId("who").title = `You judge as ${work.judge} what is in ${work.index}`;
    byId("who").hidden = false;
    byId("scale").replaceChildren(
      ...work.scale.map((words, grade) =>
        element("div", {}, element("dt", { "data-grade": grade }, String(grade)), element("dd", {}, words))),
    );
  } catch (fault) {
    tell("The page cannot begin.", fault.reason ?? String(fault));
    return;
  }
  addEventListener("hashchange", route);
  await route();
}

function route() {
  return show(location.hash === "#compare" ? "compare" : "judge");
}

/** Show a section: the person's queries, or those about which judges differ. */
async function show(section, place = null) {
  state.section = section;
  for (const [id, name] of [["to-judge", "judge"], ["to-compare", "compare"]]) {
    if (name === section) byId(id).setAttribute("aria-current", "page");
    else byId(id).removeAttribute("aria-current");
  }
  const list = await loaded(() => read(SECTIONS[section].list));
  if (list === null) return;
  state.queries = list.queries;
  byId("desk").hidden = false;
  byId("all-heading").textContent = section === "judge" ? "All queries" : "Queries to decide";
  byId("agreement").hidden = section !== "compare";
  byId("agreement").replaceChildren(...(section === "compare" ? agreementCards(list.agreement) : []));
  const open = state.queries.findIndex((query) => query.judged < query.documents);
  await go(place ?? (open < 0 ? state.queries.length : open));
}

/** Show the query of a place; behind the last one, what there is to say at the end. */
async function go(place) {
  if (place < 0 || place > state.queries.length) return;
  if (place === state.queries.length) {
    loading += 1;
    state.at = place;
    state.documents = [];
    drawQuery();
    showEnd();
    return;
  }
  const { id } = state.queries[place];
  const query = await loaded(() => read(SECTIONS[state.section].query, id));
  if (query === null) return;
  state.at = place;
  state.documents = query.documents.map((entry, number) => {
    const made = card(
      entry, number + 1, query.documents.length, state.scale, (said) => say(number, said), () => mark(number));
    return Object.assign(entry, made);
  });
  byId("documents").replaceChildren(...state.documents.map(({ item }) => item));
  byId("finished").hidden = true;
  drawQuery();
  const open = state.documents.findIndex((entry) => !isJudged(entry));
  announce(`Query ${place + 1} of ${state.queries.length}: ${query.text}`);
  if (open < 0) {
    endOfQuery();
    scrollTo({ top: 0 });
  } else {
    if (open === 0) scrollTo({ top: 0 });
    focus(open, open > 0);
  }
}

function drawQuery() {
  const query = state.queries[state.at];
  byId("head").hidden = query === undefined;
  byId("all").hidden = state.queries.length === 0;
  byId("documents").hidden = query === undefined;
  if (query === undefined) byId("documents").replaceChildren();
  else {
    byId("query").textContent = query.text;
    const unsure = query.unsure > 0 ? `, ${query.unsure} not sure` : "";
    const what = state.section === "judge" ? "judged" : "decided";
    byId("place").textContent =
      `Query ${state.at + 1} of ${state.queries.length} · ${query.judged} of ${query.documents} ${what}${unsure}`;
    progress(byId("done"), query.judged, query.documents);
    byId("previous").disabled = state.at === 0;
    document.title = `${query.judged}/${query.documents} · ${query.text.slice(0, 60)}`;
  }
  const judged = sum(state.queries, "judged");
  const all = sum(state.queries, "documents");
  progress(byId("all-done"), judged, all);
  const finished = state.queries.filter((each) => each.judged >= each.documents).length;
  byId("all-words").textContent =
    `${finished} of ${state.queries.length} queries, ${judged} of ${all} documents`;
  setOptions(
    byId("jump"),
    state.queries.map((each, place) => ({
      value: String(place),
      label: `${each.judged >= each.documents ? "✓" : `${each.judged}/${each.documents}`}  ${place + 1}. ${each.text.slice(0, 80)}`,
    })),
    String(state.at),
  );
  byId("undo").disabled = state.undo.length === 0;
}

/** Say something of a document: show it at once, and save it. */
function say(number, said) {
  const entry = state.documents[number];
  if (entry.missing && said !== "unsure") {
    announce("This document is no longer in the index, and cannot be graded.");
    return;
  }
  const before = { grade: entry.grade, unsure: entry.unsure };
  const after = said === "unsure" ? { grade: null, unsure: true } : { grade: said, unsure: false };
  const query = state.queries[state.at];
  state.undo.push({ section: state.section, query: query.id, document: entry.id, before });
  put(state.section, query, entry, after, before);
  announce(`Document ${number + 1}: ${saidOf(entry)}`);
  const next = nextOpen(number);
  if (next === null) endOfQuery();
  else focus(next);
}

function put(section, query, entry, after, before) {
  Object.assign(entry, after);
  entry.draw?.();
  count(query);
  const documentId = entry.id;
  const task = async () => {
    try {
      const counted = await save(SECTIONS[section].save, { query: query.id, document: documentId, ...after });
      if (unsaved === 1) Object.assign(query, counted); // else it is behind what is shown
    } catch (fault) {
      Object.assign(entry, before);
      entry.draw?.();
      count(query);
      tell("A grade was not saved. Give it again.", `Document ${documentId} of the query “${query.text}”: ${fault.reason ?? fault}`);
    }
    unsaved -= 1;
    drawQuery();
  };
  unsaved += 1;
  saving = saving.then(task);
  drawQuery();
  return saving;
}

/** Count at once what the server will count: the page is not to lag behind the keys. */
function count(query) {
  if (state.queries[state.at] !== query) return;
  query.judged = state.documents.filter(isJudged).length;
  query.unsure = state.section === "judge" ? state.documents.filter(({ unsure }) => unsure).length : 0;
}

/** Take the last act back, in whichever query it was. */
async function undo() {
  const act = state.undo.pop();
  if (act === undefined) return;
  if (act.section !== state.section) {
    history.replaceState(null, "", `#${act.section}`);
    await show(act.section, 0);
  }
  const place = state.queries.findIndex(({ id }) => id === act.query);
  if (place < 0) return;
  await saving;
  if (place !== state.at) await go(place);
  const number = state.documents.findIndex(({ id }) => id === act.document);
  if (number < 0) return;
  const entry = state.documents[number];
  put(act.section, state.queries[place], entry, act.before, { grade: entry.grade, unsure: entry.unsure });
  byId("finished").hidden = true;
  focus(number);
  announce(`Taken back: document ${number + 1} has ${saidOf(entry) ?? "no grade"} again`);
}

function endOfQuery() {
  const last = state.at === state.queries.length - 1;
  const open = state.queries.findIndex((each) => each.judged < each.documents);
  const target = last ? state.queries.length : state.at + 1;
  byId("finished").replaceChildren(
    element("h2", {}, "All documents of this query are judged"),
    element("p", { class: "quiet" }, "Everything is saved. Grades can still be changed."),
    element("button", { type: "button", class: "primary", on: { click: () => go(open < 0 ? state.queries.length : target) } },
      open < 0 ? "To the end " : "Next query ", element("kbd", {}, "n")),
  );
  byId("finished").hidden = false;
  mark(state.documents.length); // of none: a key that is pressed once too often changes no grade
  byId("finished").focus({ preventScroll: true });
  byId("finished").scrollIntoView({ block: "nearest" });
  announce("All documents of this query are judged. Press n for the next query.");
}

function showEnd() {
  const judge = state.section === "judge";
  const left = state.queries.filter((each) => each.judged < each.documents).length;
  const heading = !judge && state.queries.length === 0
    ? "There is nothing to decide"
    : left > 0 ? `${left} ${left === 1 ? "query is" : "queries are"} not finished` : judge ? "All queries are judged" : "All is decided";
  const words = !judge
    ? "Documents that two people graded differently, or were not sure about, are decided here. Of your own queries only those are shown that you have judged."
    : left > 0 ? "You can stop here: everything is saved, and you go on where you were." : "Thank you. Everything is saved.";
  const shown = [
    element("h2", {}, heading),
    element("p", { class: "quiet" }, words),
    left > 0 && element("button", { type: "button", class: "primary", on: { click: () => show(state.section) } }, "Go on"),
    judge && left === 0 && element("p", {}, "Write the grades with ", element("code", {}, "rerank-proxy judge write"), "."),
    judge && element("p", {}, element("a", { href: "#compare" }, "Compare with other judges")),
  ];
  byId("finished").replaceChildren(...shown.filter(Boolean));
  byId("finished").hidden = false;
  byId("finished").focus({ preventScroll: true });
  announce(heading);
}

function onKey(event) {
  if (!state.keys || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("select, input, textarea")) return;
  const deed = deedOf(event.key);
  if (deed === null) return;
  event.preventDefault();
  if (event.repeat && !MOVES.has(event.key)) return; // a key that stays down is not many grades
  deed();
}

function deedOf(key) {
  if (key === "?") return help;
  if (key === "u") return undo;
  if (key === "n") return () => go(state.at + 1);
  if (key === "p") return () => go(state.at - 1);
  if (state.documents.length === 0) return null;
  if (key === "j" || key === "ArrowDown") return () => focus(Math.min(state.current + 1, state.documents.length - 1));
  if (key === "k" || key === "ArrowUp") return () => focus(Math.max(state.current - 1, 0));
  if (state.current === state.documents.length) return null; // at the end of the query
  if (/^\d$/.test(key) && Number(key) < state.scale.length) return () => say(state.current, Number(key));
  if (key === "s") return () => say(state.current, "unsure");
  if (key === "e") return () => state.documents[state.current].expand();
  return null;
}

function help() {
  const lines = [
    [state.scale.map((_, grade) => String(grade)), "grade the document, and go to the next one"],
    [["s"], "not sure"],
    [["j", "↓"], "next document"],
    [["k", "↑"], "previous document"],
    [["e"], "show all of a long text"],
    [["u"], "take the last grade back"],
    [["n"], "next query"],
    [["p"], "previous query"],
    [["?"], "these keys"],
  ];
  byId("key-list").replaceChildren(
    ...lines.flatMap(([keys, words]) => [
      element("dt", {}, keys.map((key) => element("kbd", {}, key))),
      element("dd", {}, words),
    ]),
  );
  return opened(byId("keys"));
}

/** Make a document the one that keys are about. */
function mark(number) {
  state.current = number;
  state.documents.forEach(({ item }, place) => {
    if (place === number) item.setAttribute("aria-current", "true");
    else item.removeAttribute("aria-current");
  });
}

function focus(number, scroll = true) {
  mark(number);
  const { item } = state.documents[number];
  item.focus({ preventScroll: true });
  if (!scroll) return;
  const tall = item.offsetHeight > innerHeight - byId("head").offsetHeight - 32;
  item.scrollIntoView({ block: tall ? "start" : "nearest" });
}

function nextOpen(number) {
  const places = state.documents.map((_, place) => (number + 1 + place) % state.documents.length);
  return places.find((place) => !isJudged(state.documents[place])) ?? null;
}

function isJudged(entry) {
  return entry.grade !== null || entry.unsure;
}

async function loaded(load) {
  loading += 1;
  const mine = loading;
  try {
    await saving;
    const value = await load();
    if (mine !== loading) return null;
    byId("message").hidden = true;
    return value;
  } catch (fault) {
    if (mine === loading) tell("This cannot be shown.", fault.reason ?? String(fault));
    return null;
  }
}

function tell(heading, words) {
  byId("message").className = "message fault";
  byId("message").replaceChildren(element("h2", {}, heading), element("p", {}, words));
  byId("message").hidden = false;
  byId("message").scrollIntoView({ block: "nearest" });
}

function announce(words) {
  byId("said").textContent = words;
}

function progress(bar, value, max) {
  bar.max = Math.max(max, 1);
  bar.value = value;
}

function sum(entries, name) {
  return entries.reduce((total, each) => total + each[name], 0);
}
