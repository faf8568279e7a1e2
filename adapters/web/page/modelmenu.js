// A searchable list of models with the known facts about each: the combobox with a listbox of the ARIA
// Authoring Practices. The caller decides what a choice does.
import { asApiError } from "./api.js";
import { el, icon, setText } from "./dom.js";
import { counted, money, short } from "./format.js";

const LIMIT_MS = 6_000; // the server itself waits two seconds for other servers
const MOST_SHOWN = 200; // a server may offer thousands: the search finds the others
let made = 0;

/**
 * @typedef {object} Choosing
 * @property {HTMLElement} anchor gets the focus back; the menu opens beside it
 * @property {string | null} [thread] whose model is chosen; null: the one of new threads
 * @property {string} [label] what the choice is for
 * @property {boolean} [offersDefault] whether the default can be chosen, too
 * @property {(name: string | null) => unknown} onChoose gets null for the default
 * @property {() => void} [onNothing] there is nothing to choose
 */

class ModelMenu {
  /** @type {Choosing | null} */
  #asked = null;
  /** @type {any} */
  #found = null;
  #shown = [];
  #active = 0;
  #number = ++made;
  #box = el("input", { type: "text", role: "combobox", "aria-expanded": "true", "aria-controls": `models-${this.#number}`, "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false", placeholder: "Search models" });
  #list = el("ul", { role: "listbox", id: `models-${this.#number}`, tabindex: "-1" });
  #words = el("p", { class: "words", role: "status" });
  #also = el("input", { type: "checkbox" });
  #footer = el("label", { class: "check also" }, this.#also, el("span", {}, "Also for my new threads"));

  /** `say` announces a sentence; `known` are names that are offered while the list does not arrive. */
  constructor({ api, say, known }) {
    this.api = api;
    this.known = known;
    this.say = say;
    this.node = el("div", { class: "models", popover: "auto", role: "dialog" }, this.#box, this.#words, this.#list, this.#footer);
    this.#box.addEventListener("input", () => this.#draw());
    this.#box.addEventListener("keydown", (event) => this.#pressed(event));
    this.#list.addEventListener("click", ({ target }) => this.#picked(target.closest("[role=option]")));
    this.#list.addEventListener("mousedown", (event) => event.preventDefault()); // the box keeps the focus
    this.node.addEventListener("toggle", ({ newState }) => this.#asked?.anchor.setAttribute("aria-expanded", String(newState === "open")));
  }

  get isOpen() {
    return this.node.isConnected && this.node.matches(":popover-open");
  }

  /** @param {Choosing} asked */
  async open(asked) {
    this.#asked = asked;
    this.#found = null;
    const label = asked.label ?? "Model";
    for (const node of [this.node, this.#list, this.#box]) node.setAttribute("aria-label", label);
    asked.anchor.setAttribute("aria-haspopup", "dialog");
    this.#box.value = "";
    this.#also.checked = false;
    this.#footer.hidden = !asked.thread;
    this.#list.replaceChildren();
    setText(this.#words, "Loading…");
    (asked.anchor.closest("dialog") ?? document.body).append(this.node);
    this.node.showPopover();
    this.#place();
    this.#box.focus();
    await this.#load(asked);
  }

  close() {
    const inside = this.node.contains(document.activeElement);
    if (this.isOpen) this.node.hidePopover();
    if (inside) this.#asked?.anchor.focus();
  }

  async #load(asked) {
    try {
      const found = await this.api.get(`/app/models${asked.thread ? `?thread=${asked.thread}` : ""}`, LIMIT_MS);
      if (this.#asked !== asked || !this.isOpen) return;
      this.#take(found, asked);
    } catch (error) {
      if (this.#asked === asked && this.isOpen) this.#failed(asApiError(error), asked);
    }
  }

  #take(found, asked) {
    if (!found.models?.length) {
      this.close();
      return asked.onNothing?.();
    }
    this.#found = found;
    this.#draw();
    this.#place();
    this.say(counted(found.models.length, "model", "models"));
  }

  /** What the page knows can be chosen; an older server has no list with facts. */
  #failed(error, asked) {
    const { names, ...known } = this.known(asked.thread ?? null);
    if (names.length) this.#take({ ...known, models: names.map((name) => ({ name })) }, asked);
    else setText(this.#words, `The list of models did not arrive: ${error.message}`);
  }

  // ── the list ────────────────────────────────────────────────────────────────────────────────
  #draw() {
    if (!this.#found) return;
    const { entries, gone } = this.#entries();
    const words = this.#box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = ({ model }) => words.every((word) => model.name.toLowerCase().includes(word));
    const all = entries.filter(fits);
    this.#shown = all.slice(0, MOST_SHOWN);
    const rest = all.length - this.#shown.length;
    const note = all.length ? (rest ? `${counted(rest, "more model", "more models")}: type a part of the name.` : "") : "No model has this in its name.";
    setText(this.#words, [gone, note].filter(Boolean).join(" "));
    this.#list.replaceChildren(...this.#shown.map((entry, k) => this.#option(entry, k)));
    this.#list.hidden = this.#shown.length === 0;
    const used = this.#shown.findIndex(({ used }) => used);
    this.#activate(words.length || used < 0 ? 0 : used);
  }

  /** The default, then the models; and a sentence about a chosen one that is not offered any more. */
  #entries() {
    const { models, default: usual, chosen, mine } = this.#found;
    const known = models.some(({ name }) => name === chosen);
    const gone = chosen && !known ? `${chosen} is not offered any more.` : "";
    const listed = models.map((model) => ({ model, name: model.name, used: model.name === chosen, mine: model.name === mine, usual: model.name === usual.name }));
    if (this.#asked?.offersDefault === false) return { entries: listed, gone };
    const first = { model: usual, name: null, used: !known, mine: false, usual: true, first: true };
    return { entries: [first, ...listed], gone };
  }

  #option({ model, used, mine, usual, first = false }, k) {
    const badges = [first ? null : usual && "Default", mine && "For new threads"].filter(Boolean);
    return el(
      "li",
      { role: "option", id: `${this.#list.id}-${k}`, "aria-selected": "false", "data-k": k },
      el("span", { class: "sign" }, used ? icon("check") : null, used ? el("span", { class: "sr" }, "Chosen: ") : null),
      el(
        "span",
        { class: "told" },
        el("span", { class: "name" }, first ? "Default: " : null, el("bdi", {}, model.name), ...badges.map((words) => el("span", { class: "badge" }, words))),
        facts(model, this.#found.currency),
        model.rests_for > 0 ? el("span", { class: "alarm", dir: "auto" }, `Does not answer now: ${model.failure}`) : null,
      ),
    );
  }

  #activate(k) {
    const { length } = this.#shown;
    if (!length) return this.#box.removeAttribute("aria-activedescendant");
    this.#active = (k + length) % length;
    [...this.#list.children].forEach((option, n) => {
      option.setAttribute("aria-selected", String(n === this.#active));
      if (n === this.#active) option.scrollIntoView({ block: "nearest" });
    });
    this.#box.setAttribute("aria-activedescendant", `${this.#list.id}-${this.#active}`);
  }

  #pressed(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step) this.#activate(Math.abs(step) === 1 ? this.#active + step : Math.min(Math.max(this.#active + step, 0), this.#shown.length - 1));
    else if (event.key === "Enter") this.#choose(this.#shown[this.#active]);
    else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #picked(option) {
    if (option) this.#choose(this.#shown[Number(option.dataset.k)]);
  }

  async #choose(entry) {
    const asked = this.#asked;
    if (!entry || !asked) return;
    const also = this.#also.checked && !this.#footer.hidden;
    this.close();
    try {
      if (also) await this.api.put("/app/default-model", { model: entry.name });
      await asked.onChoose(entry.name);
    } catch (error) {
      this.say(asApiError(error).message);
    }
  }

  /** Beside the anchor, inside the window; on a narrow screen at its end. */
  #place() {
    if (!this.#asked || innerWidth <= 480) return this.node.removeAttribute("style");
    const { top, bottom, left } = this.#asked.anchor.getBoundingClientRect();
    const above = top > innerHeight - bottom;
    this.node.style.maxHeight = `${Math.max(160, Math.min(520, (above ? top : innerHeight - bottom) - 16))}px`;
    this.node.style.left = `${Math.max(8, Math.min(left, innerWidth - this.node.offsetWidth - 8))}px`;
    this.node.style.top = above ? "auto" : `${bottom + 6}px`;
    this.node.style.bottom = above ? `${innerHeight - top + 6}px` : "auto";
  }
}

/** What is known of a model; nothing for what is not. */
function facts({ window, sees, tools, effort, input_price: asked, output_price: said }, currency) {
  const free = asked === 0 && said === 0;
  const price = !Number.isFinite(asked) || !Number.isFinite(said) ? "" : free ? "free" : `${money(asked, currency)} in, ${money(said, currency)} out per million tokens`;
  const parts = [window && `${short(window)} tokens`, sees && "sees pictures", tools && "tools", effort && "effort", price].filter(Boolean);
  return parts.length ? el("span", { class: "facts" }, parts.join(" · ")) : null;
}

/** The chip of the open thread's model opens the menu. */
export function installModelMenu(page) {
  const known = (thread) => ({
    names: page.state.session?.models ?? [],
    default: { name: page.state.session?.default_model ?? "" },
    chosen: thread === null ? null : (page.state.open?.model ?? null),
  });
  const menu = new ModelMenu({ api: page.api, say: (words) => page.say(words), known });
  page.modelMenu = menu;
  const anchor = /** @type {HTMLElement} */ (document.querySelector("#model"));
  anchor.addEventListener("click", () => {
    const thread = page.state.openId;
    if (menu.isOpen) return menu.close();
    menu.open({
      anchor,
      thread,
      label: "Model of this thread",
      onChoose: (model) => chooseFor(page, thread, model),
      onNothing: () => page.commands.modelsEmpty(),
    });
  });
  page.settings.more.push(() => newThreads(page, menu));
}

async function chooseFor(page, thread, model) {
  try {
    const { answering_model } = await page.api.patch(`/conversation/${thread}`, { model });
    page.say(`${answering_model} answers from the next question on.`);
    await page.sync.readThread(thread);
    page.context.changed();
  } catch (error) {
    page.thread.box.fail(asApiError(error).message);
  }
}

/** A row of the settings: the model of the person's new threads. */
function newThreads(page, menu) {
  const button = el("button", { type: "button", class: "second pick", id: "settings-model" }, el("span", { class: "label" }, "…"), icon("pick"));
  const show = async () => {
    const { chosen, default: usual } = await page.api.get("/app/models", LIMIT_MS);
    setText(button.firstElementChild, chosen ?? `Default: ${usual.name}`);
  };
  const failed = (error) => setText(button.firstElementChild, asApiError(error).message);
  const onChoose = async (model) => {
    await page.api.put("/app/default-model", { model });
    await show();
  };
  button.addEventListener("click", () => menu.open({ anchor: button, label: "Model of my new threads", onChoose, onNothing: () => {} }));
  show().catch(failed);
  return el("div", { class: "field" }, el("label", { for: "settings-model" }, "Model of my new threads"), button);
}
