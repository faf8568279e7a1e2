// Short notices at the edge of the window, each with a button for a few seconds. They are announced
// once; F8 moves the focus to the newest one, and Ctrl+Z outside a text presses its button.
//
// A notice stays while the pointer or the keyboard's focus is on it (WCAG 2.2.1). If the server limits
// the time for its button, `hold` asks for more; a notice that asked too late says so.
import { asApiError } from "./api.js";
import { el, icon, isComposing, setText } from "./dom.js";

const MOST = 3; // older ones make room
const HOLD_MS = 3_000; // between two calls of `hold`: the server's time is eight seconds
const LONGEST_MS = 600_000; // a forgotten pointer holds a notice no longer

/**
 * @typedef {object} Notice
 * @property {string} words
 * @property {string} label of the button
 * @property {number} seconds for which it is shown
 * @property {() => void} run what the button does
 * @property {boolean} [focus] whether the button gets the focus
 * @property {() => Promise<void>} [hold] asks the server to let the button work for another `seconds`
 * @property {string} [over] the words once it is too late
 */

class Toast {
  #timer = 0;
  #isHeld = false;
  #byKeyboard = false;
  #end = 0; // when it disappears, by performance.now()
  #longest = performance.now() + LONGEST_MS;

  /** @param {Notice} notice */
  constructor(notice, { onRun, onDrop }) {
    this.notice = notice;
    this.onDrop = onDrop;
    this.button = el("button", { type: "button", class: "undo", onclick: onRun }, notice.label);
    this.words = el("p", { dir: "auto" }, notice.words);
    const close = el("button", { type: "button", class: "tool", "aria-label": "Dismiss", onclick: onDrop }, icon("close"));
    this.node = el("div", { class: "toast" }, this.words, this.button, close);
    this.back = /** @type {HTMLElement | null} */ (document.activeElement);
    for (const name of ["pointerenter", "pointerleave", "focusin"]) this.node.addEventListener(name, () => this.#look());
    this.node.addEventListener("focusout", ({ relatedTarget }) => {
      if (this.node.contains(/** @type {Node | null} */ (relatedTarget))) return;
      this.#byKeyboard = false;
      queueMicrotask(() => this.#look()); // the focus has left by then
    });
    this.node.addEventListener("keydown", () => this.holdForKeys());
    this.#end = performance.now() + notice.seconds * 1000;
    this.#wait();
  }

  /** The reader has come to it with the keyboard: also if a script had set the focus before. */
  holdForKeys() {
    this.#byKeyboard = true;
    this.#look();
  }

  /** A tap leaves no pointer behind, and a focus that a script has set does not mean that the reader is there. */
  #look() {
    const focused = this.#byKeyboard || this.node.matches(":has(:focus-visible)");
    const pointed = matchMedia("(hover: hover)").matches && this.node.matches(":hover");
    const held = (focused && this.node.contains(document.activeElement)) || pointed;
    if (held === this.#isHeld) return;
    this.#isHeld = held;
    this.#hold();
  }

  /** Keep it for as long as it is held, and for its whole time after that. */
  async #hold() {
    clearTimeout(this.#timer);
    const asked = performance.now();
    try {
      if (asked < this.#longest) await this.notice.hold?.();
      if (asked < this.#longest) this.#end = asked + this.notice.seconds * 1000;
    } catch (error) {
      if (!asApiError(error).passing) return this.#over();
    }
    if (this.node.isConnected) this.#wait();
  }

  /** Until its end, or until it is time to move that again. */
  #wait() {
    clearTimeout(this.#timer);
    const left = this.#end - performance.now();
    const again = this.#isHeld && left > HOLD_MS;
    this.#timer = setTimeout(() => (again ? this.#hold() : this.onDrop()), again ? HOLD_MS : left);
  }

  /** It is too late for what the button offers. */
  #over() {
    if (this.node.contains(document.activeElement)) this.back?.focus();
    this.button.hidden = true;
    setText(this.words, this.notice.over ?? this.notice.words);
    this.#timer = setTimeout(this.onDrop, this.notice.seconds * 1000);
  }

  remove() {
    clearTimeout(this.#timer);
    this.node.remove();
  }
}

export class Toasts {
  /** @type {Toast[]} */
  #shown = [];

  /** `root` holds them; `say` announces words; `onLeft()` is called if one takes the focus with it. */
  constructor({ root, say, onLeft }) {
    this.root = root;
    this.say = say;
    this.onLeft = onLeft;
    document.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** @param {Notice} notice */
  show(notice) {
    const { words, label, focus = false } = notice;
    const onRun = () => {
      this.#drop(toast);
      notice.run();
    };
    const toast = new Toast(notice, { onRun, onDrop: () => this.#drop(toast) });
    this.#shown.push(toast);
    this.root.append(toast.node);
    while (this.#shown.length > MOST) this.#drop(this.#shown[0]);
    if (focus) toast.button.focus();
    this.say(`${words} ${label}: press ${focus ? "Enter" : "F8, then Enter"}.`);
  }

  /** Also when its time is over: the focus goes back to where it was. */
  #drop(toast) {
    this.#shown = this.#shown.filter((each) => each !== toast);
    const held = toast.node.contains(document.activeElement);
    toast.remove();
    if (!held) return;
    if (toast.back?.isConnected && toast.back !== document.body && toast.back.checkVisibility()) toast.back.focus();
    else this.onLeft();
  }

  #pressed(event) {
    const newest = this.#shown.at(-1);
    if (!newest || event.defaultPrevented || isComposing(event) || document.querySelector("dialog[open]")) return;
    const inToast = newest.node.contains(event.target);
    const undo = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey;
    if (event.key === "F8") {
      newest.button.focus();
      newest.holdForKeys();
    } else if (undo && !event.target.closest("input, textarea")) newest.button.click();
    else if (event.key === "Escape" && inToast) this.#drop(newest);
    else return;
    event.preventDefault();
  }
}
