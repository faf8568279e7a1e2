// Unsent messages: they survive a reload, are sent in order, and retried with the same `client_id`,
// so that no message is lost or sent twice.
import { asApiError, backoff } from "./api.js";
import { tab, uuid } from "./dom.js";

export class Outbox {
  /** @type {any[]} */
  #items = tab.get("outbox", []);
  #running = false;
  #failures = 0;
  #wake = () => {};

  /** `onChange()`; `onSent(item, answer)`; `onRefused(item, error)` if a retry cannot help. */
  constructor({ api, onChange, onSent, onRefused }) {
    this.api = api;
    this.onChange = onChange;
    this.onSent = onSent;
    this.onRefused = onRefused;
  }

  get items() {
    return this.#items;
  }

  add(thread, text) {
    const item = { client_id: uuid(), thread, text, created_at: Date.now() / 1000, state: "sending" };
    this.#set([...this.#items, item]);
    this.run();
    return item;
  }

  /** Retry now: the server may be back. */
  hurry() {
    this.#failures = 0;
    this.#wake();
    this.run();
  }

  async run() {
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#items.length) await this.#first(this.#items[0]);
    } finally {
      this.#running = false;
    }
  }

  async #first(item) {
    const { client_id, thread, text } = item;
    try {
      const answer = await this.api.post("/app/messages", { client_id, thread, text });
      this.#failures = 0;
      this.onSent(item, answer);
      this.#remove(client_id);
    } catch (thrown) {
      const error = asApiError(thrown);
      if (!error.passing && error.status !== 401) {
        this.onRefused(item, error);
        return this.#remove(client_id);
      }
      this.#set(this.#items.map((each) => ({ ...each, state: "waiting" })));
      await this.#pause(error);
    }
  }

  /** @returns {Promise<void>} */
  #pause(error) {
    const wait = error.retryAfter ? error.retryAfter * 1000 : backoff(this.#failures++);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #remove(client_id) {
    this.#set(this.#items.filter((each) => each.client_id !== client_id));
  }

  #set(items) {
    this.#items = items;
    tab.set("outbox", items.length ? items : null);
    this.onChange();
  }
}
