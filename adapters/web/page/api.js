// The page's client of the server: JSON requests, and an event stream that reconnects.
import { Watch } from "./watch.js";

const LIMIT_MS = 20_000; // a request without a sign of life for this long is retried
const SILENCE_MS = 40_000; // the server sends something every 15 s; two misses mean it is gone
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5_000;

/** A failed request. `status` is 0 without a response; `retryAfter` is in seconds. */
export class ApiError extends Error {
  /** @param {number} status @param {string} message @param {number | null} [retryAfter] */
  constructor(status, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** A thrown value as an ApiError; a programming error is one that a retry cannot fix. */
export function asApiError(thrown) {
  return thrown instanceof ApiError ? thrown : new ApiError(400, String(thrown));
}

/** Milliseconds before attempt `n` (from 0): doubled each time, with jitter between tabs. */
export function backoff(n) {
  const most = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** n);
  return most * (0.5 + Math.random() / 2);
}

export class Api {
  /** `onLocked` is called when the server requires another token. */
  constructor({ onLocked }) {
    this.onLocked = onLocked;
  }

  // Whose tab this is. Once another tab has signed in as another user, the server refuses what this
  // one still sends: it is not theirs.
  /** @type {string | null} */
  user = null;
  /** @type {Promise<unknown>} */
  #changed = Promise.resolve(); // once the last change has been answered

  headers(more = {}) {
    return this.user === null ? more : { ...more, "Threadline-User": encodeURIComponent(this.user) };
  }

  /** The JSON of a response that gives a sign of life every `limit` milliseconds, unless `signal` ends it. */
  get(path, limit = LIMIT_MS, signal = /** @type {AbortSignal | undefined} */ (undefined)) {
    return this.#ask(path, { headers: this.headers(), signal }, { limit });
  }

  /** Exchange `token` for a cookie. The token is not kept. */
  async signIn(token) {
    if (!/^[!-~]+$/.test(token)) throw new ApiError(401, "A token has no such characters.");
    const headers = { Authorization: `Bearer ${token}` };
    return this.#ask("/app/session", { method: "POST", headers }, { onLocked: () => {} });
  }

  signOut() {
    return this.#ask("/app/session", { method: "DELETE" }, { onLocked: () => {} });
  }

  /** The browser's session, for whichever user it is. */
  whoAmI(onLocked = this.onLocked) {
    return this.#ask("/app/session", {}, { onLocked });
  }

  /** Like `get`, with a JSON body. */
  post(path, body, limit = LIMIT_MS) {
    return this.#send("POST", path, body, limit);
  }

  put(path, body) {
    return this.#change("PUT", path, body);
  }

  patch(path, body) {
    return this.#change("PATCH", path, body);
  }

  /** For a path that answers a DELETE with JSON. */
  delete(path) {
    return this.#send("DELETE", path, undefined);
  }

  /** A response as a file: its bytes, and the name that the server gave it. */
  file(path, limit = LIMIT_MS) {
    const read = async (response) => ({ blob: await response.blob(), name: nameIn(response) });
    return this.#ask(path, { headers: this.headers() }, { limit, read });
  }

  /** The bytes of a response, with their type; `limit` as for `get`. */
  blob(path, limit = LIMIT_MS) {
    return this.#ask(path, { headers: this.headers() }, { limit, read: (response) => response.blob() });
  }

  /** Changes are sent one after the other: on two connections, the first one could arrive last. */
  #change(method, path, body) {
    const sent = this.#changed.then(() => this.#send(method, path, body));
    this.#changed = sent.catch(() => {});
    return sent;
  }

  #send(method, path, body, limit = LIMIT_MS) {
    const headers = this.headers({ "Content-Type": "application/json" });
    return this.#ask(path, { method, headers, body: JSON.stringify(body) }, { limit });
  }

  async #ask(path, options, { limit = LIMIT_MS, read = (response) => response.json(), onLocked = this.onLocked } = {}) {
    const watch = new Watch(limit, options.signal);
    try {
      const response = watch.over(await fetch(path, { ...options, signal: watch.signal }));
      if (response.ok) return await read(response);
      throw this.refused(response, await response.json().catch(() => null), onLocked);
    } catch (error) {
      if (error instanceof ApiError) throw error;
      throw new ApiError(0, "The server cannot be reached."); // also if the response breaks off
    } finally {
      watch.end();
    }
  }

  refused(response, body, onLocked = this.onLocked) {
    if (response.status === 401) onLocked();
    const wait = Number(response.headers.get("Retry-After"));
    return new ApiError(response.status, sentence(body), Number.isFinite(wait) ? wait : null);
  }
}

function nameIn(response) {
  const [, name = ""] = /filename\*=UTF-8''([^;]+)/.exec(response.headers.get("Content-Disposition") ?? "") ?? [];
  return decodeURIComponent(name) || "file";
}

/** The sentence in an error's body, in any of its forms. */
function sentence(body) {
  const detail = body?.detail ?? body?.error ?? body?.message;
  if (typeof detail === "string") return detail;
  const first = Array.isArray(detail) ? detail[0]?.msg : detail?.message;
  return typeof first === "string" ? first : "The server could not do this.";
}

/** The server's events in order; reconnects and resumes after the last event. */
export class EventStream {
  /** @type {string | null} */
  #last = null;
  #failures = 0;
  #wake = () => {};
  #quit = () => {};
  #stopped = false;
  #paused = false;

  /** `onEvent(name, data, id)`, `onOpen()` at every connection, `onLost()` when one ends. */
  constructor({ api, path, onEvent, onOpen, onLost }) {
    this.api = api;
    this.path = path;
    this.onEvent = onEvent;
    this.onOpen = onOpen;
    this.onLost = onLost;
  }

  async run() {
    while (!this.#stopped) {
      if (this.#paused) {
        await this.#wait(null);
        continue;
      }
      try {
        await this.#connect();
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) return;
      }
      if (this.#stopped || this.#paused) continue;
      this.onLost();
      await this.#wait(backoff(this.#failures++));
    }
  }

  /**
   * Hold no connection while the tab is hidden: browsers open six per server, and further tabs
   * would never connect. After the pause, missed events come first.
   */
  pause(paused) {
    this.#paused = paused;
    if (paused) this.#quit();
    else this.#wake();
  }

  /** Retry now: the network may be back. */
  hurry() {
    this.#failures = 0;
    this.#wake();
  }

  /** Connect again, because an event did not fit the previous ones. */
  again() {
    this.#quit();
  }

  stop() {
    this.#stopped = true;
    this.#quit();
    this.#wake();
  }

  /** @returns {Promise<void>} */
  #wait(milliseconds) {
    return new Promise((resolve) => {
      const timer = milliseconds === null ? 0 : setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #connect() {
    const watch = new Watch(LIMIT_MS);
    this.#quit = () => watch.stop();
    try {
      const more = this.#last === null ? {} : { "Last-Event-ID": this.#last };
      const headers = this.api.headers({ Accept: "text/event-stream", ...more });
      const response = await fetch(this.path, { headers, signal: watch.signal, cache: "no-store" });
      if (!response.ok) throw this.api.refused(response, null);
      this.onOpen();
      watch.limit = SILENCE_MS;
      await this.#read(watch.over(response).body);
    } finally {
      watch.end();
    }
  }

  async #read(body) {
    const parser = new EventParser((event) => this.#deliver(event));
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#failures = 0;
      parser.feed(value);
    }
  }

  #deliver({ id, name, data }) {
    if (id !== null) this.#last = id;
    this.onEvent(name, data ? JSON.parse(data) : null, id);
  }
}

/** Splits text/event-stream into events; keeps an incomplete event until the rest arrives. */
/** @typedef {{id: string | null, name: string, data: string[]}} RawEvent */

class EventParser {
  #rest = "";
  /** @type {RawEvent} */
  #event = { id: null, name: "message", data: [] };

  constructor(onEvent) {
    this.onEvent = onEvent;
  }

  feed(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") return this.#end();
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === "id") this.#event.id = value;
    else if (field === "event") this.#event.name = value;
    else if (field === "data") this.#event.data.push(value);
  }

  #end() {
    const { id, name, data } = this.#event;
    this.#event = { id: null, name: "message", data: [] };
    if (data.length || id !== null) this.onEvent({ id, name, data: data.join("\n") });
  }
}
