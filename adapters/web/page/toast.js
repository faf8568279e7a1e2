// Short notices at the edge of the window, each with a button for a few seconds. They are announced
// once; F8 moves the focus to the newest one, and Ctrl+Z outside a text presses its button.
import { el, icon, isComposing } from "./dom.js";

const MOST = 3; // older ones make room

export class Toasts {
  /** @type {{ node: HTMLElement, button: HTMLButtonElement, back: HTMLElement | null, timer: number }[]} */
  #shown = [];

  /** `root` holds them; `say` announces words; `onLeft()` is called if one takes the focus with it. */
  constructor({ root, say, onLeft }) {
    this.root = root;
    this.say = say;
    this.onLeft = onLeft;
    document.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** Show `words` for `seconds`; `run` is what the button with `label` does. */
  show({ words, label, seconds, run, focus = false }) {
    const button = el("button", { type: "button", class: "undo" }, label);
    const close = el("button", { type: "button", class: "tool", "aria-label": "Dismiss" }, icon("close"));
    const node = el("div", { class: "toast" }, el("p", { dir: "auto" }, words), button, close);
    const back = /** @type {HTMLElement | null} */ (document.activeElement);
    const toast = { node, button, back, timer: setTimeout(() => this.#drop(toast), seconds * 1000) };
    button.addEventListener("click", () => {
      this.#drop(toast);
      run();
    });
    close.addEventListener("click", () => this.#drop(toast));
    this.#shown.push(toast);
    this.root.append(node);
    while (this.#shown.length > MOST) this.#drop(this.#shown[0]);
    if (focus) button.focus();
    this.say(`${words} ${label}: press ${focus ? "Enter" : "F8, then Enter"}.`);
  }

  /** Also when its time is over: the focus goes back to where it was. */
  #drop(toast) {
    clearTimeout(toast.timer);
    this.#shown = this.#shown.filter((each) => each !== toast);
    const held = toast.node.contains(document.activeElement);
    toast.node.remove();
    if (!held) return;
    if (toast.back?.isConnected && toast.back !== document.body && toast.back.checkVisibility()) toast.back.focus();
    else this.onLeft();
  }

  #pressed(event) {
    const newest = this.#shown.at(-1);
    if (!newest || event.defaultPrevented || isComposing(event) || document.querySelector("dialog[open]")) return;
    const inToast = newest.node.contains(event.target);
    const undo = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey;
    if (event.key === "F8") newest.button.focus();
    else if (undo && !event.target.closest("input, textarea")) newest.button.click();
    else if (event.key === "Escape" && inToast) this.#drop(newest);
    else return;
    event.preventDefault();
  }
}
