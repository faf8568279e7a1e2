// Footnotes: links from a reference to its footnote and back, within one message. The parts of an answer
// arrive in any order, so a reference is text until its footnote is there.
import { el } from "./dom.js";

let keys = 0;
/** @type {WeakMap<Element, number>} */
const known = new WeakMap(); // a number for each message's text, for ids that are unique in the page
/** @type {Set<HTMLElement>} */
let waiting = new Set();

/** A reference; `source` is as in the text: `[^1]`. */
export function reference(source) {
  return soon(el("span", { class: "ref", "data-source": source }, source));
}

/** An empty footnote with its label. */
export function note(label) {
  const back = soon(el("span", { class: "label", "data-source": label }, label));
  return el("div", { class: "note", "data-note": label, tabindex: "-1", dir: "auto" }, back);
}

function soon(node) {
  if (!waiting.size) queueMicrotask(link);
  waiting.add(node);
  return node;
}

function link() {
  const texts = new Set([...waiting].filter((node) => node.isConnected).map((node) => node.closest(".text")));
  waiting = new Set();
  for (const text of texts) if (text) linkText(text);
}

function linkText(text) {
  const key = known.get(text) ?? ++keys;
  known.set(text, key);
  const notes = new Map([...text.querySelectorAll(".note")].reverse().map((each) => [each.dataset.note, each]));
  const referred = new Map();
  for (const ref of text.querySelectorAll(".ref")) {
    const label = ref.dataset.source.slice(2, -1);
    if (!notes.has(label) || ref.closest("a")) continue;
    if (!referred.has(label)) ref.id = `ref-${key}-${label}`;
    referred.set(label, referred.get(label) ?? ref);
    if (!ref.firstElementChild) ref.replaceChildren(anchor(`note-${key}-${label}`, label, "doc-noteref", `Footnote ${label}`));
  }
  for (const [label, found] of notes) {
    found.id = `note-${key}-${label}`;
    const back = found.querySelector(".label");
    if (!referred.has(label) || back.firstElementChild) continue;
    back.replaceChildren(anchor(`ref-${key}-${label}`, label, "doc-backlink", `Footnote ${label}: back to the text`));
  }
}

function anchor(id, words, role, label) {
  return el("a", { href: `#${encodeURIComponent(id)}`, role, "aria-label": label, "data-to": id }, words);
}

/** Follow the links without a change of the address, which names the thread. */
export function installNotes() {
  document.addEventListener("click", (event) => {
    const found = /** @type {Element} */ (event.target).closest("a[data-to]");
    if (!found) return;
    event.preventDefault();
    const target = document.getElementById(found.getAttribute("data-to") ?? "");
    const focused = target?.matches(".ref") ? target.querySelector("a") : target;
    focused?.focus({ preventScroll: true });
    target?.scrollIntoView({ block: "nearest" });
  });
}
