// Updates a growing reply with the fewest DOM changes, so that the reader's selection, scroll position
// and focus survive.
import { clean, headingLevels, parse } from "./safe.js";
import { el } from "./dom.js";

/** A reply's text in the page; only changed blocks are touched. */
export class Body {
  #html = null;
  #blocks = [];
  #headings = "";
  #cursor = el("span", { class: "cursor", "aria-hidden": "true" });

  constructor() {
    this.node = el("div", { class: "text" });
  }

  /** Show `html`, with a cursor at its end while `writing`. */
  show(html, writing) {
    if (html === this.#html && writing === this.#cursor.isConnected) return;
    this.#cursor.remove();
    if (html !== this.#html) this.#update(html);
    if (writing) lastPlace(this.node).append(this.#cursor);
  }

  #update(html) {
    const blocks = parse(html);
    const headings = headingLevels(blocks);
    const known = [...headings].join() === this.#headings ? this.#blocks : [];
    const shown = [...this.node.children];
    blocks.forEach((block, k) => {
      if (shown[k] && known[k]?.isEqualNode(block)) return;
      const made = clean(block, headings);
      if (shown[k]) morph(shown[k], made);
      else this.node.append(made);
    });
    for (const extra of shown.slice(blocks.length)) extra.remove();
    this.#blocks = blocks;
    this.#headings = [...headings].join();
    this.#html = html;
  }
}

function morph(old, made) {
  if (old.isEqualNode(made)) return;
  if (old.nodeType === Node.TEXT_NODE && made.nodeType === Node.TEXT_NODE) {
    if (made.data.startsWith(old.data)) old.appendData(made.data.slice(old.data.length));
    else old.data = made.data;
  } else if (old.nodeName !== made.nodeName || !sameAttributes(old, made)) {
    old.replaceWith(made);
  } else {
    morphChildren(old, made);
  }
}

function morphChildren(old, made) {
  const before = [...old.childNodes];
  const after = [...made.childNodes];
  after.forEach((child, k) => {
    if (before[k]) morph(before[k], child);
    else old.append(child);
  });
  for (const extra of before.slice(after.length)) extra.remove();
}

function sameAttributes(a, b) {
  if (a.attributes.length !== b.attributes.length) return false;
  return [...a.attributes].every(({ name, value }) => b.getAttribute(name) === value);
}

/** The element where the next word will appear. */
function lastPlace(root) {
  let place = root;
  while (place.lastElementChild && isLast(place.lastElementChild)) place = place.lastElementChild;
  return place;
}

const HOLDS_TEXT =
  "p, h4, h5, h6, ul, ol, li, blockquote, figure, pre, code, div, table, tbody, tr, td, th";

function isLast(child) {
  const after = child.nextSibling;
  const inline = child.matches("code") && !child.parentElement.matches("pre");
  return child.matches(HOLDS_TEXT) && !inline && !after?.data?.trim();
}
