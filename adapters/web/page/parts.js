// Long tables and paragraphs in parts while an answer grows, so that the browser lays out the last part
// alone. code.js does the same for code.
import { el } from "./dom.js";

const ROWS = 100; // in each part of a table
const FROM_PARTS = 2; // a table of this many parts keeps the widths of its columns
const CHARACTERS = 1_500; // in each part of a paragraph, or a few more
const LINE_PIXELS = 4; // between the tops of two lines, at least
const PARTED = "table[data-long], p:has(> .part)";

/** Keep the block around `node`, whose end has grown, cheap to lay out. */
export function part(node, cursor) {
  const table = node.closest("table");
  if (table) return partTable(table);
  const paragraph = node.closest("p");
  if (paragraph) partParagraph(paragraph, cursor);
}

/** Make the blocks in `root` whole again: their parts only suit a growing answer. */
export function unpart(root) {
  for (const table of root.querySelectorAll("table[data-long]")) thaw(table);
  const paragraphs = new Set([...root.querySelectorAll("p > .part")].map((each) => each.parentElement));
  for (const paragraph of paragraphs) {
    keepingPlace(() => {
      for (const each of paragraph.querySelectorAll(":scope > .part")) each.replaceWith(...each.childNodes);
    });
    paragraph.normalize();
  }
}

/** Whether a range has text of a block in parts, which would be copied with other line breaks. */
export function inParts(range) {
  const { commonAncestorContainer: node } = range;
  const around = node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
  if (around.closest(PARTED)) return true;
  return [...around.querySelectorAll(PARTED)].some((each) => range.intersectsNode(each));
}

// ── tables ────────────────────────────────────────────────────────────────────────────────────
/** Keep the rows of a table in bodies of the same number of rows. */
export function partRows(table) {
  for (let body = table.tBodies[table.tBodies.length - 1]; body?.rows.length > ROWS; body = body.nextSibling) {
    const nodes = [...body.childNodes];
    body.after(el("tbody", {}, ...nodes.slice(nodes.indexOf(body.rows[ROWS]))));
  }
}

const widthOf = new WeakMap(); // the box's width for which the columns were kept
const resizes = new ResizeObserver((entries) => {
  for (const { target: box } of entries) {
    const table = box.querySelector(":scope > table[data-long]");
    if (!table) resizes.unobserve(box);
    else if (box.clientWidth !== widthOf.get(box)) requestAnimationFrame(() => refreeze(table));
  }
});

function refreeze(table) {
  if (!table.hasAttribute("data-long")) return;
  thaw(table);
  freeze(table);
}

function partTable(table) {
  partRows(table);
  if (table.tBodies.length >= FROM_PARTS && !table.hasAttribute("data-long")) freeze(table);
}

/** Keep the columns as wide as they are: else each new cell may move all others. */
function freeze(table) {
  const widths = [...table.tHead.rows[0].cells].map((cell) => cell.getBoundingClientRect().width);
  if (!widths.every(Boolean)) return; // nothing is laid out
  const bodies = [...table.tBodies].slice(0, -1).map((body) => ({ body, height: body.getBoundingClientRect().height }));
  const box = table.parentElement;
  if (box.scrollWidth > box.clientWidth) table.style.minWidth = `${table.getBoundingClientRect().width}px`;
  table.style.setProperty("--columns", widths.map((width) => `minmax(0, ${width}fr)`).join(" "));
  for (const { body, height } of bodies) body.style.setProperty("contain-intrinsic-block-size", `auto ${height}px`);
  table.toggleAttribute("data-long", true);
  widthOf.set(box, box.clientWidth);
  resizes.observe(box);
}

function thaw(table) {
  // Chromium writes a style into its attribute only when someone looks, and leaves an empty one otherwise.
  for (const node of [table, ...table.tBodies]) if (node.hasAttribute("style")) node.removeAttribute("style");
  table.removeAttribute("data-long");
}

// ── paragraphs ────────────────────────────────────────────────────────────────────────────────
/** Once the end of a paragraph is long, put lines into parts. Each line breaks where it did. */
function partParagraph(paragraph, cursor) {
  const nodes = [...paragraph.childNodes].filter((node) => node !== cursor);
  const end = nodes.slice(nodes.findLastIndex((node) => node.className === "part") + 1);
  if (sum(end.map(size)) < 2 * CHARACTERS) return;
  const breaks = lineBreaks(end); // lays out the paragraph once, before it changes
  keepingPlace(() => {
    const starts = breaks.reverse().map(([text, at]) => text.splitText(at));
    for (const start of starts.reverse()) partBefore(start, cursor);
  });
}

/** Places in texts among `nodes` where a line begins, one for each part. */
function lineBreaks(nodes) {
  const found = [];
  let [done, left] = [0, sum(nodes.map(size))]; // characters since the last place: before this node, in all
  for (const node of nodes) {
    let from = 0;
    while (node.nodeType === Node.TEXT_NODE && left > 2 * CHARACTERS) {
      const at = nextLine(node, from + Math.max(0, CHARACTERS - done));
      if (!at) break;
      found.push([node, at]);
      left -= done + at - from;
      [done, from] = [0, at];
    }
    done += size(node) - from;
  }
  return found;
}

/** Put what is between the last part and `start` into a part. */
function partBefore(start, cursor) {
  const around = el("span", { class: "part" });
  start.before(around);
  for (let node = around.previousSibling; node && node.className !== "part"; node = around.previousSibling) {
    if (node === cursor) node.remove();
    else around.prepend(node);
  }
}

const size = (node) => node.textContent.length;
const sum = (numbers) => numbers.reduce((one, other) => one + other, 0);

/** Where the line after that of the character at `low` begins in `text`; 0 if it does not begin there. */
function nextLine(text, low) {
  if (low >= text.length) return 0;
  const range = document.createRange();
  const top = (at) => {
    range.setStart(text, at);
    range.setEnd(text, at + 1);
    return range.getBoundingClientRect().top;
  };
  const next = top(low) + LINE_PIXELS;
  let high = text.length - 1;
  if (top(high) < next) return 0;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (top(middle) < next) low = middle;
    else high = middle;
  }
  return high;
}

/** Let `move` move nodes; the selection and the focus in them stay. */
function keepingPlace(move) {
  const selection = /** @type {any} */ (getSelection());
  const { anchorNode, anchorOffset, focusNode, focusOffset } = selection;
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  move();
  if (anchorNode && selection.anchorNode !== anchorNode) selection.setBaseAndExtent(anchorNode, anchorOffset, focusNode, focusOffset);
  if (document.activeElement !== focused) focused?.focus({ preventScroll: true });
}
