// The files of a message box: picked, pasted or dropped, and shown as chips until they are sent.
import { el, icon } from "./dom.js";
import { admitted, droppedFiles, fileSize, isPicture, pastedFile, pastedFiles } from "./files.js";

/** @typedef {{file: File, pasted: boolean}} Attached */

export class Attach {
  /** @type {Attached[]} */
  #items = [];
  #kept = new Map(); // by draft: the files of threads that are not open
  #name = "";
  #urls = new Map();

  /**
   * `limits()` are the server's; `onChange()` after each change; `onProblem(sentence)`; `say(words)`
   * for screen readers; `onView(attached, putBack)` opens a file.
   */
  constructor({ form, box, limits, onChange, onProblem, say, onView }) {
    this.box = box;
    this.limits = limits;
    this.onChange = onChange;
    this.onProblem = onProblem;
    this.say = say;
    this.onView = onView;
    this.list = form.querySelector(".attached");
    this.button = form.querySelector(".attach");
    const picker = form.querySelector("input[type=file]");
    this.button.addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      this.add([...picker.files]);
      picker.value = ""; // the same file may be picked again
    });
    box.addEventListener("paste", (event) => this.#paste(event));
  }

  get items() {
    return this.#items;
  }

  get allowed() {
    return this.limits().most > 0;
  }

  /** Keep the files of another draft, and show those of `name`. */
  keepAs(name) {
    this.#kept.set(this.#name, this.#items);
    this.#name = name;
    this.#show(this.#kept.get(name) ?? []);
  }

  /** Return unsent files to the draft `name`. */
  giveBack(items, name = this.#name) {
    if (name === this.#name) return this.#show([...items, ...this.#items]);
    this.#kept.set(name, [...items, ...(this.#kept.get(name) ?? [])]);
  }

  /** Remove all files, and return them. */
  take() {
    const taken = this.#items;
    this.#show([]);
    return taken;
  }

  add(files, { pasted = false } = {}) {
    if (!this.allowed) return this.onProblem("This server takes no files.");
    const had = this.#items.map(({ file }) => file);
    const { taken, problems } = admitted(files, had, this.limits());
    this.#show([...this.#items, ...taken.map((file) => ({ file, pasted }))]);
    if (taken.length) this.say(`Attached: ${taken.map(({ name }) => name).join(", ")}.`);
    if (problems.length) this.onProblem(problems.join(" "));
  }

  drop(data) {
    const { files, folders } = droppedFiles(data);
    if (files.length) this.add(files);
    if (folders.length) this.onProblem(`“${folders[0]}” is a folder: drop the files in it.`);
    this.box.focus();
  }

  #paste(event) {
    const data = event.clipboardData;
    if (!data || !this.allowed) return;
    const files = pastedFiles(data);
    const long = files.length ? null : pastedFile(data.getData("text/plain"));
    if (!files.length && !long) return;
    event.preventDefault();
    this.add(files.length ? files : [long], { pasted: long !== null });
  }

  /** Write a pasted text into the box, in place of its file. */
  async #putBack(item) {
    const text = await item.file.text();
    this.#remove(item);
    this.box.focus();
    this.box.setRangeText(text, this.box.selectionStart, this.box.selectionEnd, "end");
    this.box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  #remove(item) {
    const k = this.#items.indexOf(item);
    this.#show(this.#items.filter((each) => each !== item));
    const next = this.list.children[Math.min(k, this.#items.length - 1)]?.querySelector(".remove");
    (next ?? this.box).focus();
    this.say(`Removed: ${item.file.name}.`);
  }

  // ── chips ───────────────────────────────────────────────────────────────────────────────────
  #show(items) {
    this.#items = items;
    for (const [item, url] of this.#urls) {
      if (items.includes(item)) continue;
      URL.revokeObjectURL(url);
      this.#urls.delete(item);
    }
    this.list.replaceChildren(...items.map((item) => this.#chip(item)));
    this.list.hidden = !items.length;
    this.onChange();
  }

  #chip(item) {
    const { file, pasted } = item;
    const name = pasted ? "Pasted text" : file.name;
    const label = [el("span", { class: "name" }, name), el("span", { class: "size" }, fileSize(file.size))];
    const opens = pasted || isPicture(file);
    const putBack = pasted ? () => this.#putBack(item) : null;
    const open = () => this.onView(item, putBack);
    return el(
      "li",
      { class: "file" },
      this.#sign(item),
      opens
        ? el("button", { type: "button", class: "label", onclick: open, title: "Open" }, ...label)
        : el("span", { class: "label" }, ...label),
      el(
        "button",
        { type: "button", class: "remove", "aria-label": `Remove ${name}`, title: "Remove", onclick: () => this.#remove(item) },
        icon("close"),
      ),
    );
  }

  #sign(item) {
    if (!isPicture(item.file)) return icon("file");
    if (!this.#urls.has(item)) this.#urls.set(item, URL.createObjectURL(item.file));
    return el("img", { class: "thumb", src: this.#urls.get(item), alt: "" });
  }
}

/** Accept drops on `root` while `zone` shows where; `onDrop(dataTransfer)`. */
export function installDrop({ root, zone, allowed, onDrop }) {
  const hasFiles = (event) => allowed() && [...(event.dataTransfer?.types ?? [])].includes("Files");
  root.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    zone.hidden = false;
  });
  root.addEventListener("dragleave", (event) => {
    if (!root.contains(event.relatedTarget)) zone.hidden = true;
  });
  root.addEventListener("drop", (event) => {
    zone.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    onDrop(event.dataTransfer);
  });
}

/** Keep the page when a file is dropped outside the panes; the browser would otherwise open the file. */
export function installSafeDrops() {
  for (const name of ["dragover", "drop"]) {
    addEventListener(name, (event) => {
      const { dataTransfer } = /** @type {DragEvent} */ (event);
      if (!event.defaultPrevented && dataTransfer?.types.includes("Files")) {
        event.preventDefault();
        dataTransfer.dropEffect = "none";
      }
    });
  }
}
