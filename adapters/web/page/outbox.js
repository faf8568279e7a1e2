// Unsent messages: they survive a reload, are sent in order, and retried with the same `client_id`,
// so that no message is lost or sent twice. Only their files are lost in a reload, and the page says so.
import { ApiError, asApiError, backoff } from "./api.js";
import { tab, uuid } from "./dom.js";
import { upload } from "./upload.js";

const FILES_LOST = "The page was reloaded before your files were sent: please attach them again.";

export class Outbox {
  /** @type {any[]} */
  #items = tab.get("outbox", []);
  #running = false;
  #failures = 0;
  #wake = () => {};
  /** @type {Map<string, import("./attach.js").Attached[]>} */
  #files = new Map(); // by client id

  /** What has to be over before a message to a thread is sent. @type {(thread: string | null) => Promise<void>} */
  before = async () => {};

  /**
   * `onChange()`; `onSent(item, answer)`; `onRefused(item, error, files)` if a retry cannot help.
   */
  constructor({ api, onChange, onSent, onRefused }) {
    this.api = api;
    this.onChange = onChange;
    this.onSent = onSent;
    this.onRefused = onRefused;
  }

  get items() {
    return this.#items;
  }

  /** `begins`: the message starts a conversation. `channel`: a shared one in which it starts a thread. @param {import("./attach.js").Attached[]} [attached] */
  add(thread, text, attached = [], begins = false, channel = /** @type {string | null} */ (null)) {
    const client_id = uuid();
    const files = attached.map(({ file: { name, size } }) => ({ name, size }));
    const item = { client_id, thread, begins, channel, text, files, created_at: Date.now() / 1000, state: "sending" };
    if (files.length) this.#files.set(client_id, attached);
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
    await this.before(item.thread);
    const { client_id } = item;
    const files = this.#files.get(client_id) ?? [];
    try {
      if (item.files?.length && !files.length) throw new ApiError(400, FILES_LOST);
      const answer = await (files.length ? this.#upload(item, files) : this.#post(item));
      this.#failures = 0;
      this.onSent(item, answer);
      this.#remove(client_id);
    } catch (thrown) {
      const error = asApiError(thrown);
      if (!error.passing && error.status !== 401) {
        this.onRefused(item, error, files);
        return this.#remove(client_id);
      }
      this.#set(this.#items.map((each) => ({ ...each, state: "waiting", progress: null })));
      await this.#pause(error);
    }
  }

  #post({ client_id, thread, text, begins = false, channel = null }) {
    return this.api.post("/app/messages", { client_id, thread, text, begins, channel });
  }

  #upload({ client_id, thread, text, begins = false, channel = null }, files) {
    const form = new FormData();
    form.set("client_id", client_id);
    form.set("text", text);
    if (thread) form.set("thread", thread);
    if (begins) form.set("begins", "true");
    if (channel) form.set("channel", channel);
    for (const { file, pasted } of files) form.append(pasted ? "pasted" : "files", file, file.name);
    return upload(this.api, "/app/messages", form, (part) => this.#progressed(client_id, part));
  }

  #progressed(client_id, progress) {
    const changed = (each) => (each.client_id === client_id ? { ...each, state: "sending", progress } : each);
    this.#items = this.#items.map(changed);
    this.onChange();
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
    this.#files.delete(client_id);
    this.#set(this.#items.filter((each) => each.client_id !== client_id));
  }

  #set(items) {
    this.#items = items;
    tab.set("outbox", items.length ? items : null);
    this.onChange();
  }
}
