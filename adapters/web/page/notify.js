// Tells of answers in tabs that are not looked at: in their titles, on the app's icon, and, if the
// reader has switched that on, with a notification.
//
// Hidden tabs hold no connection (see EventStream). While an answer is written, one of them does, and
// tells the others. Browsers allow this in secure contexts only: https, or the machine itself.
import { browser, otherTabs } from "./dom.js";
import { installChoice } from "./notify-choice.js";

const WATCHING = "threadline.watching"; // the lock of the hidden tab that follows the events
const LOOKED_AT = "threadline.looked-at"; // the lock that every visible tab shares
const SHOWN_CHARACTERS = 160;

export class Notify {
  #writing = new Map(); // the names of threads with a running answer, by id
  #unread = new Map(); // the names of threads whose answer ended unseen, by id
  #texts = new Map(); // the last answers of threads, by id
  #tabs = otherTabs("threadline.answers");
  #title = document.title;
  #hidden = document.hidden;
  #leave = () => {};

  /**
   * `onWatch(connected)` opens or closes the stream of events; `show(thread)` opens a thread;
   * `concerns(thread)` says whether the reader takes part in it: answers in other threads are not announced.
   */
  constructor({ onWatch, show, concerns, choice }) {
    this.onWatch = onWatch;
    this.concerns = concerns;
    this.show = show;
    installChoice(choice);
    this.#tabs.addEventListener("message", ({ data }) => this.#told(data));
    document.addEventListener("visibilitychange", () => this.#turned());
    if (!document.hidden) this.#lookAt();
  }

  // ── what the page tells ─────────────────────────────────────────────────────────────────────
  /** The title of this tab, with what happens in the background. */
  set title(words) {
    this.#title = words;
    this.#draw();
  }

  /** A thread's newest state. */
  sawThread(thread) {
    const { id, name, busy } = thread;
    if (busy && this.concerns(thread)) this.#writing.set(id, name);
    else if (busy) this.#writing.delete(id);
    else if (this.#writing.delete(id) && this.#hidden) this.#ended(id, name);
    this.#settle();
  }

  /** A reply's newest state. */
  sawReply({ thread, state, text = "" }) {
    const over = state !== "writing" && state !== "queued";
    if (over && this.#hidden) this.#texts.set(thread, text.trim().slice(0, SHOWN_CHARACTERS));
  }

  /** Everything was read again: answers may have begun and ended unnoticed. */
  refreshed(state) {
    for (const id of [...this.#writing.keys()]) {
      const thread = state.progress(id);
      if (thread) this.sawThread(thread);
      else this.#writing.delete(id);
    }
    for (const thread of state.busyThreads) this.sawThread(thread);
    this.#settle();
  }

  // ── who looks ───────────────────────────────────────────────────────────────────────────────
  #turned() {
    this.#hidden = document.hidden;
    this.#leave();
    if (this.#hidden) {
      this.onWatch(false);
      if (this.#writing.size) this.#watch();
    } else {
      this.onWatch(true);
      this.#lookAt();
      this.#seen();
      this.#tabs.postMessage({ seen: true });
    }
    this.#draw();
  }

  #lookAt() {
    this.#hold(LOOKED_AT, "shared", () => {});
  }

  /** Follow the events, as the only one of the hidden tabs. */
  #watch() {
    this.#hold(WATCHING, "exclusive", () => {
      if (this.#hidden && this.#writing.size) this.onWatch(true);
      else this.#leave();
    });
  }

  /** Hold a lock until `#leave()`; `begin` is called when it is this tab's. */
  #hold(name, mode, begin) {
    if (!navigator.locks) return;
    const waiting = new AbortController();
    const held = () =>
      new Promise((resolve) => {
        this.#leave = () => resolve(undefined);
        begin();
      });
    this.#leave = () => waiting.abort();
    navigator.locks.request(name, { mode, signal: waiting.signal }, held).catch(() => {});
  }

  /** Once no answer is written any more, a hidden tab has nothing to wait for. */
  #settle() {
    if (this.#hidden && !this.#writing.size) {
      this.#leave();
      this.onWatch(false);
    }
    this.#draw();
  }

  // ── what has ended ──────────────────────────────────────────────────────────────────────────
  #ended(id, name) {
    this.#unread.set(id, name);
    this.#tabs.postMessage({ ended: [id, name] });
    navigator.setAppBadge?.(this.#unread.size).catch(() => {});
    this.#notify(id, name);
  }

  #told({ seen, ended }) {
    if (seen) return this.#seen();
    const [id, name] = ended;
    this.#writing.delete(id);
    if (this.#hidden) this.#unread.set(id, name);
    this.#settle();
  }

  #seen() {
    this.#unread.clear();
    this.#texts.clear();
    navigator.clearAppBadge?.().catch(() => {});
    this.#draw();
  }

  async #notify(id, name) {
    const chosen = browser.get("notify");
    if (!chosen || !globalThis.Notification || Notification.permission !== "granted") return;
    if (await isLookedAt()) return; // another tab shows it
    const text = chosen === "text" ? this.#texts.get(id) : "";
    const body = text || "The answer has ended.";
    try {
      // The tag: the next answer of the thread takes the place of this one.
      const shown = new Notification(name, { body, tag: id, dir: "auto", icon: "/static/icon-192.png" });
      shown.addEventListener("click", () => {
        window.focus();
        this.show(id);
        shown.close();
      });
    } catch {
      // Android's browsers show only those of service workers.
    }
  }

  // ── the title ───────────────────────────────────────────────────────────────────────────────
  #draw() {
    const title = this.#hidden && navigator.locks ? this.#background() : this.#title;
    if (document.title !== title) document.title = title;
  }

  #background() {
    const [name] = [...this.#unread.values()].slice(-1);
    if (name !== undefined) return `(${this.#unread.size}) ● answered · ${name.slice(0, 60)}`;
    return this.#writing.size ? `… writing · ${this.#title}` : this.#title;
  }
}

async function isLookedAt() {
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  return held.some(({ name }) => name === LOOKED_AT);
}
