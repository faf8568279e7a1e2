// The window's address: which thread is open, or whether a new one is being written. `Channels` has
// the addresses of channels.
const THREAD = /^#\/t\/([0-9a-f-]{36})$/;
const NEW = "new"; // the place of a conversation that has not begun
const MISSING = "This thread does not exist, or not any more.";
const $ = (selector) => document.querySelector(selector);

export class Router {
  /** @type {any} */
  #preview = null; // a new thread, as far as it is known before it is loaded

  constructor(page) {
    this.page = page;
    $("#close").addEventListener("click", () => this.close());
    $("#back").addEventListener("click", () => this.close());
    addEventListener("popstate", () => {
      closeAbove();
      this.route({ focus: true });
    });
  }

  /** Where the reader is: a thread's id, "new", or null for the channel alone. */
  get place() {
    const { composing, openId } = this.page.state;
    return composing ? NEW : openId;
  }

  /** Open a thread. */
  show(id) {
    const { state, thread } = this.page;
    if (id === state.openId) return thread.box.box.focus();
    if (state.composing) history.replaceState(null, "", `#/t/${id}`);
    else history.pushState(null, "", `#/t/${id}`);
    this.route({ focus: true });
  }

  /** Show `thread` until it is loaded. */
  preview(thread) {
    if (this.page.state.openId !== thread.id) this.#preview = thread;
  }

  /** Open an empty thread: its first message begins a conversation. */
  compose() {
    const { state, thread } = this.page;
    if (state.composing) return thread.box.box.focus();
    history.pushState(null, "", `#/${NEW}`);
    this.route({ focus: true });
    thread.box.box.focus();
  }

  /** The address names a thread that does not exist or belongs to another user. */
  missing() {
    this.close();
    this.page.channel.box.fail(MISSING);
    this.page.say(MISSING);
  }

  /** Close the thread: the channel remains. */
  close() {
    const { state, channel, channels } = this.page;
    const id = state.openId;
    if (location.hash) history.pushState(null, "", channels.address);
    this.route();
    if (!channel.feed.focus(id)) channel.box.box.focus();
  }

  /** The channel that was open is not shared any more. */
  leaveChannel() {
    if (location.hash.startsWith("#/c/")) history.replaceState(null, "", location.pathname);
    this.page.channels.enter(null);
    this.route();
  }

  /** Follow the address. */
  route({ focus = false } = {}) {
    const { page } = this;
    const { state, thread } = page;
    page.channels.route(location.hash);
    const id = THREAD.exec(location.hash)?.[1] ?? null;
    const composing = location.hash === `#/${NEW}`;
    const changed = id !== state.openId || composing !== state.composing;
    state.openId = id;
    state.composing = composing;
    thread.root.hidden = id === null && !composing;
    document.body.classList.toggle("threaded", id !== null || composing);
    document.body.classList.toggle("composing", composing);
    if (changed) page.context.reset();
    if (changed && this.place) this.#enter(id);
    thread.box.box.placeholder = composing ? "Ask anything" : "Reply…";
    if (focus) this.#focusBox();
    page.draw();
  }

  /** Show a thread, or with null an empty one. */
  #enter(id) {
    const { state, thread, sync } = this.page;
    thread.feed.clear();
    thread.box.keepAs(this.place);
    if (id === null) return;
    if (this.#preview?.id === id) state.takeThread(this.#preview);
    this.#preview = null;
    sync.readThread(id);
  }

  #focusBox() {
    const { thread, channel } = this.page;
    const { box } = this.place ? thread : channel;
    // On a phone the keyboard would cover the thread.
    if (!matchMedia("(pointer: coarse)").matches) box.box.focus();
    else if (this.place) $("#thread-title").focus();
  }
}

/** Close the dialogs and menus that belong to the place that the reader leaves with Back. */
function closeAbove() {
  for (const dialog of document.querySelectorAll("dialog[open]:not(#login)")) /** @type {HTMLDialogElement} */ (dialog).close();
  for (const menu of document.querySelectorAll(".menu:popover-open")) /** @type {HTMLElement} */ (menu).hidePopover();
}
