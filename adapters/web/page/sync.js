// Keeps the page's state in sync with the server: a snapshot first, then events.
import { EventStream, asApiError, backoff } from "./api.js";
import { Growth, PROTOCOL } from "./growth.js";
import { joined } from "./state.js";

const PAGE_OF_THREADS = 50;
const MOST_THREADS = 200; // the server's limit
const QUIET_MS = 1_500; // a shorter interruption is not shown

export class Sync {
  loaded = false;
  /** @type {Promise<void>} */
  reading = Promise.resolve(); // of a thread
  #held = []; // events received while a snapshot was loading
  #reading = 0;
  #asked = 0; // numbers the readings of threads
  #taken = 0;
  /** @type {EventStream | null} */
  #stream = null;
  #lost = 0;
  #growth = new Growth();

  /**
   * `onEvent(name, data, id)`; `onChange()` after a change of state; `onLink(words)` describes the
   * connection; `onBack()` after it returns; `onRefresh()` if the server's settings may have changed;
   * `onThread(thread)` after the open thread was read; `onRefreshed()` after everything on the screen was
   * loaded again; `onMissing()` if the open thread does not exist.
   */
  constructor({ api, state, onEvent, onChange, onLink, onBack, onRefresh, onThread, onRefreshed, onMissing }) {
    this.api = api;
    this.state = state;
    this.onEvent = onEvent;
    this.onChange = onChange;
    this.onLink = onLink;
    this.onBack = onBack;
    this.onRefresh = onRefresh;
    this.onThread = onThread;
    this.onRefreshed = onRefreshed;
    this.onMissing = onMissing;
  }

  // ── the connection ──────────────────────────────────────────────────────────────────────────
  follow() {
    this.stop();
    const stream = new EventStream({
      api: this.api,
      path: `/app/events?protocol=${PROTOCOL}`,
      onEvent: (name, data, id) => this.#event(...this.#whole(name, data), id),
      onOpen: () => this.#opened(),
      onLost: () => this.#disconnected(),
    });
    this.#stream = stream;
    stream.pause(document.hidden);
    stream.run();
  }

  stop() {
    this.#stream?.stop();
  }

  pause(paused) {
    this.#stream?.pause(paused);
  }

  hurry() {
    this.#stream?.hurry();
  }

  /** Retry until the server answers; null if it refuses. */
  async persist(ask) {
    for (let n = 0; ; n++) {
      try {
        const answer = await ask();
        this.#connected();
        return answer;
      } catch (error) {
        if (!asApiError(error).passing) return null;
        this.#disconnected();
        await new Promise((resolve) => setTimeout(resolve, backoff(n)));
      }
    }
  }

  #opened() {
    this.#growth.reset();
    this.#connected();
  }

  #connected() {
    if (!this.#lost) return;
    clearTimeout(this.#lost);
    this.#lost = 0;
    this.onLink("");
    this.onBack();
  }

  #disconnected() {
    this.#lost ||= setTimeout(() => this.onLink("Reconnecting…"), QUIET_MS);
  }

  // ── snapshots and events ────────────────────────────────────────────────────────────────────
  /** An event with the whole reply for a change of it. */
  #whole(name, data) {
    if (name === "reply") return [name, this.#growth.begin(data)];
    if (name !== "change") return [name, data];
    const reply = this.#growth.follow(data);
    if (reply === null) this.#stream?.again(); // a new connection begins with whole replies
    return ["reply", reply];
  }

  #event(name, data, id) {
    // A loading snapshot may be older than this event, which is then applied after it, or newer: then
    // the state skips the event.
    if (name === "reply" && data === null) return;
    if (this.#reading) return this.#held.push([name, data, id]);
    this.#apply(name, data, id);
    this.onChange();
  }

  #applyHeld() {
    const held = this.#held.splice(0);
    const last = held.findLastIndex(([name]) => name === "refresh"); // a later reading includes an earlier one
    for (const [k, event] of held.entries()) if (event[0] !== "refresh" || k === last) this.#apply(...event);
  }

  #apply(name, data, id) {
    if (name === "refresh") this.onRefresh();
    if (name === "ready" || name === "refresh") this.refresh();
    else this.onEvent(name, data, id);
  }

  async #read(task) {
    this.#reading++;
    try {
      return await task();
    } finally {
      this.#reading--;
      if (!this.#reading) this.#applyHeld();
      this.onChange();
    }
  }

  /** Reload the channel that is shown. */
  async readChannel() {
    const { channel } = this.state;
    await this.persist(() =>
      this.#read(async () => {
        const threads = await this.#newest(channel);
        if (channel === this.state.channel) this.state.takeThreads(threads, { fresh: true });
      }),
    );
    this.loaded = true;
  }

  /** The newest threads of a channel, as many as are known of it: an older one may have changed unnoticed. */
  async #newest(channel) {
    const { known } = this.state;
    const limit = Math.min(Math.max(known, PAGE_OF_THREADS), MOST_THREADS);
    const found = await this.#threadsOf(channel, limit);
    while (found.next !== null && found.threads.length < known) {
      const { threads, next } = await this.#threadsOf(channel, limit, found.next);
      found.threads.unshift(...threads);
      found.next = next;
    }
    return found;
  }

  #threadsOf(channel, limit, before = null) {
    const asked = new URLSearchParams({ limit });
    if (channel !== null) asked.set("channel", channel);
    if (before !== null) asked.set("before", before);
    return this.api.get(`/app/threads?${asked}`);
  }

  /** Reload what is on the screen. */
  async refresh() {
    await this.readChannel();
    if (this.state.openId) await this.readThread(this.state.openId);
    this.onRefreshed();
    this.onChange();
  }

  /** Read a thread again; `until` the message with this index, if it is longer than what is read. */
  readThread(id, until = null) {
    this.reading = this.#readThread(id, until);
    return this.reading;
  }

  async #readThread(id, until) {
    let isMissing = false;
    await this.persist(() =>
      this.#read(async () => {
        const asked = performance.now();
        const number = ++this.#asked;
        const { pages = 0, later = false } = this.state.open ?? {};
        const asMuch = until === null && !later ? pages : 0;
        const thread = await this.#withEarlier(this.#part(id, until), asMuch).catch((error) => {
          isMissing = error.status === 404;
          throw error;
        });
        const isLate = until === null && number < this.#taken; // a later reading came first, and is newer
        if (id !== this.state.openId || isLate) return;
        this.#taken = number;
        this.state.takeThread(thread, asked);
        this.onThread(thread);
      }),
    );
    if (!isMissing || id !== this.state.openId) return;
    this.state.forget(id);
    this.onMissing();
  }

  /** A thread up to the message with the index `until` (null: to the end), or as much as one response has. */
  #part(id, until) {
    return this.api.get(`/app/threads/${id}${until === null ? "" : `?until=${until}`}`);
  }

  /** A thread with up to `pages` further parts, which the reader has loaded before. */
  async #withEarlier(reading, pages) {
    let whole = await reading;
    for (let k = 0; k < pages && whole.earlier; k++) {
      whole = joined(await this.#part(whole.id, firstIndex(whole) - 1), whole);
    }
    return whole;
  }

  /** Load the messages before those of the open thread; `onTaken()` is called when they have arrived. */
  async loadEarlier(onTaken) {
    const { open } = this.state;
    if (!open?.earlier) return;
    const first = firstIndex(open);
    await this.persist(() =>
      this.#read(async () => {
        const part = await this.#part(open.id, first - 1);
        const now = this.state.open;
        if (now?.id !== open.id || firstIndex(now) !== first) return; // it was read again
        this.state.takeEarlier(part);
        onTaken();
      }),
    );
  }

  /** Load the channel's next older page; `onTaken()` is called when it has arrived. */
  async loadOlder(onTaken) {
    const { channel, older } = this.state;
    await this.persist(() =>
      this.#read(async () => {
        const page = await this.#threadsOf(channel, PAGE_OF_THREADS, older);
        if (channel !== this.state.channel || older !== this.state.older) return; // it was read again
        this.state.takeThreads(page, { fresh: false });
        onTaken();
      }),
    );
  }
}

/** The index of the first message; a question that waits for its turn has none. */
const firstIndex = ({ messages }) => messages.find(({ index }) => Number.isInteger(index)).index;
