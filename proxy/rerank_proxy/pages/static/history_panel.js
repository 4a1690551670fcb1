// The dialog with earlier searches.

import { byId, element } from "./dom.js";
import * as state from "./state.js";

/** Let the button open the dialog; `again` is called with a search that is chosen. */
export function start(again) {
  const show = () => {
    const earlier = state.remembered();
    byId("earlier").replaceChildren(
      ...(earlier.length === 0 ? [element("li", { class: "quiet" }, "None yet.")] : earlier.map((past) => item(past, again))),
    );
    byId("clear-history").disabled = earlier.length === 0;
    if (!byId("history").open) byId("history").showModal();
  };
  byId("open-history").addEventListener("click", show);
  byId("clear-history").addEventListener("click", () => {
    state.forgetAll();
    show();
    byId("history").querySelector("[data-close]").focus();
  });
}

function item(past, again) {
  const choose = () => {
    byId("history").close();
    again(past);
  };
  const sides = [past.a, past.b].filter(Boolean).join(" and ");
  return element(
    "li",
    {},
    element(
      "button",
      { type: "button", class: "plain", on: { click: choose } },
      element("span", {}, state.inWords(past)),
      element("span", { class: "small quiet" }, sides),
    ),
  );
}
