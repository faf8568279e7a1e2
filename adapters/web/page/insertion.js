// Appends to the last open element of a block, where its new HTML is the old one with more inside. The
// elements around it stay as they are, and a text only gets longer.
import { copy, parse } from "./safe.js";

const TAG = /<(\/?)([a-z0-9]+)[^>]*?(\/?)>/g;
const VOID = new Set(["br", "hr"]);

/**
 * Turn the element of the HTML `before` into that of `after`, if it only has to grow. Returns whether it
 * did; otherwise nothing is changed.
 */
export function grow(node, before, after, headings) {
  const found = insertion(before, after);
  if (!found) return false;
  const target = lastOpen(node, found.open, headings);
  if (!target) return false;
  const added = found.open.includes("pre") ? codeAdded(before, found) : found.added;
  if (added === null) return false;
  for (const part of parts(added, found.open, headings)) appendPart(target, part);
  return true;
}

/** What is inserted, before which end tags: `open` are the names of these elements, outermost first. */
function insertion(before, after) {
  const begin = endTags(before);
  const ends = before.slice(begin);
  if (after.length < before.length || !after.startsWith(before.slice(0, begin))) return null;
  const rest = after.slice(begin);
  for (let at = ends.lastIndexOf("<"); at >= 0; at = at ? ends.lastIndexOf("<", at - 1) : -1) {
    const left = ends.slice(at);
    if (!rest.startsWith(ends.slice(0, at)) || !rest.endsWith(left)) continue;
    const added = rest.slice(at, rest.length - left.length);
    const open = [...left.matchAll(TAG)].map(([, , name]) => name).reverse();
    return isWhole(added) ? { added, open, at: begin + at } : null;
  }
  return null;
}

/** Where the end tags at the end of `html` begin, and the line feeds among them. */
function endTags(html) {
  let at = html.length;
  for (;;) {
    if (html[at - 1] === "\n") at--;
    else if (html[at - 1] === ">") {
      const start = html.lastIndexOf("<", at - 1);
      if (html[start + 1] !== "/") return at;
      at = start;
    } else return at;
  }
}

/** Whether each element in `html` begins and ends there. */
function isWhole(html) {
  let depth = 0;
  for (const [, ends, name, closed] of html.matchAll(TAG)) {
    if (closed || VOID.has(name)) continue;
    depth += ends ? -1 : 1;
    if (depth < 0) return false;
  }
  return depth === 0;
}

/** The element of the page that the innermost of these is; null if the page's last ones are others. */
function lastOpen(node, names, headings) {
  let at = node;
  for (const [depth, name] of names.entries()) {
    if (depth) at = at?.lastElementChild ?? null;
    if (name === "pre" && at?.localName === "figure") at = at.lastElementChild; // below its caption
    if (at?.localName !== (headings.get(name) ?? name)) return null;
  }
  return at;
}

/** The text added to a code block, whose last line feed is not shown. Colors change with what follows. */
function codeAdded(before, { added, at }) {
  if (before.includes("<span") || added.includes("<")) return null;
  const whole = before[at - 1] === "\n" ? `\n${added}` : added;
  return whole.endsWith("\n") ? whole.slice(0, -1) : whole;
}

/** The nodes of `added`, which is inside elements with these names. */
function parts(added, names, headings) {
  if (!added) return [];
  if (!/[<&]/.test(added)) return [document.createTextNode(added)];
  const around = names.map((name) => `<${name}>`).join("");
  let inner = /** @type {Element} */ (parse(around + added)[0]);
  for (let depth = 1; depth < names.length; depth++) inner = /** @type {Element} */ (inner.firstElementChild);
  return [...inner.childNodes].map((child) => copy(child, headings)).filter(Boolean);
}

function appendPart(target, part) {
  const last = target.lastChild;
  const joins = part.nodeType === Node.TEXT_NODE && last?.nodeType === Node.TEXT_NODE;
  if (joins) last.appendData(part.data);
  else target.append(part);
}
