// What people are told above the results: what went wrong, what was left out, and how to begin.

import { byId, element } from "./dom.js";
import { remedy } from "./faults.js";

/** Show notes in place of earlier ones. */
export function show(...notes) {
  byId("notes").replaceChildren(...notes);
}

/** Return the note about a fault: what, where, what to do. */
export function faultNote(fault, ...actions) {
  const whatToDo = remedy(fault);
  const code = [fault.status > 0 && `status ${fault.status}`, fault.type].filter(Boolean).join(", ");
  return element(
    "div",
    { class: "message fault", role: "alert" },
    element("h2", {}, fault.where ? `${fault.where} failed` : "That did not work"),
    element("p", {}, fault.reason ?? fault.message),
    fault.causes?.length > 0 && element("ul", { class: "small causes" }, fault.causes.map((cause) => element("li", {}, cause))),
    whatToDo && element("p", {}, element("strong", {}, "What to do: "), ...withCode(whatToDo)),
    code !== "" && element("p", { class: "small quiet" }, code),
    actions.length > 0 && element("div", { class: "row" }, ...actions),
  );
}

/** Return a note that something is not as someone may expect. */
export function warning(title, ...lines) {
  return element("div", { class: "message warning" }, element("h2", {}, title), ...lines.map((line) => element("p", {}, ...withCode(line))));
}

/** Return how to make an index. */
export function noIndex(url) {
  const command =
    `curl -X POST '${url}/films/_doc?refresh=true' -H 'Content-Type: application/json' \\\n` +
    `  -d '{"title": "Heat", "plot": "A detective hunts a crew of bank robbers in Los Angeles."}'`;
  return begin("There is no index yet", "Or none that you may see. This makes one, with a text in it:", command, "Then reload this page.");
}

/** Return how to make an endpoint. */
export function noEndpoint() {
  const command =
    `rerank-proxy serve … --model minilm=cross-encoder/ms-marco-MiniLM-L6-v2 \\\n` +
    `  --endpoint .rerank-v1-elasticsearch=minilm`;
  return begin(
    "There is no endpoint that reranks",
    "An endpoint says which model or service scores. Start the proxy with a model of this machine:",
    command,
    "or add a service to the proxy that runs: `rerank-proxy endpoints put my-cohere --service cohere --setting model_id=rerank-v3.5 --secret api_key=COHERE_API_KEY`. Then reload this page.",
  );
}

/** Return what the page is for, while nothing has been searched for. */
export function welcome() {
  return element(
    "div",
    { class: "welcome" },
    element("p", { class: "lead" }, "See what a reranker does to your own search."),
    element(
      "ol",
      {},
      element("li", {}, element("strong", {}, "Ask. "), "Elasticsearch finds hits by words, and the model orders them by what they mean."),
      element("li", {}, element("strong", {}, "Compare. "), "Lines show where each hit went, and what the model saw of its text."),
      element("li", {}, element("strong", {}, "Take it along "), "as a command or a program for your application."),
    ),
    element("p", { class: "small quiet" }, element("kbd", {}, "Enter"), " searches, ", element("kbd", {}, "Ctrl"), " ", element("kbd", {}, "Enter"), " from anywhere in the form."),
  );
}

function begin(title, before, command, after) {
  return element(
    "div",
    { class: "card begin" },
    element("h2", {}, title),
    element("p", {}, before),
    element("pre", { tabindex: "0", role: "region", "aria-label": "Command" }, command),
    element("p", {}, ...withCode(after)),
  );
}

/** What stands between backquotes is code. */
function withCode(text) {
  return text.split("`").map((part, at) => (at % 2 === 1 ? element("code", {}, part) : part));
}
