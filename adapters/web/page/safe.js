// Builds page elements from the server's HTML. The server escapes people's and models' text; this is
// the second defense: every element is created from an allow list, and no HTML string reaches the page.
import { codeBlock } from "./code.js";
import { el } from "./dom.js";
import { formula } from "./math.js";
import { note, reference } from "./notes.js";
import { partRows } from "./parts.js";

const TAGS = new Set(
  ("a abbr b blockquote br code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr i kbd li ol p pre s " +
    "span strong sub sup table tbody td th thead tr ul").split(" "),
);
// Text may be in any language: each block follows the direction of its first letters. What is inside a list,
// quotation or table has no `dir`: else the browser would pass over it when it looks for the outer one's letters.
const DIRECTED = new Set("blockquote div dl h1 h2 h3 h4 h5 h6 ol p table ul".split(" "));
const CONTAINERS = "blockquote, dl, ol, table, ul";
const HEADING = /^h([1-6])$/;
// Pygments' short names, cell alignment, and people's own text.
const CLASS = /^([a-z]{1,3}[0-9]?|align-(left|center|right)|plain|task)$/;
const FILE = /^[A-Za-z0-9][\w.-]{0,60}$/;
const LINK = /^(https?:\/\/|mailto:)/i;
const XHTML = "http://www.w3.org/1999/xhtml";

// Only the parser of the inert document needs a Trusted Types policy.
const policy = /** @type {any} */ (window).trustedTypes?.createPolicy("threadline-inert", { createHTML: (html) => html });

/** The inert top-level blocks of `html`: nothing in them runs or loads. */
export function parse(html) {
  const inert = new DOMParser().parseFromString(policy?.createHTML(html) ?? html, "text/html");
  return [...inert.body.childNodes].filter((node) => node.nodeType === 1 || node.textContent?.trim());
}

/** The new level of each heading: below the author's h3, without gaps. */
export function headingLevels(blocks) {
  const found = new Set();
  for (const block of blocks) {
    if (block.nodeType !== 1) continue;
    for (const node of [block, ...block.querySelectorAll("h1,h2,h3,h4,h5,h6")]) {
      if (HEADING.test(node.localName)) found.add(node.localName);
    }
  }
  return levelsOf(found);
}

/** The same for a set of headings' tags. */
export function levelsOf(tags) {
  return new Map([...tags].sort().map((tag, rank) => [tag, `h${Math.min(6, 4 + rank)}`]));
}

/** One inert block as one element of the page. */
export function clean(block, headings) {
  const made = copy(block, headings);
  return made instanceof Element ? made : el("div", {}, made);
}

/** One inert node as a node of the page; an empty text for what has no place there. */
export function copy(node, headings) {
  if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.data);
  if (node.nodeType !== Node.ELEMENT_NODE || node.namespaceURI !== XHTML) return "";
  const tag = node.localName;
  if (node.matches("div.table")) return copy(node.querySelector("table"), headings);
  if (node.matches("span.math")) return formula(node.textContent);
  if (node.matches("span.ref")) return reference(node.textContent);
  if (node.matches("input[type=checkbox]")) return box(node);
  if (tag === "img") return linkTo(node.getAttribute("src"), node.getAttribute("alt"));
  if (!TAGS.has(tag)) return "";
  const made = node.matches("div.note")
    ? note((node.dataset.note ?? "").slice(0, 40))
    : el(headings.get(tag) ?? tag, attributes(node, tag));
  for (const child of node.childNodes) {
    const part = copy(child, headings);
    if (part) made.append(part);
  }
  if (tag === "pre") return codeBlock(made, codeNames(node));
  if (tag === "table") return scrollable(made);
  return made;
}

function attributes(node, tag) {
  const kept = {};
  const classes = [...node.classList].filter((name) => CLASS.test(name));
  if (HEADING.test(tag)) classes.push(`level-${tag[1]}`);
  if (classes.length) kept.class = classes.join(" ");
  if (tag === "ol" && /^\d+$/.test(node.getAttribute("start"))) kept.start = node.getAttribute("start");
  if (tag === "a") Object.assign(kept, linkAttributes(node.getAttribute("href")));
  if (tag === "th") kept.scope = "col";
  const isInner = !node.matches(CONTAINERS) && node.closest(CONTAINERS);
  if (DIRECTED.has(tag) && !isInner) kept.dir = "auto";
  if (tag === "code") kept.dir = "ltr";
  return kept;
}

function linkAttributes(href) {
  if (!LINK.test(href ?? "")) return {};
  return { href, target: "_blank", rel: "noopener noreferrer nofollow" };
}

/** An image becomes a link, because the page loads nothing from other hosts. */
function linkTo(source, words) {
  return el("a", linkAttributes(source), words || source || "picture");
}

/** The language of a block of code, and the name under which it is saved. */
function codeNames({ dataset }) {
  const file = dataset.file ?? "";
  return { language: (dataset.language ?? "").slice(0, 30), file: FILE.test(file) ? file : "" };
}

/** A task's box: the text is the model's, so it only shows what is done. */
function box(node) {
  const checked = node.hasAttribute("checked");
  return el("input", { type: "checkbox", disabled: true, checked, "aria-label": checked ? "Done" : "To do" });
}

function scrollable(table) {
  partRows(table);
  return el("div", { class: "table", tabindex: "0", role: "group", "aria-label": "Table" }, table);
}
