// A search as a command or a program to copy. Credentials are placeholders, always. Pure.

import { writeJson } from "./json_text.js";

/** The forms there are: `name` for people, `text` from `{url, index, body, kind}`; kind as credentials.kind() says. */
export const FORMS = [
  { name: "curl", text: curl },
  { name: "Python", text: python },
  { name: "JavaScript", text: javascript },
  { name: "JSON", text: ({ body }) => writeJson(body, 2) },
];

/** Credentials are taken from the environment, by the same names in all forms. */
const HEADERS = {
  "API key": `  -H "Authorization: ApiKey $API_KEY" \\\n`,
  token: `  -H "Authorization: Bearer $TOKEN" \\\n`,
  user: `  -u "$USER_NAME:$PASSWORD" \\\n`,
};
const PYTHON = {
  "API key": `, api_key=os.environ["API_KEY"]`,
  token: `, bearer_auth=os.environ["TOKEN"]`,
  user: `, basic_auth=(os.environ["USER_NAME"], os.environ["PASSWORD"])`,
};
const JAVASCRIPT = {
  "API key": `, auth: { apiKey: process.env.API_KEY }`,
  token: `, auth: { bearer: process.env.TOKEN }`,
  user: `, auth: { username: process.env.USER_NAME, password: process.env.PASSWORD }`,
};
/** What the clients for Python of all versions that know retrievers take by name, in their own spelling. */
const KEYWORDS = new Map(
  ["aggs", "aggregations", "collapse", "explain", "fields", "highlight", "min_score", "post_filter", "profile", "retriever"]
    .concat(["runtime_mappings", "size", "sort", "timeout", "track_scores", "track_total_hits", "version"])
    .map((name) => [name, name]),
);
KEYWORDS.set("from", "from_").set("_source", "source");

function curl({ url, index, body, kind }) {
  const target = `${url}/${encodeURIComponent(index).replaceAll("%2C", ",").replaceAll("%2A", "*")}/_search`;
  return (
    `curl ${shell(target)} \\\n${HEADERS[kind] ?? ""}` +
    `  -H 'Content-Type: application/json' \\\n  -d ${shell(writeJson(body, 2))}`
  );
}

function python({ url, index, body, kind }) {
  // A body may be someone else's, by a link: what is more than a name would be run as a part of the program.
  const unfit = Object.keys(body).find((name) => !/^[a-z_]+$/.test(name));
  if (unfit !== undefined) return `# Python's client has no argument ${JSON.stringify(unfit)}`;
  const known = Object.keys(body).every((name) => KEYWORDS.has(name));
  const options = known
    ? Object.entries(body).map(([name, value]) => `    ${KEYWORDS.get(name)}=${pythonic(value, 1)},\n`)
    : [`    body=${pythonic(body, 1)},\n`];
  return (
    `${PYTHON[kind] ? "import os\n\n" : ""}from elasticsearch import Elasticsearch\n\n` +
    `client = Elasticsearch(${JSON.stringify(url)}${PYTHON[kind] ?? ""})\n` +
    `answer = client.search(\n    index=${JSON.stringify(index)},\n${options.join("")})\n` +
    `for hit in answer["hits"]["hits"]:\n    print(hit["_score"], hit["_id"])`
  );
}

function javascript({ url, index, body, kind }) {
  const search = writeJson({ index, ...body }, 2);
  return (
    `import { Client } from "@elastic/elasticsearch";\n\n` +
    `const client = new Client({ node: ${JSON.stringify(url)}${JAVASCRIPT[kind] ?? ""} });\n` +
    `const answer = await client.search(${search});\n` +
    `for (const hit of answer.hits.hits) console.log(hit._score, hit._id);`
  );
}

function shell(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function pythonic(value, depth) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return writeJson(value);
  const inner = "    ".repeat(depth + 1);
  const outer = "    ".repeat(depth);
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  const parts = Array.isArray(value)
    ? value.map((each) => pythonic(each, depth + 1))
    : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${pythonic(each, depth + 1)}`);
  if (parts.length === 0) return `${open}${close}`;
  const line = `${open}${parts.join(", ")}${close}`;
  if (line.length + outer.length < 90 && !line.includes("\n")) return line;
  return `${open}\n${parts.map((part) => `${inner}${part},\n`).join("")}${outer}${close}`;
}
