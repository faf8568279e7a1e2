// Changes only the end of a block, where its new HTML begins like the old one. The elements around the
// change stay as they are, and a text only gets longer.
import { appendCode } from "./code.js";
import { ends } from "./growth.js";
import { morphAll } from "./morph.js";
import { part } from "./parts.js";
import { copy, parse } from "./safe.js";

const TAG = /<(\/?)([a-z0-9]+)[^>]*?(\/?)>/g;
const VOID = new Set(["br", "hr", "input"]);
const ENTITY = 12; // characters that an entity has at most
const WINDOW = 2_000; // characters at the end of a block among which a change is searched for

/**
 * Turn the element of the HTML `whole` into that of `changed`. Returns whether it did: only a change in the
 * last nodes of an element that is the last one of its parents, up to the block, is made here. The
 * cursor may stay where it is: to move it would lay out the whole block again.
 */
export function grow(node, whole, changed, headings, cursor) {
  const [before, after] = ends(whole, changed);
  const found = change(before, after);
  if (!found) return false;
  const target = lastOpen(node, found.open, headings, cursor);
  if (!target) return false;
  if (found.open.includes("pre")) return growCode(target, before, found, headings, cursor);
  const [removed, wanted] = [found.removed, found.added].map((html) => parts(html, found.open, headings));
  if (!replaceEnd(target, removed, wanted, cursor)) return false;
  part(target, cursor);
  return true;
}

/** The text to add in place of the text removed at `at`, inside the elements `open`, outermost first. */
function change(before, after) {
  const same = commonBeginning(before, after);
  if (same === 0) return null;
  for (let end = before.indexOf("<", endTags(before)); end >= 0; end = before.indexOf("<", end + 1)) {
    const left = before.slice(end);
    const stop = after.length - left.length;
    const at = after.endsWith(left) ? border(before, end, Math.min(same, stop)) : -1;
    if (at < 0) continue;
    const [removed, added] = [before.slice(at, end), after.slice(at, stop)];
    const open = [...left.matchAll(TAG)].map(([, , name]) => name).reverse();
    if (isWhole(added)) return { removed, added, open, at };
  }
  return null;
}

function commonBeginning(one, other) {
  const most = Math.min(one.length, other.length);
  const known = Math.max(0, one.length - WINDOW);
  if (!other.startsWith(one.slice(0, known))) return 0;
  let at = known;
  while (at < most && one[at] === other[at]) at++;
  return at;
}

/**
 * The last place up to `most` between the nodes of the element that ends at `end`, or in its text; -1 if
 * there is none nearby.
 */
function border(html, end, most) {
  let [depth, close] = [0, end]; // the text between two tags ends at `close`
  while (end - close < WINDOW) {
    const last = html.lastIndexOf(">", close - 1);
    if (depth === 0 && last + 1 <= most) return betweenCharacters(html, last + 1, Math.min(most, close));
    close = html.lastIndexOf("<", last);
    if (last < 0 || close < 0) return -1;
    if (html[close + 1] === "/") depth++;
    else if (html[last - 1] !== "/") depth--;
    if (depth < 0) return -1;
  }
  return -1;
}

/** `at`, or less where it would split an entity or a character of two units. */
function betweenCharacters(html, start, at) {
  const from = Math.max(start, at - ENTITY);
  const entity = html.slice(from, at).lastIndexOf("&");
  if (entity >= 0 && !html.slice(from + entity, at).includes(";")) return from + entity;
  const half = /[\uD800-\uDBFF]/.test(html[at - 1] ?? "");
  return half && at > start ? at - 1 : at;
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
function lastOpen(node, names, headings, cursor) {
  let at = node;
  for (const [depth, name] of names.entries()) {
    if (depth) at = lastElement(at, cursor);
    if (name === "pre" && at?.localName === "figure") at = at.querySelector(":scope > pre"); // below its caption
    if (at?.localName !== (headings.get(name) ?? name) || at.dataset.source !== undefined) return null;
  }
  return at;
}

/** Append to a code block, whose last line feed is not shown. Colors change with what follows. */
function growCode(code, before, { added, removed, open, at }, headings, cursor) {
  const hasColors = code.firstElementChild?.matches(":not(.part, .cursor)") ?? false;
  const keepsFeed = removed === "\n" && added.endsWith("\n"); // the last line feed is also the one after the change
  if (code.localName !== "code" || (removed && !keepsFeed) || added.includes("<") || hasColors) return false;
  const whole = before[at - 1] === "\n" && !keepsFeed ? `\n${added}` : added;
  const [text] = parts(whole.endsWith("\n") ? whole.slice(0, -1) : whole, open, headings);
  if (text) appendCode(code, text.data, cursor);
  return true;
}

/** The last element in `node`, or null; the cursor does not count. */
export function lastElement(node, cursor) {
  const last = node?.lastElementChild ?? null;
  return last === cursor ? (last?.previousElementSibling ?? null) : last;
}

/** Turn the last nodes of `target`, which look like `removed`, into `wanted`. Returns whether they did. */
function replaceEnd(target, removed, wanted, cursor) {
  const nodes = [...target.childNodes].filter((node) => node !== cursor);
  const shown = removed.length ? nodes.slice(-removed.length) : [];
  if (!removed.every((part, k) => isAlike(shown[k], part, k))) return false;
  const above = nodes.at(-shown.length - 1);
  if (isText(shown[0])) {
    // The first text may have begun before the removed part.
    join(shown[0].data.slice(0, shown[0].data.length - removed[0].data.length), wanted);
  } else if (isText(wanted[0]) && isText(above)) {
    join(above.data, wanted);
    shown.unshift(above);
  }
  morphAll(target, shown, wanted, cursor.parentNode === target ? cursor : null);
  return true;
}

/** Put a text before the first node. */
function join(text, nodes) {
  if (isText(nodes[0])) nodes[0].data = text + nodes[0].data;
  else if (text) nodes.unshift(document.createTextNode(text));
}

function isText(node) {
  return node?.nodeType === Node.TEXT_NODE;
}

function isAlike(shown, part, k) {
  if (isText(shown) !== isText(part) || !shown) return false;
  return !isText(part) || (k ? shown.data === part.data : shown.data.endsWith(part.data));
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
