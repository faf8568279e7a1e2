// Formulas, drawn by KaTeX. Until it is loaded, and where it fails, their LaTeX source remains in the text.
// The page's policy forbids style attributes, so KaTeX's tree is turned into nodes here.
import { el } from "./dom.js";
import { inParts, unpart } from "./parts.js";

const KATEX = "/static/vendor/katex/katex.min";
const SLICE_MS = 8; // of drawing formulas in one frame; the rest waits for the next one
const OPTIONS = {
  maxExpand: 200, // macro expansions: a formula may define macros that call themselves
  maxSize: 20, // em
  strict: "ignore",
  throwOnError: true,
  trust: false, // no links, pictures and classes of the model's choice
};
/** @type {[string, string, boolean][]} */
const DELIMITERS = [["$$", "$$", true], ["\\[", "\\]", true], ["\\(", "\\)", false], ["$", "$", false]];

/** @type {any} */
let katex = null;
let loading = false;
let due = false;
/** @type {HTMLElement[]} */
let waiting = [];

/** A formula as an element: its source at first, and its drawing before the next frame if possible. */
export function formula(source) {
  const { display } = read(source);
  const node = el("span", { class: display ? "math display" : "math", "data-source": source, dir: "ltr" }, source);
  waiting.push(node);
  if (!due) queueMicrotask(draw); // by then it is in the page, unless an equal one is there already
  due = true;
  return node;
}

/** The LaTeX between the delimiters of `source`, and whether it stands on a line alone. */
function read(source) {
  const found = DELIMITERS.find(([open, close]) => source.startsWith(open) && source.endsWith(close));
  if (!found) return { latex: source, display: true }; // an environment
  return { latex: source.slice(found[0].length, -found[1].length), display: found[2] };
}

async function load() {
  if (loading) return;
  loading = true;
  const style = el("link", { rel: "stylesheet", href: `${KATEX}.css` });
  const styled = new Promise((resolve, reject) => {
    style.onload = resolve;
    style.onerror = reject;
  });
  document.head.append(style);
  try {
    await Promise.all([styled, import(`${KATEX}.js`)]);
  } catch {
    style.remove();
    loading = false; // the next formula tries again; until then there is the source
    return;
  }
  katex = /** @type {any} */ (globalThis).katex;
  draw();
}

function draw() {
  due = false;
  if (!katex) {
    waiting = waiting.filter((node) => node.isConnected);
    if (waiting.length) load();
    return;
  }
  const began = performance.now();
  const drawn = [];
  while (waiting.length && performance.now() - began < SLICE_MS) {
    const node = /** @type {HTMLElement} */ (waiting.shift());
    if (node.isConnected && drawOne(node)) drawn.push(node);
  }
  if (waiting.length) requestAnimationFrame(draw);
  due = waiting.length > 0;
  makeScrollable(drawn.filter((node) => node.classList.contains("display")));
}

function drawOne(node) {
  const { latex, display } = read(node.dataset.source);
  try {
    const tree = katex.__renderToDomTree(latex, { ...OPTIONS, displayMode: display });
    fit(tree);
    const made = tree.toNode();
    for (const styled of made.querySelectorAll("[data-style]")) {
      styled.style.cssText = styled.dataset.style;
      delete styled.dataset.style;
    }
    node.replaceChildren(made);
    return true;
  } catch (error) {
    node.classList.add("wrong");
    node.title = error instanceof Error ? error.message.slice(0, 200) : "";
    return false;
  }
}

/**
 * A style attribute of the tree would violate the policy; properties set from here do not. The class of
 * KaTeX's words, which it does not style, is the one of the page's answers.
 */
function fit(tree) {
  const { style, ...others } = tree.attributes ?? {};
  if (style) tree.attributes = { ...others, "data-style": style };
  if (tree.classes?.includes?.("text")) tree.classes = tree.classes.filter((name) => name !== "text");
  for (const child of tree.children ?? []) fit(child);
}

/** A formula that is wider than its text can be scrolled by keyboard, too. */
function makeScrollable(nodes) {
  for (const node of nodes.filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth + 1)) {
    node.setAttribute("tabindex", "0");
    node.setAttribute("role", "group");
    node.setAttribute("aria-label", "Formula");
  }
}

// ── the clipboard ─────────────────────────────────────────────────────────────────────────────
/** Let formulas be copied as their source, and what still grows as it will be at its end. */
export function installMath() {
  document.addEventListener("copy", (event) => {
    const selection = getSelection();
    if (!event.clipboardData || !selection?.rangeCount || selection.isCollapsed) return;
    const range = selection.getRangeAt(0).cloneRange();
    widen(range);
    const part = range.cloneContents();
    const formulas = /** @type {NodeListOf<HTMLElement>} */ (part.querySelectorAll(".math"));
    if (!formulas.length && !inParts(range)) return;
    for (const node of formulas) node.replaceWith(node.dataset.source ?? "");
    unpart(part);
    const shown = el("div", { class: "text sr" }, part);
    document.body.append(shown); // the plain text of an element is only known where it is shown
    // biome-ignore lint/performance/useDomNodeTextContent: textContent has no line breaks between blocks
    event.clipboardData.setData("text/plain", shown.innerText);
    event.clipboardData.setData("text/html", shown.innerHTML);
    shown.remove();
    event.preventDefault();
  });
}

/** Make a range contain the formulas at its ends whole. */
function widen(range) {
  const [first, last] = [range.startContainer, range.endContainer].map((node) =>
    (node.nodeType === Node.ELEMENT_NODE ? /** @type {Element} */ (node) : node.parentElement)?.closest(".math"),
  );
  if (first) range.setStartBefore(first);
  if (last) range.setEndAfter(last);
}
