// What there is to choose from: indices, their text fields, endpoints. As the visitor may see it.

import { ask } from "./requests.js";

const TEXTS = new Set(["text", "match_only_text", "semantic_text", "pattern_text", "annotated_text"]);
const WORDS = new Set(["keyword", "wildcard", "constant_keyword"]);
const AT_MOST = 500;

/** Return the names of indices, data streams and aliases; those of the system are left out. */
export async function indices() {
  const { body } = await ask("GET", "/_resolve/index/*?expand_wildcards=open", null, { where: "The list of indices" });
  const found = [];
  for (const [kind, entries] of [["index", body.indices], ["data stream", body.data_streams], ["alias", body.aliases]]) {
    for (const { name, data_stream: stream } of entries ?? []) {
      if (typeof name === "string" && !name.startsWith(".") && stream === undefined) {
        found.push({ value: name, label: kind === "index" ? name : `${name} (${kind})` });
      }
    }
  }
  return found.sort((one, other) => one.value.localeCompare(other.value)).slice(0, AT_MOST);
}

/** Return the fields of an index that hold text, those for full text first. */
export async function textFields(index) {
  const { body } = await ask("GET", `/${encodeURIComponent(index)}/_mapping`, null, { where: "The mapping of the index" });
  const found = new Map();
  for (const { mappings } of Object.values(body)) collect(mappings?.properties, "", found);
  const fields = [...found].map(([name, type]) => ({ value: name, type }));
  fields.sort((one, other) => TEXTS.has(other.type) - TEXTS.has(one.type) || likely(other) - likely(one));
  return fields.slice(0, AT_MOST).map(({ value, type }) => ({
    value,
    label: TEXTS.has(type) ? value : `${value} (${type})`,
  }));
}

/** Return the endpoints that rerank. */
export async function endpoints() {
  const { body } = await ask("GET", "/_inference/rerank/_all", null, { where: "The list of endpoints" });
  return (body.endpoints ?? [])
    .filter(({ inference_id: id }) => typeof id === "string")
    .map(({ inference_id: id, service, service_settings: settings }) => {
      const model = settings?.model_id ?? settings?.model;
      return { value: id, label: model ? `${id} – ${model}` : `${id} – ${service}` };
    });
}

function collect(properties, path, found) {
  for (const [name, field] of Object.entries(properties ?? {})) {
    const full = path + name;
    if (TEXTS.has(field?.type) || WORDS.has(field?.type)) found.set(full, field.type);
    if (field?.properties !== undefined && field.type !== "nested") collect(field.properties, `${full}.`, found);
  }
}

/** Longer texts are what reranking is for; their fields often have one of these names. */
function likely({ value }) {
  return /(^|\.)(body|content|text|plot|description|abstract|passage|summary)$/i.test(value) ? 1 : 0;
}
