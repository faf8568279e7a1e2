// Versions of questions and answers: ‹ 2 / 3 › below a message, and another answer, also by another model.
import { asApiError } from "./api.js";
import { el, icon } from "./dom.js";
import { Menu } from "./menu.js";

/**
 * @typedef {object} Place
 * @property {number[]} versions the indexes of all versions, oldest first
 * @property {number} shown which of them is shown
 */

/** The switches of one message: one for each place that it stands for. */
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
    const version = versions[shown + by];
    const off = version === undefined || !still;
    const data = { "data-version": off ? null : String(version), "data-step": String(by), "aria-disabled": off ? "true" : null };
    return el("button", { type: "button", class: "quiet", title: label, "aria-label": label, ...data }, icon(sign));
  };
  const count = el("span", { class: "number", "aria-hidden": "true" }, `${shown + 1} / ${versions.length}`);
  return el(
    "span",
    { role: "group", "aria-label": words, "data-words": words },
    step(-1, "Earlier version", "before"),
    count,
    step(1, "Later version", "after"),
  );
}

/** Listen for the switches and for "Try again" in the open thread. */
export function installBranches(page) {
  const { root } = page.thread;
  root.addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-version]");
    if (chosen) return switchTo(page, chosen);
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
    const button = place?.querySelector(`[data-step="${isRtl() ? -step : step}"][data-version]`);
    if (!button) return;
    event.preventDefault();
    switchTo(page, button);
  });
}

/** Another branch is shown: what is certain to be gone goes now, the rest comes with the thread. */
export function branchChanged(page, { thread, since }) {
  if (thread !== page.state.openId) return;
  if (since !== null) page.state.cut(thread, since);
  page.sync.readThread(thread);
  page.context.changed();
}

async function switchTo(page, button) {
  const thread = page.state.openId;
  const version = Number(button.dataset.version);
  const { step } = button.dataset;
  const held = button.closest("article").contains(document.activeElement);
  if (!(await sent(page, () => page.api.put(`/app/threads/${thread}/shown`, { version })))) return;
  await page.sync.readThread(thread);
  await page.thread.feed.whole(); // there is something to focus then
  if (thread !== page.state.openId) return;
  const place = placeOf(page, version);
  if (!place) return;
  page.say(`${place.dataset.words} is shown.`);
  if (held) focusIn(place, step);
}

/** The switch of the place whose version is shown now. */
function placeOf(page, version) {
  const hosts = Object.entries(page.state.open?.versions ?? {});
  for (const [id, places] of hosts) {
    const at = places.findIndex(({ versions, shown }) => versions[shown] === version);
    if (at < 0) continue;
    const article = page.thread.root.querySelector(`article[data-id="${CSS.escape(id)}"]`);
    return article?.querySelectorAll(".versions > *")[at] ?? null;
  }
  return null;
}

/** The same arrow, or the other one at the end. */
function focusIn(place, step) {
  (place.querySelector(`[data-step="${step}"][data-version]`) ?? place.querySelector("[data-version]"))?.focus();
}

async function again(page, button, model) {
  const thread = page.state.openId;
  const turn = Number(button.closest("article").dataset.id.replace("turn-", ""));
  page.thread.box.box.focus(); // now, because the answer goes with its buttons
  await sent(page, () => page.api.post(`/app/threads/${thread}/again`, { turn, model }));
}

/** Whether the server did it; else its reason is shown. */
async function sent(page, ask) {
  try {
    await ask();
    return true;
  } catch (error) {
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
