// The parts of the status page, each from its part of status.json.

import { element } from "./dom.js";
import { bytes, counted, duration, milliseconds, whole as grouped } from "./numbers.js";

const GOOD = new Set(["ready", "applied", "evaluated", "ok", "passed"]);
const SHORT = new Set(["Precision", "Size", "Last used", "When", "What", "Status", "Took"]);
const FEW = 10;
const BAD = new Set(["failed", "error"]);
const FIGURES = {
  queued_texts: "texts waiting",
  queued_tokens: "tokens waiting",
  workers: "workers",
  missing_workers: "workers missing",
  cache_entries: "scores in the cache",
  cache_bytes: "size of the cache",
};

/** Return the line that says whether the proxy is ready. now: in milliseconds since 1970. */
export function stateLine(status, now) {
  const { ready, reason, version, started_at: started } = status;
  const toDo = ready ? null : whatToDo(status);
  const began = Date.parse(started);
  const since = Number.isFinite(began) ? `, started ${duration((now - began) / 1000)} ago` : "";
  return element(
    "div",
    { class: ready ? "state" : "state not" },
    element("h2", {}, ready ? "✓ Ready" : "✕ Not ready"),
    element("p", {}, ready ? "Searches are reranked." : (reason ?? "")),
    element("p", { class: "since" }, `Version ${version ?? "unknown"}${since}`),
    toDo !== null && element("p", { class: "to-do" }, element("strong", {}, "What to do: "), toDo),
  );
}

/** Say what helps a proxy that is not ready; null where nothing does, as while it stops. */
function whatToDo({ models = [], engine: figures = {} }) {
  const some = (state) => models.some((model) => model.state === state);
  if (some("failed")) return "Correct what the reason names: the source of the model, its files, or the memory. It is tried again by itself, and sooner if the proxy is started again.";
  if (some("loading")) return "Wait: a model is read in seconds, and downloaded in minutes. The log shows the progress.";
  if (figures.missing_workers > 0) return "Give the proxy more memory, or fewer workers: the log says how they ended. They are started again by themselves.";
  if (Object.keys(figures).length > 0) return null;
  return "Wait a minute. If this stays, the log says how the reranking process ended, and when it is started again.";
}

/** Return the cards of the page. whole: the names of long lists of which all is shown, not only some. */
export function parts(status, now, whole) {
  const latest = status.recent ?? [];
  const byNeed = worstFirst(status.endpoints ?? []);
  const some = (name, list) => (whole.has(name) ? list : list.slice(0, FEW));
  const { mrr = [], interleaved = [] } = status.online ?? {};
  return [
    card("Models", models(status.models ?? []), "The proxy has no models of its own. Endpoints of services need none.", true),
    card("Engine", engine(status.engine ?? {}), "The reranking process does not tell."),
    card("Elasticsearch", nodes(status.upstream ?? []), "No node is known."),
    card("Endpoints", endpoints(some("endpoints", byNeed)), "There is no endpoint that reranks: `rerank-proxy endpoints put` makes one.", true, more("endpoints", byNeed, whole)),
    ...(mrr.length > 0 ? [card("Where users click", ranks(mrr), "", true)] : []),
    ...(interleaved.length > 0 ? [card("Which order users prefer", preferences(interleaved), "", true)] : []),
    card("Latest searches and calls", recent(some("latest", latest), now), "Nothing was reranked since the start.", true, more("latest", latest, whole)),
    card("Settings that differ from the default", settings(status.settings ?? []), "All are as by default.", true),
  ];
}

/** Return the button that shows all of a list, or again only some. */
function more(name, list, whole) {
  if (list.length <= FEW) return null;
  return element("button", { id: `all-${name}`, type: "button", class: "more", "data-list": name }, whole.has(name) ? `Show the first ${FEW}` : `Show all ${list.length}`);
}

/** Those that cannot be used come first, then those that fail: among many they must not be looked for. */
function worstFirst(all) {
  const rank = ({ usable, reason }) => (usable ? (reason ? 1 : 2) : 0);
  return [...all].sort((one, other) => rank(one) - rank(other));
}

function card(title, content, empty, broad = false, below = null) {
  return element(
    "section",
    { class: broad ? "card broad" : "card", "aria-label": title },
    element("h2", {}, title),
    content ?? element("p", { class: "quiet" }, ...empty.split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part))),
    below,
  );
}

function models(all) {
  return table(
    ["Model", "State", "Source", "Precision", "Size", "Last used"],
    all.map((model) => [
      model.name,
      [chip(model.state), model.detail && element("span", { class: `detail ${BAD.has(model.state) ? "fault" : ""}` }, model.detail)],
      model.source,
      model.precision,
      known(model.bytes, bytes),
      known(model.last_used_s, (seconds) => `${duration(seconds)} ago`),
    ]),
  );
}

function engine(figures) {
  const entries = Object.entries(figures).filter(([, value]) => typeof value === "number");
  if (entries.length === 0) return null;
  return element(
    "dl",
    { class: "figures" },
    entries.map(([name, value]) =>
      element(
        "div",
        { class: name === "missing_workers" && value > 0 ? "fault" : null },
        element("dt", {}, FIGURES[name] ?? name.replaceAll("_", " ")),
        element("dd", {}, name.endsWith("bytes") ? bytes(value) : grouped(value)),
      ),
    ),
  );
}

function nodes(all) {
  return table(
    ["Node", "State"],
    all.map(({ node, up, tried = true, ...more }) => [
      node,
      [tried ? (up ? chip("up", "good") : chip("down", "fault")) : chip("not tried yet"), details(more)],
    ]),
  );
}

function details({ requests, failures, times_left_out: times, reason, tried_in_s: next }) {
  const found = [
    reason,
    typeof next === "number" && `tried again in ${duration(next)}`,
    requests > 0 && `${counted(requests, "request")} under way`,
    failures > 0 && `${counted(failures, "attempt")} to connect failed`,
    times > 0 && `left out ${counted(times, "time")}`,
  ].filter(Boolean);
  return found.length > 0 && element("span", { class: reason ? "detail fault" : "detail" }, found.join("; "));
}

function endpoints(all) {
  return table(
    ["Endpoint", "Service", "Model", "State"],
    all.map(({ inference_id: id, service, model, usable, reason }) => [
      id,
      service,
      model,
      [usability(usable, reason), reason && element("span", { class: `detail ${usable ? "" : "fault"}` }, reason)],
    ]),
  );
}

/** An endpoint that can be called has a reason to be looked at where its last call failed. */
function usability(usable, reason) {
  if (!usable) return chip("not usable", "fault");
  return reason ? chip("failing", "warning") : chip("usable", "good");
}

/** Means of the reciprocal rank of what is clicked, since the start. */
function ranks(all) {
  return table(
    ["Endpoint", "Part", "Searches with clicks", "MRR before", "MRR after"],
    all.map(({ endpoint, mode, searches, before, after }) => [endpoint, mode, grouped(searches), before.toFixed(3), after.toFixed(3)]),
  );
}

/** Wins of endpoints in interleaved searches, since the start. */
function preferences(all) {
  return table(
    ["Endpoint", "Against", "Wins", "Losses", "Ties", "Preferred"],
    all.map(({ endpoint, against, win, loss, tie, preferred }) => [endpoint, against === "first_stage" ? "first stage" : against, grouped(win), grouped(loss), grouped(tie), known(preferred, preference)]),
  );
}

function preference({ share, low, high }) {
  const [at, from, to] = [share, low, high].map((part) => `${Math.round(100 * part)} %`);
  const [text, kind] = low > 0.5 ? ["preferred", "good"] : high < 0.5 ? ["not preferred", "warning"] : ["undecided"];
  return [chip(text, kind), element("span", { class: "detail" }, `${at}, between ${from} and ${to}`)];
}

function recent(all, now) {
  return table(
    ["When", "What", "Outcome", "Endpoint", "Status", "Took"],
    all.map((each) => [
      since(each.at, now),
      each.kind,
      [chip(each.outcome), each.error && element("span", { class: "detail fault" }, each.error)],
      each.endpoint,
      known(each.status, String),
      known(each.took_ms, milliseconds),
    ]),
  );
}

function settings(all) {
  return table(
    ["Setting", "Value", "Default"],
    all.map(({ name, value, default: usual }) => [element("code", {}, name), element("code", {}, written(value)), element("code", { class: "quiet" }, written(usual))]),
  );
}

function written(value) {
  if (value === null || value === undefined) return "none";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Times are those of the proxy's clock, as text or in seconds since 1970. */
function since(at, now) {
  const time = typeof at === "number" ? at * 1000 : Date.parse(at);
  return Number.isFinite(time) ? `${duration((now - time) / 1000)} ago` : "–";
}

function known(value, form) {
  return value === null || value === undefined ? null : form(value);
}

function chip(text, kind = GOOD.has(text) ? "good" : BAD.has(text) ? "fault" : text === "skipped" ? "warning" : "") {
  return text === null || text === undefined ? "–" : element("span", { class: `chip ${kind}` }, text);
}

/** Return a table; on a narrow screen each cell shows the name of its column. */
function table(names, rows) {
  if (rows.length === 0) return null;
  return element(
    "table",
    { class: "stacked" },
    element("thead", {}, element("tr", {}, names.map((name) => element("th", { scope: "col" }, name)))),
    element(
      "tbody",
      {},
      rows.map((cells) =>
        element(
          "tr",
          {},
          cells.map((content, at) => {
            const nothing = content === null || content === undefined || content === "";
            return element(
              at === 0 ? "th" : "td",
              { scope: at === 0 ? "row" : null, "data-name": names[at], class: nothing ? "empty" : SHORT.has(names[at]) ? "nowrap" : null },
              element("div", {}, ...(nothing ? ["–"] : [content].flat())),
            );
          }),
        ),
      ),
    ),
  );
}
