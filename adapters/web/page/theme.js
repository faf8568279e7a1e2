// Before the first paint: the theme that was chosen here, so that nothing flashes.
// A classic script on purpose, because modules run after the page was drawn.
"use strict";
try {
  const chosen = JSON.parse(localStorage.getItem("threadline.theme") ?? "null");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage can be forbidden; then the system's theme holds.
}
