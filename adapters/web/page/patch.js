// Updates a growing reply with the fewest DOM changes, so that the reader's selection, scroll position
// and focus survive.
import { settle, unsettle } from "./code.js";
import { beginning } from "./growth.js";
import { grow, lastElement } from "./insertion.js";
import { morph } from "./morph.js";
import { unpart } from "./parts.js";
import { clean, headingLevels, levelsOf, parse } from "./safe.js";
import { el } from "./dom.js";

/** A reply's text in the page; only changed blocks are touched. */
export class Body {
  /** @type {string | string[] | null} */
  #content = null;
  /** @type {string[]} */
  #blocks = []; // the HTML of each element, where it came in blocks
  #headings = "";
  #writing = false;
  #cursor = el("span", { class: "cursor", "aria-hidden": "true" });

  constructor() {
    this.node = el("div", { class: "text" });
  }

  /** Show HTML, whole or in blocks, with a cursor at its end while `writing`. */
  show(content, writing) {
    if (content === this.#content && writing === this.#cursor.isConnected) return;
    if (writing && !this.#writing) unsettle(this.node);
    if (Array.isArray(content)) this.#update(content);
    else if (content !== this.#content) this.#replace(content);
    this.#content = content;
    if (writing) this.#place();
    else this.#cursor.remove();
    if (!writing) unpart(this.node);
    if (!writing) settle(this.node, this.#writing);
    this.#writing = writing;
  }

  /** Say in a class whether a person wrote no words; `:has` would be tried again at each change of a reply. */
  markBlank() {
    const [only, ...others] = this.node.children;
    this.node.classList.toggle("blank", others.length === 0 && Boolean(only?.matches(".plain:empty")));
  }

  /** Put the cursor where the next word will appear, unless it is there. */
  #place() {
    const place = lastPlace(this.node, this.#cursor);
    if (this.#cursor.parentNode !== place || place.lastChild !== this.#cursor) place.append(this.#cursor);
  }

  #update(blocks) {
    const headings = levelsOf(new Set(blocks.flatMap(headingsIn)));
    const known = this.#isSame(headings) ? this.#blocks : [];
    const elements = this.node.children;
    if (this.#cursor.parentNode === this.node) this.#cursor.remove();
    for (const [k, html] of blocks.entries()) {
      if (html === known[k]) continue;
      if (k in known && grow(elements[k], known[k], html, headings, this.#cursor)) continue;
      this.#cursor.remove();
      const inert = parse(String(html));
      if (inert.length !== 1) return this.#replace(blocks.join("")); // no longer one element for each
      this.#show(k, clean(inert[0], headings));
    }
    this.#end(blocks.length);
    this.#blocks = blocks;
  }

  #replace(html) {
    this.#cursor.remove();
    const blocks = parse(html);
    const headings = headingLevels(blocks);
    this.#isSame(headings);
    for (const [k, block] of blocks.entries()) this.#show(k, clean(block, headings));
    this.#end(blocks.length);
    this.#blocks = [];
  }

  /** Whether the headings have the levels that they had. */
  #isSame(headings) {
    const before = this.#headings;
    this.#headings = [...headings].join();
    return before === this.#headings;
  }

  #show(k, made) {
    const shown = this.node.children[k];
    if (shown) {
      unpart(shown);
      morph(shown, made);
    } else this.node.append(made);
  }

  #end(length) {
    while (this.node.childNodes.length > length) this.node.lastChild.remove();
  }
}

const NO_HEADINGS = /^<(?:p|pre|div class="table")[ >]/; // such a block may be too long to search each time

/** The tags of the headings in a block; text never contains one. */
function headingsIn(html) {
  return NO_HEADINGS.test(beginning(html)) ? [] : [...String(html).matchAll(/<(h[1-6])>/g)].map(([, tag]) => tag);
}

/** The element where the next word will appear. */
function lastPlace(root, cursor) {
  let place = root;
  for (let next = place; next; next = lastElement(place, cursor)) {
    if (next !== root && !isLast(next)) break;
    place = next;
  }
  return place;
}

const HOLDS_TEXT =
  "p, h4, h5, h6, ul, ol, li, blockquote, figure, pre, code, .part, div, table, tbody, tr, td, th";

function isLast(child) {
  const after = child.nextSibling;
  const inline = child.matches("code") && !child.parentElement.matches("pre");
  return child.matches(HOLDS_TEXT) && !inline && !after?.data?.trim();
}
