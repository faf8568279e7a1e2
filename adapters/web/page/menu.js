// A button with a menu of actions: the menu-button pattern of the ARIA Authoring Practices.
import { el, icon } from "./dom.js";

/**
 * @typedef {object} MenuItem
 * @property {string} label
 * @property {string} icon
 * @property {() => void} run
 * @property {number} order smaller ones come first
 * @property {() => boolean} [shown] whether the menu offers it now
 */

/** The menu below `button`; `list` is its empty element with `popover`. */
export class Menu {
  /** @type {MenuItem[]} */
  #items = [];

  constructor({ button, list }) {
    this.button = button;
    this.list = list;
    button.addEventListener("click", () => this.#toggle());
    button.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
      event.preventDefault();
      this.open();
      if (event.key === "ArrowUp") this.#entries.at(-1)?.focus();
    });
    list.addEventListener("keydown", (event) => this.#pressed(event));
    list.addEventListener("toggle", ({ newState }) => button.setAttribute("aria-expanded", String(newState === "open")));
    list.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget !== button && !list.contains(relatedTarget)) this.close();
    });
  }

  /** @param {MenuItem} item */
  add(item) {
    this.#items.push(item);
    this.#items.sort((one, other) => one.order - other.order);
  }

  open() {
    const shown = this.#items.filter((item) => item.shown?.() ?? true);
    this.list.replaceChildren(...shown.map((item) => this.#entry(item)));
    this.list.showPopover();
    place(this.list, this.button);
    this.#entries[0]?.focus();
  }

  /** Close it; the focus goes back to the button if it was in the menu. */
  close() {
    if (this.list.contains(document.activeElement)) this.button.focus();
    if (this.list.matches(":popover-open")) this.list.hidePopover();
  }

  /** The press that follows a light dismissal must not open it again. */
  #toggle() {
    if (this.button.getAttribute("aria-expanded") === "true") this.close();
    else this.open();
  }

  get #entries() {
    return [...this.list.querySelectorAll("[role=menuitem]")];
  }

  #entry({ label, icon: sign, run }) {
    const act = () => {
      this.close();
      run();
    };
    return el("button", { type: "button", role: "menuitem", tabindex: "-1", onclick: act }, icon(sign), label);
  }

  #pressed(event) {
    const entries = this.#entries;
    const at = entries.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key] ?? this.#begun(event.key, at);
    if (to !== undefined) entries.at(to % entries.length).focus();
    else if (event.key === "Escape" || event.key === "Tab") this.close();
    else return;
    if (event.key !== "Tab") event.preventDefault();
    event.stopPropagation();
  }

  /** The next entry that begins with a pressed letter. */
  #begun(key, at) {
    if (key.length !== 1 || key === " ") return undefined;
    const entries = this.#entries;
    const turned = entries.map((_, index) => (at + 1 + index) % entries.length);
    return turned.find((index) => entries[index].textContent.toLowerCase().startsWith(key.toLowerCase()));
  }
}

/** Below the button, inside the window. */
function place(list, button) {
  const { bottom, right } = button.getBoundingClientRect();
  const { width, height } = list.getBoundingClientRect();
  list.style.left = `${Math.max(8, right - width)}px`;
  list.style.top = `${Math.max(8, Math.min(bottom + 4, innerHeight - height - 8))}px`;
}
