// The dialog that shows a picture or a text in full.
import { el } from "./dom.js";

const MOST_CHARACTERS = 500_000; // of a text; more would stall the page

export class Viewer {
  #address = "";
  /** @type {(() => void) | null} */
  #putBack = null;

  constructor(dialog) {
    this.dialog = dialog;
    this.title = dialog.querySelector("h2");
    this.content = dialog.querySelector(".content");
    this.back = dialog.querySelector(".put-back");
    this.back.addEventListener("click", () => {
      const putBack = this.#putBack;
      dialog.close();
      putBack?.();
    });
    dialog.addEventListener("close", () => this.#empty());
    dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  }

  showPicture(name, blob) {
    this.#empty();
    this.#address = URL.createObjectURL(blob);
    this.#show(name, el("img", { src: this.#address, alt: name }));
  }

  /** `putBack`, if given, writes the text into the message box. */
  showText(name, text, putBack = null) {
    this.#empty();
    const all = text.length <= MOST_CHARACTERS;
    const shown = all ? text : `${text.slice(0, MOST_CHARACTERS)}\n… (${text.length.toLocaleString()} characters in total)`;
    this.#show(name, el("pre", { tabindex: "0", role: "group", "aria-label": name, dir: "auto" }, shown));
    this.#putBack = putBack;
    this.back.hidden = putBack === null;
  }

  #show(name, node) {
    this.title.textContent = name;
    this.content.replaceChildren(node);
    this.dialog.showModal();
  }

  #empty() {
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = "";
    this.#putBack = null;
    this.back.hidden = true;
    this.content.replaceChildren();
  }
}
