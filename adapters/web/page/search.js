// The palette that searches the user's conversations: results while typing, driven by the keyboard.
import { ApiError, asApiError } from "./api.js";
import { el, isComposing, setHidden, setText } from "./dom.js";
import { counted, moment } from "./format.js";
import { Hits, when } from "./hits.js";

const PAUSE_MS = 100; // between the last key and the search
const LIMIT_MS = 10_000;
const AGAIN_MS = 700; // after too many searches
const RECENT = 8;
const AFTER = 60; // messages below the one that was found, in a thread that is not loaded up to it
const MOST_PARTS = 8; // requests of one search while nothing is found: the server ends each after 0.25 s
const EMPTY = { hits: [], next: null, partial: false, reached: null, indexing: false };
const isMac = /Mac|iP(hone|ad)/.test(navigator.platform);

class SearchPalette {
  #shown = EMPTY;
  #timer = 0;
  /** @type {AbortController | null} */
  #asking = null;

  /** `onOpen(hit)` is called with the chosen thread or message; `buttons` open the palette. */
  constructor({ api, buttons, dialog, onOpen }) {
    this.api = api;
    this.dialog = dialog;
    this.onOpen = onOpen;
    this.box = dialog.querySelector("input");
    this.hits = new Hits({
      box: this.box,
      list: dialog.querySelector(".hits"),
      onChosen: (number) => this.#choose(number),
      onEnd: () => this.#more(),
    });
    this.said = dialog.querySelector(".said");
    this.further = dialog.querySelector(".further");
    for (const button of buttons) {
      button.title = `Search (${isMac ? "⌘" : "Ctrl+"}K)`;
      button.addEventListener("click", () => this.open());
    }
    this.#listen();
  }

  #listen() {
    document.addEventListener("keydown", (event) => isShortcut(event) && this.#toggle(event));
    this.box.addEventListener("input", (event) => !isComposing(event) && this.#typed());
    this.box.addEventListener("compositionend", () => this.#typed());
    this.dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#choose(this.hits.at);
    });
    this.further.addEventListener("click", () => {
      this.box.focus();
      this.#more();
    });
    this.dialog.querySelector(".tool").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", ({ target }) => target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => this.#stop());
  }

  /** Open it with the last query selected. */
  open() {
    this.dialog.showModal();
    this.box.select();
    this.#search();
  }

  #toggle(event) {
    if (this.dialog.open) this.dialog.close();
    else if (document.querySelector("dialog[open]")) return;
    else this.open();
    event.preventDefault();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.#asking = null;
  }

  // ── asking ──────────────────────────────────────────────────────────────────────────────────
  #typed() {
    this.#stop();
    this.#timer = setTimeout(() => this.#search(), PAUSE_MS);
  }

  /** Search for what is written now; any older search is given up. */
  async #search() {
    const text = this.box.value.trim();
    let found = await this.#ask(() => (text ? this.#find(text) : this.#recent()));
    for (let parts = 1; parts < MOST_PARTS && found && isLate(found) && !found.hits.length; parts++) {
      this.#clear(`${found.reached ? `Nothing since ${when(moment(found.reached))}; looking` : "Looking"} further back…`);
      found = await this.#ask(() => this.#find(text, found.next));
    }
    if (found) this.#show(found, text);
  }

  async #more() {
    const { next, hits } = this.#shown;
    if (next === null || this.#asking) return;
    const text = this.box.value.trim();
    const found = await this.#ask(() => this.#find(text, next));
    if (found) this.#show({ ...found, hits: [...hits, ...found.hits] }, text, this.hits.at);
  }

  /** The answer, or null if a newer search has taken its place or it failed. */
  async #ask(question) {
    this.#stop();
    const asking = new AbortController();
    this.#asking = asking;
    const limit = setTimeout(() => asking.abort(), LIMIT_MS);
    try {
      return await question();
    } catch (error) {
      if (this.#asking === asking) this.#failed(asApiError(error));
      return null;
    } finally {
      clearTimeout(limit);
      if (this.#asking === asking) this.#asking = null;
    }
  }

  async #find(text, after = null) {
    const asking = this.#asking;
    const query = new URLSearchParams({ q: text.slice(0, 500), utc_offset: String(-new Date().getTimezoneOffset()) });
    if (after) query.set("after", after);
    const found = await this.api.get(`/app/search?${query}`, LIMIT_MS, asking?.signal);
    return asking === this.#asking ? found : null;
  }

  /** The threads with the newest messages, as hits. */
  async #recent() {
    const asking = this.#asking;
    const { threads = [] } = await this.api.get("/app/threads?limit=50", LIMIT_MS, asking?.signal);
    if (asking !== this.#asking) return null;
    const newest = threads.sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1)).slice(0, RECENT);
    const hits = newest.map(({ id, name, updated_at }) => ({
      conversation_id: id,
      title: { text: name, marks: [] },
      created_at: updated_at,
      snippet: null,
    }));
    return { ...EMPTY, hits };
  }

  /** @param {ApiError} error */
  #failed(error) {
    if (error.status === 429) {
      this.#timer = setTimeout(() => this.#search(), AGAIN_MS);
      return;
    }
    this.#clear(error.status === 0 ? "The search did not arrive: try again." : error.message);
  }

  // ── showing ─────────────────────────────────────────────────────────────────────────────────
  /** Show `words` and no hits: those of an earlier search could be opened by mistake. */
  #clear(words) {
    this.#shown = EMPTY;
    this.hits.show([]);
    this.further.hidden = true;
    setText(this.said, words);
  }

  #show(found, text, selected = 0) {
    this.#shown = found;
    const heading = text ? "Conversations" : "Recent conversations";
    this.hits.show(found.hits, { heading, selected, hasMore: found.next !== null });
    this.further.hidden = !isLate(found);
    setText(this.said, words(found, text));
  }

  #choose(number) {
    const hit = number === null ? undefined : this.#shown.hits[number];
    if (!hit) return;
    this.dialog.close();
    this.onOpen(hit);
  }
}

function isShortcut(event) {
  const held = isMac ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey;
  return held && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k" && !isComposing(event);
}

/** Whether the server ran out of time before it had compared everything, and can continue. */
const isLate = ({ partial, next }) => partial && next !== null;

/** What screen readers hear and people read about the results. */
function words(found, text) {
  const { hits, next, partial, indexing } = found;
  if (!text) return hits.length ? "" : "There are no conversations yet.";
  const count = hits.length ? counted(hits.length, "result", "results") : "Nothing matches";
  const since = isLate(found) && found.reached ? ` since ${when(moment(found.reached))}` : "";
  const parts = [next && !partial && hits.length ? `The first ${count}.` : `${count}${since}.`];
  if (partial && !isLate(found)) parts.push("The search took too long, so there may be more: add a word.");
  if (indexing) parts.push("Older messages are still being prepared.");
  return parts.join(" ");
}

// ── the message that was found ────────────────────────────────────────────────────────────────
/** The palette of a page, which opens what is chosen. */
export function installSearch(page) {
  const button = /** @type {HTMLButtonElement} */ (document.querySelector("#search"));
  document.querySelector("#sidebar-tools")?.append(button);
  const buttons = /** @type {HTMLButtonElement[]} */ ([button, ...document.querySelectorAll(".find")]);
  const later = el("button", { type: "button", class: "later", hidden: true }, "Show the newest messages");
  page.thread.feed.list.after(later);
  later.addEventListener("click", async () => {
    await page.sync.readThread(page.state.openId);
    page.thread.feed.toEnd();
  });
  page.onDrawn = () => setHidden(later, !page.state.open?.later);
  return new SearchPalette({
    api: page.api,
    buttons,
    dialog: document.querySelector("#search-dialog"),
    onOpen: (hit) => reveal(page, hit),
  });
}

/** Open a thread, and show the message in it, also in one that is longer than what is loaded. */
async function reveal(page, { conversation_id: thread, anchor = null, index = null }) {
  page.router.show(thread);
  if (anchor === null) return;
  await page.sync.reading;
  const isThere = () => page.state.openId === thread && page.state.open?.messages.some(({ id }) => id === anchor);
  if (!isThere() && index !== null && page.state.openId === thread) await page.sync.readThread(thread, index + AFTER);
  if (page.state.openId !== thread) return; // the reader has moved on
  page.draw();
  if (!page.thread.feed.reveal(anchor)) page.say("This message is not there any more.");
}
