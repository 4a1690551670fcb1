// Light or dark: as the system has it, or as the visitor's switch says. A classic script in the head, so that
// no page is drawn in the other colours first. A page has `<button type="button" data-theme-switch></button>`.

(() => {
  const KEY = "rerank-proxy-theme";
  const NEXT = { system: "light", light: "dark", dark: "system" };
  const NAMES = { system: "as the system has it", light: "light", dark: "dark" };
  // A half-filled circle, a sun, a moon.
  const SHAPES = {
    system: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17Z M12 3.5v17 M14.5 4.5v15 M17 6v12 M19 8v8",
    light: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z M12 2v2 M12 20v2 M2 12h2 M20 12h2 M5 5l1.4 1.4 M17.6 17.6 19 19 M5 19l1.4-1.4 M17.6 6.4 19 5",
    dark: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5Z",
  };

  let theme = "system";
  try {
    const kept = localStorage.getItem(KEY);
    if (kept in NEXT) theme = kept;
  } catch {
    // Storage is switched off: the switch works until the page is left.
  }
  apply();

  function apply() {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  function draw(button) {
    const name = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(name, "svg");
    const path = document.createElementNS(name, "path");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", SHAPES[theme]);
    path.setAttribute("fill", "none");
    path.setAttribute("stroke", "currentColor");
    path.setAttribute("stroke-width", "2");
    path.setAttribute("stroke-linecap", "round");
    svg.append(path);
    button.replaceChildren(svg);
    button.title = `Colours: ${NAMES[theme]}`;
    button.setAttribute("aria-label", `Colours: ${NAMES[theme]}. Change to ${NAMES[NEXT[theme]]}.`);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-theme-switch]");
    if (button === null) return;
    draw(button);
    button.addEventListener("click", () => {
      theme = NEXT[theme];
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // As above.
      }
      apply();
      draw(button);
    });
  });
})();
