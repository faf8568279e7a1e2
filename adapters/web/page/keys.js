// Keyboard shortcuts, clipboard and theme of the whole page.
import { browser as here, copyText, isComposing } from "./dom.js";
import { applyPreferences, CHOICES, prefer, preference } from "./preferences.js";

const $ = (selector) => document.querySelector(selector);

// ── shortcuts ─────────────────────────────────────────────────────────────────────────────────
/** The shortcuts of the help dialog; the settings turn single-key ones off. */
export function installKeys(page) {
  const help = $("#shortcuts");
  $("#help").addEventListener("click", () => help.showModal());
  $(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    active(page).box.box.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || isComposing(event) || document.querySelector("dialog[open]")) return;
    const done = always(page, event) || (here.get("keys", true) && !typing(event) && once(page, event, help));
    if (done || onMessage(page, event)) event.preventDefault();
  });
}

const active = (page) => (page.state.paneIsOpen ? page.thread : page.channel);
const typing = ({ target }) => target.closest("input, textarea, [contenteditable]");
const plain = (event) => !event.ctrlKey && !event.metaKey && !event.altKey;

function always(page, event) {
  if (event.key === "." && (event.ctrlKey || event.metaKey)) page.commands.stop();
  else if (event.key === "Escape" && page.context.isOpen) page.context.close();
  else if (event.key === "Escape" && page.state.paneIsOpen) page.router.close();
  else if (event.key === "F6" && page.state.paneIsOpen) otherPane(page).box.box.focus();
  else if (event.key === "ArrowUp" && event.target.matches("textarea") && !event.target.value) {
    return paneOf(page, event.target).feed.focus();
  } else return false;
  return true;
}

function once(page, event, help) {
  if (!plain(event)) return false;
  if (event.key === "?") help.showModal();
  else if (event.key === "/") active(page).box.box.focus();
  else if (event.key === "c") event.target.querySelector("[data-copy=message]:not([hidden])")?.click();
  else return false;
  return true;
}

function onMessage(page, event) {
  const { target } = event;
  if (event.key !== "Enter" || !plain(event) || !target.matches("article")) return false;
  if (target.matches(".root")) page.router.show(target.dataset.id);
  else paneOf(page, target).box.box.focus();
  return true;
}

const paneOf = (page, node) => (page.thread.root.contains(node) ? page.thread : page.channel);

function otherPane(page) {
  return paneOf(page, document.activeElement) === page.thread ? page.channel : page.thread;
}

// ── the clipboard ─────────────────────────────────────────────────────────────────────────────
const SHOWN_MS = 1_500;

/** Copy buttons of messages (their Markdown) and of code blocks. */
export function installCopying({ say, source }) {
  document.addEventListener("click", async ({ target }) => {
    const button = /** @type {any} */ (target).closest("[data-copy]");
    if (!button) return;
    const code = button.dataset.copy === "code";
    await copyText(code ? button.closest("figure").querySelector("pre").textContent : source(button));
    say(code ? "Code copied." : "Message copied.");
    const sign = button.querySelector(".icon");
    sign.className = "icon icon-check";
    setTimeout(() => (sign.className = "icon icon-copy"), SHOWN_MS);
  });
}

// ── the theme ─────────────────────────────────────────────────────────────────────────────────
/** The button cycles through system, light and dark; all tabs follow. */
export function installTheme(button) {
  const show = () => {
    const theme = preference("theme");
    button.querySelector(".icon").className = `icon icon-${theme}`;
    button.setAttribute("aria-label", `Theme: ${theme}`);
    button.title = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    const { theme } = CHOICES;
    prefer("theme", theme[(theme.indexOf(preference("theme")) + 1) % theme.length]);
  });
  addEventListener("preferences", show);
  addEventListener("storage", applyPreferences);
  applyPreferences();
}
