// Code blocks: line wrap, copy, download, folding, and the parts that keep a long one cheap while it grows.
import { browser, el, icon, saveFile } from "./dom.js";
import { clearDiagram, drawsDiagrams, showDiagram, toggleDiagram } from "./mermaid.js";

const PART = 50; // lines; the browser lays out the whole text of an element when its end grows
const COUNTED = 20; // lines of a block whose length is told
const FOLDED = 60; // lines of a block that is folded once the answer has ended
const NAMED = /^\s*(?:#|\/\/|--|;|%|\/\*|<!--)\s*([A-Za-z0-9][\w.-]{0,58}\.([a-z0-9]{1,8}))\s*(?:\*\/|-->)?\s*$/;

/** `pre`, built from the server's `node`, in a figure with its buttons. */
export function codeBlock(pre, { language, file }) {
  const code = pre.firstElementChild ?? pre;
  const end = lastText(code);
  if (end) end.data = end.data.replace(/\n$/, ""); // otherwise the cursor appears below the text
  split(code);
  pre.setAttribute("tabindex", "0"); // scrolls sideways by keyboard, too
  pre.setAttribute("role", "group");
  pre.setAttribute("aria-label", language ? `Code in ${language}` : "Code");
  const wrapped = browser.get("wrap", false);
  const caption = el(
    "figcaption",
    {},
    el("span", { class: "language" }, language || "text"),
    el("span", { class: "lines" }),
    language === "mermaid" && tool("diagram", "Show the diagram", { "data-code": "diagram", "aria-pressed": "false" }),
    tool("wrap", "Wrap lines", { "data-code": "wrap", "aria-pressed": String(wrapped) }),
    tool("save", "Save as a file", { "data-code": "save", "data-file": file || "code.txt" }),
    el("button", { type: "button", class: "quiet", "data-copy": "code" }, icon("copy"), el("span", { class: "label" }, "Copy code")),
  );
  return el("figure", { class: wrapped ? "code wrapped" : "code" }, caption, pre);
}

function tool(sign, words, data) {
  return el("button", { type: "button", class: "quiet", title: words, "aria-label": words, ...data }, icon(sign));
}

/** Turn the block `old` into `made` by `morph`, keeping its buttons and display state. */
export function morphCode(old, made, morph) {
  const [before, after] = [old, made].map((figure) => figure.querySelector("pre"));
  const same = before.getAttribute("aria-label") === after.getAttribute("aria-label");
  if (!same) return old.replaceWith(made);
  if (before.textContent !== after.textContent) clearDiagram(old);
  morph(before.firstElementChild, after.firstElementChild);
}

// ── a growing block ───────────────────────────────────────────────────────────────────────────
/** Append to the text of a block without colors. */
export function appendCode(code, added, cursor) {
  const text = textOf(code.querySelector(":scope > .part:last-of-type") ?? code);
  if (text) text.appendData(added);
  else code.insertBefore(document.createTextNode(added), cursor.parentNode === code ? cursor : null);
  split(code);
}

/** Keep plain code in parts of the same number of lines; the first text stays, with a selection in it. */
function split(code) {
  const nodes = [...code.childNodes].filter((node) => node.className !== "cursor");
  const first = nodes[0];
  if (nodes.length === 1 && first.nodeType === Node.TEXT_NODE && first.data) {
    const around = part();
    first.replaceWith(around);
    around.append(first);
  }
  const last = code.querySelector(":scope > .part:last-of-type");
  if (!last) return;
  let text = textOf(last);
  for (let end = afterLines(text.data); end > 0 && end < text.data.length; end = afterLines(text.data)) {
    const next = part();
    text.parentNode.after(next);
    next.append(text.splitText(end));
    text = textOf(next);
  }
}

const textOf = (node) => [...node.childNodes].findLast((child) => child.nodeType === Node.TEXT_NODE);
const part = () => el("span", { class: "part" });

/** The offset after `PART` lines; -1 if there are fewer. */
function afterLines(text) {
  let at = 0;
  for (let line = 0; line < PART; line++) {
    at = text.indexOf("\n", at) + 1;
    if (at === 0) return -1;
  }
  return at;
}

function lastText(node) {
  while (node?.lastChild) node = node.lastChild;
  return node?.nodeType === Node.TEXT_NODE ? node : null;
}

// ── an answer that has ended ──────────────────────────────────────────────────────────────────
/** Show the length of long blocks and fold them, except those that the reader is looking at. */
export function settle(root, wasWriting) {
  for (const figure of root.querySelectorAll("figure.code")) {
    const pre = figure.querySelector("pre");
    const lines = pre.textContent.split("\n").length;
    figure.querySelector(".lines").textContent = lines > COUNTED ? `${lines} lines` : "";
    const fold = figure.querySelector(".fold");
    if (lines <= FOLDED) fold?.remove();
    else if (fold) fold.firstChild.data = foldWords(figure, lines);
    else addFold(figure, lines, wasWriting && isInView(figure));
    if (drawsDiagrams() && figure.querySelector("[data-code=diagram][aria-pressed=false]")) showDiagram(figure);
  }
}

/** Prepare for more text: nothing below a block may obstruct its end. */
export function unsettle(root) {
  for (const fold of root.querySelectorAll(".code > .fold")) fold.remove();
  for (const figure of root.querySelectorAll(".code.folded")) figure.classList.remove("folded");
  for (const figure of root.querySelectorAll(".code:has(.diagram)")) clearDiagram(figure);
}

function addFold(figure, lines, open) {
  figure.classList.toggle("folded", !open);
  const button = el("button", { type: "button", class: "fold", "data-code": "fold", "aria-expanded": String(open) }, " ");
  figure.append(button);
  button.firstChild.data = foldWords(figure, lines);
}

const foldWords = (figure, lines) => (figure.matches(".folded") ? `Show all ${lines} lines` : "Show fewer lines");

function isInView(node) {
  const { top, bottom } = node.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

// ── the buttons ───────────────────────────────────────────────────────────────────────────────
const DEEDS = {
  wrap(button, figure) {
    const wrapped = figure.classList.toggle("wrapped");
    button.setAttribute("aria-pressed", String(wrapped));
    browser.set("wrap", wrapped); // for the blocks that come
  },
  save(button, figure, say) {
    const text = figure.querySelector("pre").textContent;
    const name = fileName(button.dataset.file, text);
    saveFile(new Blob([`${text}\n`]), name);
    say(`Saved as ${name}.`);
  },
  diagram: (_button, figure, say) => toggleDiagram(figure, say),
  fold(button, figure) {
    const folded = figure.classList.toggle("folded");
    button.setAttribute("aria-expanded", String(!folded));
    button.firstChild.data = foldWords(figure, figure.querySelector("pre").textContent.split("\n").length);
    if (folded) figure.scrollIntoView({ block: "nearest" });
  },
};

/** The server's name, which knows the language; or one in a comment on the first line. */
function fileName(given, text) {
  const [, name, ending] = NAMED.exec(text.slice(0, 200).split("\n", 1)[0]) ?? [];
  return name && given.endsWith(`.${ending}`) && /^(code|data)\./.test(given) ? name : given;
}

export function installCode({ say }) {
  document.addEventListener("click", ({ target }) => {
    const button = /** @type {any} */ (target).closest("[data-code]");
    if (button) DEEDS[button.dataset.code]?.(button, button.closest("figure"), say);
  });
}
