// Turns nodes of the page into others with the fewest changes.
import { morphCode } from "./code.js";

/** Turn `old` into `made`, or put `made` in its place. */
export function morph(old, made) {
  if (old.isEqualNode(made) || isDrawn(old, made)) return;
  if (isCode(old) && isCode(made)) return morphCode(old, made, morph);
  if (old.nodeType === Node.TEXT_NODE && made.nodeType === Node.TEXT_NODE) {
    if (made.data.startsWith(old.data)) old.appendData(made.data.slice(old.data.length));
    else old.data = made.data;
  } else if (old.nodeName !== made.nodeName || !sameAttributes(old, made)) {
    old.replaceWith(made);
  } else {
    morphAll(old, [...old.childNodes], [...made.childNodes]);
  }
}

/** Turn `before`, the last children of `parent` above `end`, into `after`. */
export function morphAll(parent, before, after, end = null) {
  after.forEach((child, k) => {
    if (before[k]) morph(before[k], child);
    else parent.insertBefore(child, end);
  });
  for (const extra of before.slice(after.length)) extra.remove();
}

/** Whether the page has drawn in `old` what `made` has as its source. */
function isDrawn(old, made) {
  const source = old.dataset?.source;
  return source !== undefined && source === made.dataset?.source && old.nodeName === made.nodeName;
}

const isCode = (node) => node.nodeType === Node.ELEMENT_NODE && node.matches("figure.code");

function sameAttributes(a, b) {
  if (a.attributes.length !== b.attributes.length) return false;
  return [...a.attributes].every(({ name, value }) => b.getAttribute(name) === value);
}
