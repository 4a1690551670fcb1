// Asks the visitor for Elasticsearch's credentials and for the admin token, and shows who searches.

import * as credentials from "./credentials.js";
import { byId, opened } from "./dom.js";
import { useSignIn } from "./requests.js";

const PROMISE = "What you enter stays in the memory of this page, and is gone when you leave it.";
/** To sign in with. */
const WAYS = ["key", "user", "bearer"];
const pending = new Map();

/** Let requests ask for what they need, and the buttons of the header work. */
export function start(onChange) {
  useSignIn({ token: (wrong) => once("token", () => askToken(wrong)), elasticsearch: (wrong) => once("credentials", () => askCredentials(wrong)) });
  for (const way of WAYS) byId(`with-${way}`)?.addEventListener("click", () => choose(way));
  byId("sign-in")?.addEventListener("click", async () => {
    if (await once("credentials", () => askCredentials(null))) onChange();
  });
  byId("sign-out")?.addEventListener("click", () => {
    credentials.forget();
    onChange();
  });
  for (const dialog of document.querySelectorAll("dialog")) {
    for (const button of dialog.querySelectorAll("[data-close]")) button.addEventListener("click", () => dialog.close());
    dialog.querySelector("form")?.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close("given");
    });
  }
  addEventListener("pagehide", emptied);
  credentials.onChange(showVisitor);
  showVisitor();
}

/** Leave nothing in a dialog that is open when its page is left. */
function emptied() {
  for (const form of document.querySelectorAll("dialog form")) form.reset();
}

/** Several requests that lack the same thing ask for it once. */
function once(name, asking) {
  if (!pending.has(name)) pending.set(name, asking().finally(() => pending.delete(name)));
  return pending.get(name);
}

async function askToken(wrong) {
  byId("token-why").textContent = wrong
    ? "That was another token than the setting admin.token has. Please try again."
    : `It is the value of the setting admin.token. ${PROMISE}`;
  const given = await shown("token");
  const token = taken("admin-token");
  if (!given || token === "") return false;
  credentials.setToken(token);
  return true;
}

/** wrong: true, what was given is not known; false, nothing was given; null, the visitor asks to sign in. */
async function askCredentials(wrong) {
  byId("credentials-why").textContent =
    (wrong ? "Elasticsearch does not accept these credentials, or no more. " : wrong === false ? "Elasticsearch wants to know who searches. " : "") +
    `Searches run with your own rights. ${PROMISE}`;
  const given = await shown("credentials");
  const [key, bearer, user, password] = [taken("api-key").trim(), taken("bearer").trim(), byId("user").value, taken("password")];
  if (!given) return false;
  const way = WAYS.find((each) => byId(`with-${each}`).getAttribute("aria-pressed") === "true");
  if (way === "key" && key !== "") credentials.setApiKey(key);
  else if (way === "bearer" && bearer !== "") credentials.setBearer(bearer);
  else if (way === "user" && user !== "") credentials.setUser(user, password);
  else return false;
  return true;
}

async function shown(id) {
  const dialog = byId(id);
  const closed = opened(dialog);
  dialog.querySelector("div:not([hidden]) > input")?.focus();
  return (await closed) === "given";
}

/** Return what a field holds, and empty it: secrets do not stay in the page. */
function taken(id) {
  const field = byId(id);
  const { value } = field;
  field.value = "";
  return value;
}

function choose(way) {
  for (const each of WAYS) {
    byId(`with-${each}`).setAttribute("aria-pressed", String(each === way));
    for (const part of document.querySelectorAll(`.${each}-part`)) part.hidden = each !== way;
  }
}

function showVisitor() {
  const visitor = credentials.visitor();
  const chip = byId("visitor");
  if (chip !== null) {
    chip.textContent = visitor === null ? "not signed in" : `as ${visitor}`;
    chip.classList.toggle("accent", visitor !== null);
  }
  const signOut = byId("sign-out");
  if (signOut !== null) signOut.hidden = visitor === null && !credentials.hasToken();
}
