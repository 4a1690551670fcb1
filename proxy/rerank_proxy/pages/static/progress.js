// What a visitor waits for, and since when. Quick searches show nothing of it, so that nothing flickers.

import { byId } from "./dom.js";
import { duration } from "./numbers.js";

const EVERY_MS = 1000;
let timer = null;

/** Begin to wait for a search: after a second it is named, and what stands below is shown to be an earlier one's. */
export function began(what) {
  clearInterval(timer);
  const start = performance.now();
  const draw = () => {
    byId("progress").textContent = `${what}: ${duration((performance.now() - start) / 1000)} …`;
    byId("main").classList.add("waiting");
  };
  if (byId("main").classList.contains("waiting")) draw();
  timer = setInterval(draw, EVERY_MS);
}

/** Show that no search is under way. */
export function ended() {
  clearInterval(timer);
  byId("progress").textContent = "";
  byId("main").classList.remove("waiting");
}
