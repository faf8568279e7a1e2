// Applies the chosen theme before the first paint, so that nothing flashes. A classic script, because
// modules run after the page is drawn.
"use strict";
try {
  const chosen = JSON.parse(localStorage.getItem("threadline.theme") ?? "null");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  if (localStorage.getItem("threadline.sidebar")) document.documentElement.dataset.sidebar = "closed";
} catch {
  // Storage can be forbidden; then the system's theme applies.
}
