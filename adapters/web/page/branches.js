// Versions of questions and answers: ‹ 2 / 3 › below a message, and another answer, also by another model.
import { asApiError } from "./api.js";
import { el, icon } from "./dom.js";
import { Menu } from "./menu.js";

const SETTLE_MS = 5_000; // a question does not wait longer for a switch

/**
 * @typedef {object} Place
 * @property {number[]} versions the indexes of all versions, oldest first
 * @property {number} shown which of them is shown
 */

/** One message's switches: one for each place that it represents. */
export class VersionSwitch {
  #shown = "";

  constructor() {
    this.node = el("span", { class: "versions", hidden: true });
  }

  /** @param {{versions?: Place[] | null, still?: boolean}} item */
  show({ versions, still = false }) {
    const places = versions ?? [];
    const now = JSON.stringify([places, still]);
    if (now === this.#shown) return;
    this.#shown = now;
    const at = [...this.node.querySelectorAll("button")].indexOf(document.activeElement);
    this.node.hidden = !places.length;
    this.node.replaceChildren(...places.map((place) => switchOf(place, still)));
    if (at >= 0) this.node.querySelectorAll("button")[at]?.focus();
  }
}

function switchOf({ versions, shown }, still) {
  const words = `Version ${shown + 1} of ${versions.length}`;
  const step = (by, label, sign) => {
    const off = versions[shown + by] === undefined || !still;
    const data = { "data-step": String(by), "aria-disabled": off ? "true" : null };
    return el("button", { type: "button", class: "quiet", title: label, "aria-label": label, ...data }, icon(sign));
  };
  const count = el("span", { class: "number", "aria-hidden": "true" }, `${shown + 1} / ${versions.length}`);
  return el(
    "span",
    { role: "group", "aria-label": words, "data-words": words, "data-first": String(versions[0]) },
    step(-1, "Earlier version", "before"),
    count,
    step(1, "Later version", "after"),
  );
}

/**
 * The versions that a person wants to see. While a switch is under way, further presses only change its
 * target: they count from the version that was chosen last, not from the one that is still drawn.
 */
class Switching {
  /** @type {Map<number, {thread: string, at: number, step: number}>} by a place's first version */
  #wanted = new Map();
  /** @type {Promise<void> | null} */
  #running = null;

  constructor(page) {
    this.page = page;
  }

  /** Go one version forward or back. @param {number} first @param {number} step */
  press(first, step) {
    const { openId: thread, isBusy } = this.page.state;
    const place = this.#place(first);
    if (!place || isBusy) return;
    const wanted = this.#wanted.get(first);
    const at = (wanted && wanted.thread === thread ? wanted.at : place.shown) + step;
    if (place.versions[at] === undefined) return;
    this.#wanted.set(first, { thread, at, step });
    this.#running ??= this.#run();
  }

  /** Resolves once the versions that a person chose in `thread` are shown, or after a few seconds. */
  async settled(thread) {
    const isUnderWay = [...this.#wanted.values()].some((wanted) => wanted.thread === thread);
    if (isUnderWay) await Promise.race([this.#running, new Promise((resolve) => setTimeout(resolve, SETTLE_MS))]);
  }

  async #run() {
    try {
      while (this.#wanted.size) {
        const [[first, wanted]] = this.#wanted;
        if (!(await this.#show(first, wanted))) this.#giveUp(wanted.thread);
        else if (this.#wanted.get(first) === wanted) this.#wanted.delete(first);
      }
    } finally {
      this.#wanted.clear();
      this.#running = null;
    }
  }

  /** The later presses counted from the version that the server refused. */
  #giveUp(thread) {
    for (const [first, wanted] of this.#wanted) if (wanted.thread === thread) this.#wanted.delete(first);
  }

  /** Show a version in all tabs. Returns false if the server refused. */
  async #show(first, { thread, at, step }) {
    const { page } = this;
    const place = this.#place(first);
    if (thread !== page.state.openId || !place || place.shown === at) return true;
    const held = nodeOf(page, first)?.closest("article").contains(document.activeElement);
    const version = place.versions[at];
    if (!(await sent(page, thread, () => page.api.put(`/app/threads/${thread}/shown`, { version })))) return false;
    await page.sync.readThread(thread);
    await page.thread.feed.whole(); // there is something to focus then
    if (thread !== page.state.openId) return true;
    const node = nodeOf(page, first);
    if (!node) return true;
    page.say(`${node.dataset.words} is shown.`);
    if (held && !isElsewhere(page.thread.feed)) focusIn(node, step);
    return true;
  }

  /** @returns {Place | undefined} */
  #place(first) {
    const all = Object.values(this.page.state.open?.versions ?? {}).flat();
    return all.find(({ versions }) => versions[0] === first);
  }
}

/** The switch of a place in the open thread. */
const nodeOf = (page, first) => page.thread.root.querySelector(`.versions > [data-first="${first}"]`);

/** Listen for the switches and for "Try again" in the open thread. */
export function installBranches(page) {
  const { root } = page.thread;
  const switching = new Switching(page);
  const press = (button) => switching.press(Number(button.parentElement.dataset.first), Number(button.dataset.step));
  page.sender.outbox.before = (thread) => switching.settled(thread);
  root.addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-step]");
    if (chosen) return press(chosen);
    const button = event.target.closest("[data-action^=retry]");
    if (!button) return;
    event.stopPropagation(); // it is no command
    if (button.dataset.action === "retry") again(page, button, null);
    else pickModel(page, button, (model) => again(page, button, model));
  }, true);
  root.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("textarea, input, pre")) return;
    const place = event.target.closest(".versions > *") ?? event.target.querySelector(":scope > .foot > .versions > *");
    const button = place?.querySelector(`[data-step="${isRtl() ? -step : step}"]`);
    if (!button) return;
    event.preventDefault();
    press(button);
  });
}

/** Show another branch: remove now what is certainly gone; the rest arrives with the thread. */
export function branchChanged(page, { thread, since }, event) {
  if (thread !== page.state.openId || page.state.hasRead(event)) return;
  if (since !== null) page.state.cut(thread, since);
  page.sync.readThread(thread);
  page.context.changed();
}

/** Whether the reader has meanwhile moved the focus out of the messages, to a message box for example. */
function isElsewhere({ list }) {
  const { activeElement } = document;
  return activeElement !== document.body && !list.contains(activeElement);
}

/** The same arrow, or the other one at the end; while no arrow works, the message, where the keys do the same. */
function focusIn(place, step) {
  const usable = "[data-step]:not([aria-disabled])";
  const arrow = place.querySelector(`${usable}[data-step="${step}"]`) ?? place.querySelector(usable);
  (arrow ?? place.closest("article")).focus();
}

async function again(page, button, model) {
  const thread = page.state.openId;
  const turn = Number(button.closest("article").dataset.id.replace("turn-", ""));
  page.thread.box.box.focus(); // now, because the answer goes with its buttons
  await sent(page, thread, () => page.api.post(`/app/threads/${thread}/again`, { turn, model }));
}

/** Whether the server did it; if not, shows its reason if `thread` is still open. */
async function sent(page, thread, ask) {
  try {
    await ask();
    return true;
  } catch (error) {
    if (thread !== page.state.openId) return false;
    const { status, message } = asApiError(error);
    if (status !== 403 && status !== 409) page.thread.box.fail(message);
    else page.noticed(message);
    return false;
  }
}

const isRtl = () => getComputedStyle(document.documentElement).direction === "rtl";

const menus = new WeakMap();

/** Let a person choose one of the offered models from a menu below `button`. */
function pickModel(page, button, choose) {
  let menu = menus.get(button);
  if (!menu) {
    const list = el("div", { class: "menu models", role: "menu", "aria-label": "Try again with", popover: "auto" });
    button.after(list);
    button.setAttribute("aria-haspopup", "menu");
    menu = new Menu({ button, list });
    for (const [order, label] of page.commands.models.names.entries()) {
      menu.add({ label, icon: "retry", order, run: () => choose(label) });
    }
    menus.set(button, menu);
    menu.open(); // the press was before the menu listened
  }
}

/** Whether a menu of models would have a choice. */
export const hasModels = (page) => page.commands.models.names.length > 1;
