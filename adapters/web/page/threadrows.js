// The rows of the list of threads: only those near the visible part are in the document.
//
// The list is one tab stop. The row that has it stays in the document wherever one scrolls, so that
// the focus is not lost.
import { el, icon, isComposing, setText } from "./dom.js";
import { fullTime, moment } from "./format.js";
import { shortTime } from "./threadlist.js";

const ROW = 56; // pixels
const GROUP = 34;
const MARGIN = 400; // pixels above and below the visible part that are drawn, too
const AHEAD = 2_000; // pixels before the end at which the next page is read

export class ThreadRows {
  /** @type {any[]} */
  #rows = [];
  /** @type {number[]} */
  #tops = []; // of each row, and the height of all
  /** @type {Map<string, any>} */
  #views = new Map();
  #due = 0;
  /** @type {string | null} */
  #current = null; // the row with the tab stop
  /** @type {string | null} */
  #open = null;
  #complete = true;

  /** `onEnd()` is called near the end of what is loaded; `onKey(event, entry)` for other keys. */
  constructor({ scroller, list, onEnd, onKey, onMenu, onOpen }) {
    this.scroller = scroller;
    this.list = list;
    this.onEnd = onEnd;
    this.onKey = onKey;
    this.onMenu = onMenu;
    this.onOpen = onOpen;
    scroller.addEventListener("scroll", () => this.#drawSoon(), { passive: true });
    new ResizeObserver(() => this.#drawSoon()).observe(scroller);
    list.addEventListener("focusin", ({ target }) => this.#enter(target.closest("[data-id]")?.dataset.id));
    list.addEventListener("focusout", () => this.#drawSoon()); // it need not stay in the document
    list.addEventListener("keydown", (event) => this.#pressed(event));
    list.addEventListener("click", (event) => this.#clicked(event));
    list.addEventListener("contextmenu", (event) => this.#menu(event));
  }

  /** Rows down to the end of the visible part. */
  get needed() {
    return this.#rows.length ? this.#at(this.scroller.scrollTop + this.scroller.clientHeight) + 1 : 0;
  }

  /** Show `rows` of `inGroups`; `open` is the thread that is open; `complete`: there are no more. */
  show(rows, { open, complete }) {
    const anchor = this.#anchor();
    this.#rows = rows;
    this.#open = open;
    this.#complete = complete;
    this.#tops = [0];
    for (const { entry } of rows) this.#tops.push((this.#tops.at(-1) ?? 0) + (entry ? ROW : GROUP));
    this.list.style.height = `${this.#tops.at(-1)}px`;
    this.#keepPlace(anchor);
    this.#drawSoon();
  }

  /** The element to focus of a thread. */
  link(id) {
    return this.#views.get(id)?.link;
  }

  /** The element that holds the thread's name. */
  title(id) {
    return this.#views.get(id)?.title;
  }

  /** Focus the row of a thread, or the one with the tab stop. */
  focus(id = this.#current ?? this.#open) {
    const k = this.#rows.findIndex((row) => row.entry && row.id === id);
    const to = k < 0 ? this.#rows.findIndex((row) => row.entry) : k;
    if (to < 0) return false;
    this.#enter(this.#rows[to].id);
    this.#reveal(to);
    this.#draw();
    this.#views.get(this.#rows[to].id)?.link.focus({ preventScroll: true });
    return true;
  }

  /** The thread whose row is next to this one. */
  neighbour(id) {
    const entries = this.#rows.filter(({ entry }) => entry);
    const k = entries.findIndex((row) => row.id === id);
    return (entries[k + 1] ?? entries[k - 1])?.id ?? null;
  }

  reveal(id) {
    const k = this.#rows.findIndex((row) => row.id === id);
    if (k >= 0) this.#reveal(k);
  }

  // ── drawing ─────────────────────────────────────────────────────────────────────────────────
  #drawSoon() {
    this.#due ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#due);
    this.#due = 0;
    const { scrollTop, clientHeight } = this.scroller;
    const [first, last] = [this.#at(scrollTop - MARGIN), this.#at(scrollTop + clientHeight + MARGIN)];
    const wanted = new Map();
    for (let k = first; k <= last && k < this.#rows.length; k++) wanted.set(this.#rows[k].id, k);
    this.#addHeld(wanted);
    const now = new Date();
    for (const [id, view] of this.#views) if (!wanted.has(id)) this.#drop(id, view);
    let place = this.list.firstElementChild;
    for (const [id, k] of wanted) {
      const { node } = this.#updated(id, k, now);
      if (node === place) place = place.nextElementSibling;
      else this.list.insertBefore(node, place);
    }
    this.#keepTabStop(wanted);
    if (!this.#complete && (this.#tops.at(-1) ?? 0) - scrollTop - clientHeight < AHEAD) this.onEnd();
  }

  /** The row that has the focus stays, in its place. */
  #addHeld(wanted) {
    const held = this.list.contains(document.activeElement) ? this.#current : null;
    if (held === null || wanted.has(held)) return;
    const k = this.#rows.findIndex(({ id }) => id === held);
    if (k < 0) return;
    const sorted = [...wanted, [held, k]].sort(([, a], [, b]) => a - b);
    wanted.clear();
    for (const [id, at] of sorted) wanted.set(id, at);
  }

  #updated(id, k, now) {
    const row = this.#rows[k];
    let view = this.#views.get(id);
    if (!view) {
      view = row.entry ? new RowView(row.id) : new GroupView();
      this.#views.set(id, view);
    }
    view.update(row, { open: id === this.#open, now, position: this.#complete ? this.#rows.length : -1, k });
    const top = `translateY(${this.#tops[k]}px)`;
    if (view.top !== top) view.node.style.transform = view.top = top;
    return view;
  }

  #drop(id, view) {
    this.#views.delete(id);
    view.node.remove();
  }

  #keepTabStop(wanted) {
    const stop = [this.#current, this.#open].find((id) => id !== null && wanted.has(id) && this.link(id))
      ?? [...wanted.keys()].find((id) => this.link(id));
    for (const [id, { link }] of this.#views) link?.setAttribute("tabindex", id === stop ? "0" : "-1");
  }

  // ── places ──────────────────────────────────────────────────────────────────────────────────
  /** The row at a height, by bisection. */
  #at(y) {
    let [low, high] = [0, Math.max(0, this.#rows.length - 1)];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#tops[middle] <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The first visible thread, and how far it is below the edge; null at the top of the list. */
  #anchor() {
    const { scrollTop } = this.scroller;
    if (scrollTop < 1 || !this.#rows.length) return null;
    const k = this.#at(scrollTop);
    const row = this.#rows[k].entry ? k : k + 1;
    return this.#rows[row] ? { id: this.#rows[row].id, below: this.#tops[row] - scrollTop } : null;
  }

  #keepPlace(anchor) {
    if (!anchor) return;
    const k = this.#rows.findIndex(({ id }) => id === anchor.id);
    if (k >= 0 && this.scroller.scrollTop !== this.#tops[k] - anchor.below) {
      this.scroller.scrollTop = this.#tops[k] - anchor.below;
    }
  }

  #reveal(k) {
    const { scrollTop, clientHeight } = this.scroller;
    const first = this.#rows.findIndex(({ entry }) => entry) === k;
    const top = first ? 0 : this.#tops[k];
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (this.#tops[k + 1] > scrollTop + clientHeight) this.scroller.scrollTop = this.#tops[k + 1] - clientHeight;
  }

  // ── keyboard and mouse ──────────────────────────────────────────────────────────────────────
  #enter(id) {
    if (!id || id === this.#current) return;
    this.link(this.#current)?.setAttribute("tabindex", "-1");
    this.#current = id;
    this.link(id)?.setAttribute("tabindex", "0");
  }

  #pressed(event) {
    if (isComposing(event) || event.target.matches("input")) return;
    const id = event.target.closest("[data-id]")?.dataset.id;
    const entries = this.#rows.filter(({ entry }) => entry);
    const at = entries.findIndex((row) => row.id === id);
    if (at < 0) return;
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -at, End: entries.length };
    if (!plain || !(event.key in steps)) return this.onKey(event, entries[at].entry);
    event.preventDefault();
    this.focus(entries[Math.max(0, Math.min(entries.length - 1, at + steps[event.key]))].id);
  }

  #clicked(event) {
    const id = event.target.closest("[data-id]")?.dataset.id;
    if (!id || event.target.closest("input")) return;
    if (event.target.closest(".row-more")) return this.onMenu(id);
    const own = event.ctrlKey || event.metaKey || event.shiftKey || event.button; // another tab or window
    if (own || !event.target.closest("a")) return;
    event.preventDefault();
    this.onOpen(id);
  }

  #menu(event) {
    const id = event.target.closest("[data-id]")?.dataset.id;
    if (!id || event.target.closest("input")) return;
    event.preventDefault();
    // Some systems ask when the button is pressed, and Firefox takes its release for a click beside the menu.
    const isHeld = event.buttons !== 0 && event.pointerType !== "touch";
    if (isHeld) addEventListener("mouseup", () => this.onMenu(id), { once: true });
    else this.onMenu(id);
  }
}

class GroupView {
  top = "";

  constructor() {
    this.label = el("h3", {});
    this.node = el("div", { class: "list-group", role: "listitem" }, this.label);
  }

  update({ label }) {
    setText(this.label, label);
  }
}

class RowView {
  top = "";
  #shown = "";

  constructor(id) {
    this.title = el("span", { class: "row-title", dir: "auto" });
    this.time = el("time", { class: "row-time" });
    this.preview = el("span", { class: "row-preview", dir: "auto" });
    this.mark = el("span", { class: "row-mark" });
    this.link = el(
      "a",
      { class: "row-link", href: `#/t/${id}`, tabindex: "-1", draggable: "false" },
      this.title,
      this.time,
      this.preview,
      this.mark,
    );
    const more = el("button", { type: "button", class: "row-more", tabindex: "-1", "aria-label": "Actions", title: "Actions" }, icon("dots"));
    this.node = el("div", { class: "thread-row", role: "listitem", "data-id": id }, this.link, more);
  }

  update({ entry }, { open, now, position, k }) {
    this.node.setAttribute("aria-setsize", String(position));
    this.node.setAttribute("aria-posinset", String(k + 1));
    const unread = entry.unread && !open;
    const time = shortTime(entry.active_at, now);
    const shown = JSON.stringify([entry.name, entry.preview, entry.by_user, entry.busy, unread, open, time]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    setText(this.title, entry.name || "Without a name");
    setText(this.time, time);
    this.time.title = fullTime(moment(entry.active_at));
    setText(this.preview, entry.preview ? `${entry.by_user ? "You: " : ""}${entry.preview}` : "A file");
    setText(this.mark, entry.busy ? "Writing an answer" : unread ? "New answer" : "");
    this.node.classList.toggle("unread", unread);
    this.node.classList.toggle("busy", entry.busy);
    if (open) this.link.setAttribute("aria-current", "page");
    else this.link.removeAttribute("aria-current");
  }
}
