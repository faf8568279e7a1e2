// A column of messages: drawn at most once per frame, navigable with the arrow keys, and kept at its
// end only while the reader is there.
import { setHidden } from "./dom.js";

const NEAR_END = 48; // pixels that count as the end
const REST = 6; // after a growing reply was drawn, as a multiple of the time it took: a seventh of a core
const LONGEST_REST = 1_000; // milliseconds
const SLICE_MS = 30; // for new messages in one frame: a thread of 500 takes a second in all
const FLASH_MS = 2_000;

export class Feed {
  #views = new Map();
  #items = [];
  #due = 0;
  #resting = 0; // a timer
  #restUntil = 0;
  #stuck = true;
  #isPartial = false; // whether the older messages follow in the next frame
  #top = 0;
  #height = 0;
  /** @type {{ node: Element, top: number } | null} */
  #kept = null; // the message that stays where it is until the reader scrolls
  /** @type {HTMLElement | null} */
  #current = null;

  /**
   * `scroller` holds `list` (role=feed); `pill` jumps to new messages; `create(item)` makes a view;
   * `onPastEnd()` is called when the reader walks down from the last message.
   */
  constructor({ scroller, list, pill, create, onPastEnd }) {
    this.scroller = scroller;
    this.list = list;
    this.pill = pill;
    this.create = create;
    this.onPastEnd = onPastEnd;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    pill.addEventListener("click", () => this.toEnd());
    list.addEventListener("keydown", (event) => this.#walk(event));
    list.addEventListener("focusin", (event) => this.#enter(event.target.closest("article")));
    new ResizeObserver(() => this.#follow()).observe(list);
    new ResizeObserver(() => this.#follow()).observe(scroller);
  }

  /** Show `items` in order; each has an `id` and stays the same object while unchanged. */
  show(items) {
    const [last, before] = [items.at(-1), this.#items.at(-1)];
    const longer = last?.html !== before?.html || last?.version !== before?.version;
    const grown = last && (last.id !== before?.id || longer);
    const onlyGrows = last?.state === "writing" && last.id === before?.id && items.length === this.#items.length;
    this.#items = items;
    if (grown && !this.#stuck) setHidden(this.pill, false);
    const rest = onlyGrows ? this.#restUntil - performance.now() : 0;
    if (rest > 0) this.#resting ||= setTimeout(() => this.#drawSoon(), rest);
    else this.#drawSoon();
  }

  #drawSoon() {
    clearTimeout(this.#resting);
    this.#resting = 0;
    this.#due ||= requestAnimationFrame(() => this.#draw());
  }

  /** Remove everything before another thread is shown. */
  clear() {
    this.#stuck = true;
    this.pill.hidden = true;
    this.show([]);
    this.draw();
  }

  /** Draw now instead of in the next frame. */
  draw() {
    cancelAnimationFrame(this.#due);
    this.#draw(Number.POSITIVE_INFINITY);
  }

  /** Once all messages are drawn, also those that follow in the next frames. */
  async whole() {
    do await new Promise(requestAnimationFrame);
    while (this.#isPartial);
  }

  /** Let `change` insert messages above without moving the reader's position. */
  keepPlace(change) {
    const node = this.list.firstElementChild;
    const kept = node && { node, top: node.getBoundingClientRect().top };
    change();
    this.draw();
    this.#kept = kept;
    this.#follow();
  }

  toEnd() {
    this.#stuck = true;
    this.pill.hidden = true;
    this.#follow();
  }

  /** Focus the message with `id`, or the last one. @param {string | null} [id] */
  focus(id = null) {
    const node = this.#views.get(id)?.node ?? this.list.lastElementChild;
    node?.focus({ preventScroll: false });
    return Boolean(node);
  }

  /** Scroll to the message with `id`, focus it, and make it flash. Returns whether it is there. */
  reveal(id) {
    this.draw();
    const node = this.#views.get(id)?.node;
    if (!node) return false;
    this.#stuck = false;
    node.scrollIntoView({ block: "center" });
    this.#top = this.scroller.scrollTop;
    node.focus({ preventScroll: true });
    node.classList.add("flash");
    setTimeout(() => node.classList.remove("flash"), FLASH_MS);
    return true;
  }

  get focused() {
    return this.#current?.isConnected ? this.#views.get(this.#current.dataset.id)?.item : undefined;
  }

  /** Draw until `until`, by performance.now(): what is not made by then follows in the next frames. */
  #draw(until = performance.now() + SLICE_MS) {
    this.#due = 0;
    const began = performance.now();
    const wanted = new Set(this.#items.map(({ id }) => id));
    for (const [id, view] of this.#views) if (!wanted.has(id)) this.#drop(id, view);
    const held = this.#stuck ? null : this.#isPartial ? this.list.firstElementChild : this.#inView();
    const before = held?.getBoundingClientRect().top ?? 0;
    this.#place(until);
    const moved = held?.isConnected ? held.getBoundingClientRect().top - before : 0;
    if (moved) this.scroller.scrollTop += moved;
    setHidden(this.list, this.#items.length === 0); // role=feed needs articles
    this.#keepTabStop();
    this.#follow(); // lays the column out
    const now = performance.now();
    this.#restUntil = now + Math.min(REST * (now - began), LONGEST_REST);
    if (this.#isPartial) this.#due = requestAnimationFrame(() => this.#draw());
  }

  /** Place the messages, newest first, and create new ones while there is time. */
  #place(until) {
    this.#isPartial = false;
    /** @type {HTMLElement | null} */
    let next = null;
    for (let k = this.#items.length - 1; k >= 0; k--) {
      const item = this.#items[k];
      const isLate = next !== null && !this.#views.has(item.id) && performance.now() > until;
      if (isLate) this.#isPartial = true;
      if (isLate) continue;
      const { node } = this.#updated(item, this.#items[k - 1]);
      if (node.parentNode !== this.list || node.nextElementSibling !== next) this.list.insertBefore(node, next);
      next = node;
    }
  }

  #updated(item, before) {
    let view = this.#views.get(item.id);
    if (!view) {
      view = this.create(item);
      this.#views.set(item.id, view);
    }
    view.update(item, before);
    return view;
  }

  #drop(id, view) {
    this.#views.delete(id);
    view.node.remove();
  }

  // ── the reader's place ──────────────────────────────────────────────────────────────────────
  /** The innermost element of the messages at the middle of the view; null if there is none. */
  #inView() {
    const { left, top, width, height } = this.scroller.getBoundingClientRect();
    const node = document.elementFromPoint(left + width / 2, top + height / 2);
    return this.list.contains(node) ? node : null;
  }

  /** Scrolling up stops following; only reaching the end on the way down resumes it. */
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    if (Math.abs(scrollTop - this.#top) > 1) this.#kept = null;
    const left = scrollHeight - scrollTop - clientHeight;
    // The end at the previous event: it may have moved since.
    const reached = Math.min(scrollHeight, this.#height) - scrollTop - clientHeight < NEAR_END;
    // Shrinking content and a taller view, such as above a message box that was emptied, also move the
    // text down to its end: that is not the reader's doing.
    const moved = scrollHeight < this.#height || scrollTop > this.#height - clientHeight - 1;
    const up = scrollTop < this.#top - 0.5 && !moved;
    if (up) this.#stuck = false;
    else if (scrollTop > this.#top && reached) this.#stuck = true;
    if (this.#stuck || left < 2) setHidden(this.pill, true);
    this.#top = scrollTop;
    this.#height = scrollHeight;
  }

  #follow() {
    this.#scrolled(); // an upward step whose event has not fired yet
    if (this.#stuck) this.scroller.scrollTop = this.scroller.scrollHeight;
    // The height of a message outside the view is an estimate until the message comes near.
    else if (this.#kept?.node.isConnected) this.scroller.scrollTop += this.#kept.node.getBoundingClientRect().top - this.#kept.top;
    else return;
    this.#top = this.scroller.scrollTop;
  }

  // ── the keyboard ────────────────────────────────────────────────────────────────────────────
  #enter(node) {
    if (!node || node === this.#current) return;
    this.#current?.setAttribute("tabindex", "-1");
    this.#current = node;
    node.setAttribute("tabindex", "0");
  }

  #keepTabStop() {
    if (!this.#current?.isConnected && this.list.lastElementChild) {
      this.#enter(this.list.lastElementChild);
    }
  }

  #walk(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const on = event.target.closest("article");
    if (!on) return;
    const scrolls = event.target.closest("pre, .table"); // arrow keys scroll it
    const to = scrolls ? undefined : step(event.key, on);
    if (to === undefined) return;
    event.preventDefault();
    if (to === null) return event.key === "ArrowDown" && this.onPastEnd();
    to.focus({ preventScroll: true });
    to.scrollIntoView({ block: "nearest" });
  }
}

/** The target of a key: null beyond either end, undefined for other keys. */
function step(key, node) {
  if (key === "ArrowUp" || key === "k") return node.previousElementSibling;
  if (key === "ArrowDown" || key === "j") return node.nextElementSibling;
  if (key === "Home") return node.parentElement.firstElementChild;
  if (key === "End") return node.parentElement.lastElementChild;
  return undefined;
}
