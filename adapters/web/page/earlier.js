// The buttons above the channel and the thread that load what is older.
import { setHidden } from "./dom.js";

const $ = (selector) => document.querySelector(selector);

/** "Show older threads" and "Show earlier messages"; the reader keeps the place. */
export class EarlierButtons {
  #page;

  constructor(page) {
    this.#page = page;
    $(".older").addEventListener("click", () => page.sync.loadOlder(() => this.#insert(page.channel.feed)));
    $("#earlier").addEventListener("click", () => this.#earlier());
  }

  draw() {
    const { older, open } = this.#page.state;
    setHidden($(".older"), older === null);
    setHidden($("#earlier"), !open?.earlier);
  }

  async #earlier() {
    const { sync, state, thread } = this.#page;
    const first = thread.feed.list.firstElementChild;
    const isFocused = document.activeElement === $("#earlier");
    await sync.loadEarlier(() => this.#insert(thread.feed));
    if (isFocused && !state.open?.earlier) first?.focus({ preventScroll: true });
  }

  #insert(feed) {
    feed.keepPlace(() => this.#page.draw());
  }
}
