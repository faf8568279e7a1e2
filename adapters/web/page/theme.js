// Applies what was chosen in the settings before the first paint, so that nothing flashes. A classic
// script, because modules run after the page is drawn. `preferences.js` has the same names.
"use strict";
try {
  const allowed = {
    theme: ["light", "dark"],
    density: ["compact"],
    text: ["small", "large", "larger"],
    wrap: ["on"],
  };
  for (const [name, values] of Object.entries(allowed)) {
    const chosen = JSON.parse(localStorage.getItem(`threadline.${name}`) ?? "null");
    if (values.includes(chosen)) document.documentElement.dataset[name] = chosen;
  }
  if (localStorage.getItem("threadline.sidebar")) document.documentElement.dataset.sidebar = "closed";
} catch {
  // Storage can be forbidden; then the defaults apply.
}
