// Elements from names and values. Values become text and attributes, never markup: hits and names are not ours.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. `attributes` may have `on`, listeners by event; null and false leave an attribute out. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Make an element of a drawing. */
export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Return the element of this page that has the id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Make the options of a `select` anew, keeping what is chosen where that is still there. */
export function setOptions(select, options, chosen = select.value) {
  select.replaceChildren(
    ...options.map(({ value, label }) => element("option", { value }, label ?? value)),
  );
  if (options.some(({ value }) => value === chosen)) select.value = chosen;
}

/** Open a dialog; the promise ends when it is closed, with its `returnValue`. */
export function opened(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

function filled(made, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const [event, listener] of Object.entries(on)) made.addEventListener(event, listener);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}
