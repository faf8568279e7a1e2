// The list of what a search found: the keys of the box above it select a hit, while the focus stays there.
import { el, isComposing } from "./dom.js";
import { clockTime, dates, dayName, fullTime, moment } from "./format.js";

const NEAR_END = 120; // pixels before the end at which the next results are loaded
const date = dates({ day: "numeric", month: "short" });
const oldDate = dates({ day: "numeric", month: "short", year: "numeric" });

export class Hits {
  at = -1; // the selected hit
  #hasMore = false; // whether more hits can be loaded

  /** `onChosen(number)` is called for the hit that was clicked; `onEnd()` near the last hit. */
  constructor({ box, list, onChosen, onEnd }) {
    this.box = box;
    this.list = list;
    this.onEnd = onEnd;
    box.addEventListener("keydown", (event) => this.#pressed(event));
    list.addEventListener("pointermove", ({ target }) => this.#select(numberOf(target), false));
    list.addEventListener("click", ({ target }) => onChosen(numberOf(target)));
    list.addEventListener("scroll", () => this.#scrolled(), { passive: true });
  }

  /** Show conversations below `heading` and the messages in them; the hit `selected` is selected. */
  show(hits, { heading = "", selected = 0, hasMore = false } = {}) {
    this.#hasMore = hasMore;
    const options = hits.map((hit, number) => option(hit, number));
    const [titles, messages] = [options.filter((_, n) => !hits[n].snippet), options.filter((_, n) => hits[n].snippet)];
    const groups = [group(heading, titles), group("Messages", messages)];
    this.list.replaceChildren(...groups.filter((each) => each !== null));
    if (!selected) this.list.scrollTop = 0;
    this.#select(hits.length ? Math.min(Math.max(selected, 0), hits.length - 1) : -1);
  }

  /** Select a hit; screen readers read it, while the focus stays in the box. */
  #select(number, scroll = true) {
    if (number === null) return;
    this.at = number;
    for (const node of this.#options) node.setAttribute("aria-selected", String(node === this.#options[number]));
    const chosen = this.#options[number];
    this.box.setAttribute("aria-expanded", String(this.#options.length > 0));
    if (chosen) this.box.setAttribute("aria-activedescendant", chosen.id);
    else this.box.removeAttribute("aria-activedescendant");
    if (scroll) chosen?.scrollIntoView({ block: "nearest" });
  }

  get #options() {
    return [...this.list.querySelectorAll("[role=option]")];
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.list;
    if (scrollHeight - scrollTop - clientHeight < NEAR_END) this.onEnd();
  }

  #pressed(event) {
    if (isComposing(event)) return;
    const count = this.#options.length;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 6, PageUp: -6 }[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (!count) return;
    const single = Math.abs(step) === 1;
    const to = this.at + step;
    if (to >= count - 1) this.onEnd();
    // The single step goes around, unless more is to come; the larger one stops at the ends.
    const around = single && !this.#hasMore;
    this.#select(around ? (to + count) % count : Math.min(Math.max(to, 0), count - 1));
  }
}

function numberOf(target) {
  const node = target.closest("[role=option]");
  return node ? Number(node.dataset.number) : null;
}

let groups = 0;

function group(name, options) {
  if (!options.length) return null;
  const id = `search-group-${++groups}`;
  return el("div", { role: "group", "aria-labelledby": id }, el("div", { class: "head", id, role: "presentation" }, name), ...options);
}

function option({ title, snippet, role, author = null, channel = null, created_at }, number) {
  const at = moment(created_at);
  const name = el("span", { class: "name", dir: "auto" }, el("bdi", {}, ...marked(title)));
  const time = el("time", { datetime: at.toISOString(), title: fullTime(at) }, when(at));
  const place = channel && el("bdi", { class: "where", dir: "ltr" }, `#${channel}`);
  const who = role === "assistant" ? "Threadline" : role === "user" ? (author ?? "You") : "Note";
  const found = snippet && el("div", { class: "found" }, el("span", { class: "who" }, el("bdi", {}, who), ": "), el("bdi", {}, ...marked(snippet)));
  const attributes = { class: "hit", id: `search-hit-${number}`, role: "option", "aria-selected": "false", "data-number": String(number) };
  return el("div", attributes, el("div", { class: "line" }, name, place, time), found);
}

/** A text with its matches marked. The places count characters, not the units of JavaScript. */
function marked({ text, marks }) {
  const characters = Array.from(text || "(no name)");
  const nodes = [];
  let done = 0;
  for (const [start, end] of marks) {
    nodes.push(characters.slice(done, start).join(""), el("mark", {}, characters.slice(start, end).join("")));
    done = end;
  }
  nodes.push(characters.slice(done).join(""));
  return nodes.filter((node) => node !== "");
}

export function when(at) {
  const name = dayName(at);
  if (name === "Today") return clockTime(at);
  if (name === "Yesterday") return name;
  return at.getFullYear() === new Date().getFullYear() ? date.format(at) : oldDate.format(at);
}
