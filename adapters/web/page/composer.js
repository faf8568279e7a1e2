// A message box that grows with its text, keeps a draft, and completes commands, models and the
// mention. `Attach` has its files.
//
// The box stays a multi-line textbox, which may point to an option of a listbox
// (aria-activedescendant); role=combobox is not allowed on a textarea.
import { Attach } from "./attach.js";
import { byTouch, el, isComposing, tab } from "./dom.js";
import { counted } from "./format.js";
import { entersSend } from "./preferences.js";

export const MENTION = "@threadline";
const MOST_CHARACTERS = 64_000; // the server's limit

export class Composer {
  #options = [];
  #active = -1;
  #range = [0, 0];
  #moved = false; // whether the reader walked to the active option
  /** @type {string | null} */
  #settled = null; // the text whose list was closed by Escape or by a choice
  #draft = "";
  #begun = false; // whether a button began the command in the box
  #aside = ""; // what was in the box before that

  /**
   * `onSend(text, files)`; `offers(text)` returns suggestions: `text`, perhaps `words` about it, and
   * `anywhere` if a part of the text finds it; `isCommand(text)`; `say` announces the number of
   * suggestions. `limits` and `onView` are those of `Attach`.
   */
  constructor({ form, onSend, offers, isCommand, say, limits, onView }) {
    this.onSend = onSend;
    this.offers = offers;
    this.isCommand = isCommand;
    this.say = say;
    this.box = form.querySelector("textarea");
    this.list = form.querySelector("[role=listbox]");
    this.error = form.querySelector(".error");
    this.send = form.querySelector(".send");
    this.box.addEventListener("input", () => this.#changed());
    this.box.addEventListener("keydown", (event) => this.#key(event));
    this.box.addEventListener("blur", () => this.close());
    this.list.addEventListener("pointerdown", (event) => this.#pick(event));
    // Scrolling the list by mouse leaves the focus in the box.
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.files = new Attach({
      form,
      box: this.box,
      limits,
      say,
      onView,
      onChange: () => this.#filesChanged(),
      onProblem: (sentence) => this.#fail(sentence),
    });
    this.#changed();
  }

  /** Store drafts under `name` from now on, and show the stored one. */
  keepAs(name) {
    this.#begun = false;
    this.#aside = "";
    const typed = this.#draft ? "" : this.text; // before this script had arrived
    this.#draft = `draft.${name}`;
    this.text = [tab.get(this.#draft, ""), typed].filter(Boolean).join("\n\n");
    if (typed) this.#keep();
    this.files.keepAs(name);
    this.#fail(""); // it was about another thread
  }

  get text() {
    return this.box.value;
  }

  set text(value) {
    this.box.value = value;
    this.box.setSelectionRange(value.length, value.length);
    this.close();
    this.#fit();
  }

  /** Write `text` into the box as if it were typed. */
  write(text) {
    this.text = text;
    this.box.focus();
    this.#changed();
  }

  /** Write a command; the text that it replaces returns when the command is sent or deleted. */
  begin(command) {
    const replaces = this.isCommand(this.text) || /^\/\w*$/.test(this.text);
    if (!replaces) this.#aside = [this.#aside, this.text].filter(Boolean).join("\n\n");
    this.#begun = true;
    this.write(command);
  }

  submit() {
    const text = this.box.value.trim();
    const command = this.isCommand(text);
    // Files that were attached before a button began the command belong to the draft.
    const files = command && this.#begun ? [] : this.files.items;
    if (!text && !files.length) return;
    if (files.length && command) {
      return this.#fail("A command takes no files: remove them, or send them with a message.");
    }
    if (text.length > MOST_CHARACTERS) {
      const [has, most] = [text.length, MOST_CHARACTERS].map((n) => n.toLocaleString("en"));
      return this.#fail(`This has ${has} characters; a message takes ${most}. Please shorten it.`);
    }
    this.#fail("");
    if (this.onSend(text, files) === false) return;
    if (files.length) this.files.take();
    this.#putBack();
    this.#keep();
  }

  /** Show why nothing was sent, with the text and the files back in the box. */
  fail(sentence, text = "", files = []) {
    if (files.length) this.files.giveBack(files);
    if (text) this.text = [text, this.box.value].filter(Boolean).join("\n\n");
    this.#keep();
    this.#fail(sentence);
  }

  #putBack() {
    this.text = this.#aside;
    this.#aside = "";
    this.#begun = false;
  }

  /** Other suggestions have arrived; the option that the reader walked to stays active. */
  refresh() {
    if (document.activeElement !== this.box || this.box.value === this.#settled) return;
    const chosen = this.#moved ? this.#options[this.#active]?.text : undefined;
    this.#suggest();
    const k = this.#options.findIndex(({ text }) => text === chosen);
    this.#moved = k >= 0;
    if (k > 0) this.#activate(k);
  }

  get suggesting() {
    return !this.list.hidden;
  }

  #fail(sentence) {
    this.error.textContent = sentence;
    this.error.hidden = !sentence;
    this.box.toggleAttribute("aria-invalid", Boolean(sentence));
    if (sentence) this.box.setAttribute("aria-invalid", "true");
  }

  #changed() {
    this.#fail("");
    if (!this.box.value && this.#begun) this.#putBack();
    this.#keep();
    this.#fit();
    this.#moved = false;
    this.#settled = null;
    this.#suggest();
  }

  #keep() {
    if (this.#draft) tab.set(this.#draft, this.#aside || this.box.value);
    this.#allow();
  }

  #filesChanged() {
    this.#fail("");
    this.#allow();
  }

  /** A text or a file can be sent. */
  #allow() {
    this.send.disabled = !this.box.value.trim() && !this.files?.items.length;
  }

  #fit() {
    this.#allow();
    if (CSS.supports("field-sizing", "content")) return;
    this.box.rows = Math.min(10, this.box.value.split("\n").length);
  }

  #key(event) {
    if (isComposing(event)) return;
    if (this.suggesting && event.key === "Enter" && this.#typedWhole) this.close();
    if (this.suggesting && this.#choose(event.key)) return event.preventDefault();
    const meant = event.ctrlKey || event.metaKey || !(event.shiftKey || byTouch() || !entersSend());
    if (event.key === "Enter" && meant) {
      event.preventDefault();
      this.submit();
    }
  }

  // ── suggestions ─────────────────────────────────────────────────────────────────────────────
  #suggest() {
    const caret = this.box.selectionStart;
    const word = /(?:^\/model\s+|(?<=^|\s))(\S*)$/.exec(this.box.value.slice(0, caret))?.[1] ?? "";
    const begun = this.box.value.slice(0, caret);
    const at = ({ text }) => text.toLowerCase().indexOf(word.toLowerCase());
    const fits = (offer) => (offer.anywhere ? at(offer) >= 0 : at(offer) === 0);
    const found = this.offers(begun, word).filter(fits);
    const complete = found.length === 1 && found[0].text.trim() === word;
    if (!found.length || complete || caret !== this.box.value.length) return this.close();
    // A completely typed name comes before longer ones that start with it, and those before others.
    const rank = (offer) => (offer.text.trim() === word ? 0 : at(offer) === 0 ? 1 : 2);
    found.sort((a, b) => rank(a) - rank(b));
    this.#range = [caret - word.length, caret];
    this.#open(found);
  }

  #open(found) {
    this.#options = found;
    this.list.replaceChildren(
      ...found.map(({ text, words }, k) =>
        el(
          "li",
          { role: "option", id: `${this.list.id}-${k}`, "aria-selected": "false", "data-k": k },
          el("bdi", { class: "option" }, text.trim()),
          words ? el("span", { class: "words" }, words) : null,
        ),
      ),
    );
    if (this.list.hidden) this.say(counted(found.length, "suggestion", "suggestions"));
    this.list.hidden = false;
    this.#activate(0);
  }

  #activate(k) {
    this.#active = (k + this.#options.length) % this.#options.length;
    [...this.list.children].forEach((option, n) => {
      option.setAttribute("aria-selected", String(n === this.#active));
      if (n === this.#active) option.scrollIntoView({ block: "nearest" });
    });
    this.box.setAttribute("aria-activedescendant", `${this.list.id}-${this.#active}`);
  }

  close() {
    this.list.hidden = true;
    this.list.replaceChildren();
    this.#options = [];
    this.box.removeAttribute("aria-activedescendant");
  }

  /** Whether the open list handled the key. */
  #choose(key) {
    if (key === "ArrowDown") this.#walk(1);
    else if (key === "ArrowUp") this.#walk(-1);
    else if (key === "Escape") this.#settle();
    else if (key === "Enter") this.#take(this.#moved || this.#range[0] < this.#range[1]);
    else if (key === "Tab") this.#accept();
    else return false;
    return true;
  }

  #walk(step) {
    this.#moved = true;
    this.#activate(this.#active + step);
  }

  /** Close the list until the text changes. */
  #settle() {
    this.#settled = this.box.value;
    this.close();
  }

  /** Whether the active suggestion is already typed: then Enter sends. */
  get #typedWhole() {
    const word = this.box.value.slice(...this.#range);
    return word !== "" && this.#options[this.#active].text.trim() === word;
  }

  #accept() {
    const { text } = this.#options[this.#active];
    this.box.setRangeText(text, ...this.#range, "end");
    this.#changed();
    if (!text.endsWith(" ")) this.#settle(); // complete, though longer names start with it
  }

  /**
   * Accept the active suggestion. A choice after a command is sent at once if the reader has
   * `decided`; the name of a command alone never is, because a part of it may mean another one.
   */
  #take(decided) {
    const isChoice = this.#range[0] > 0;
    this.#accept();
    if (decided && isChoice && this.isCommand(this.box.value)) this.submit();
  }

  #pick(event) {
    const option = event.target.closest("[role=option]");
    if (!option) return;
    event.preventDefault(); // the box keeps the focus
    this.#active = Number(option.dataset.k);
    this.#take(true);
  }
}
