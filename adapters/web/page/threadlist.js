// The list of a user's threads: pages from the server, and events that change single rows.
//
// Invariant: what is listed has no gap. An entry that sorts below the last page that was loaded is
// known, but not listed, until that part is loaded.
import { dates } from "./format.js";

const PAGE = 100;
const MOST_PAGE = 200; // the server's limit

/**
 * @typedef {object} Entry
 * @property {string} id
 * @property {string} name
 * @property {string} preview
 * @property {boolean} by_user
 * @property {number} active_at
 * @property {number | null} answered_at
 * @property {boolean} unread
 * @property {boolean} busy
 * @property {boolean} pinned
 * @property {boolean} archived
 */

export class ThreadList {
  /** @type {Map<string, Entry>} */
  #known = new Map();
  /** @type {Entry[]} */
  #listed = [];
  /** @type {string | null} */
  #next = null; // the cursor of the next page; null if there is none, or nothing is loaded yet
  /** @type {Entry | null} */
  #border = null; // the last entry of the last page
  #reading = 0; // the number of the newest reading; older ones are dropped
  #isReading = false;
  /** @type {Map<string, Entry | null>} */
  #meanwhile = new Map(); // what events told while a page was read; null: deleted
  loaded = false;
  archived = false;

  /** `ask(path)` gets JSON from the server, and tries until it answers; `onChange()`. */
  constructor({ ask, onChange }) {
    this.ask = ask;
    this.onChange = onChange;
  }

  get entries() {
    return this.#listed;
  }

  get hasMore() {
    return this.#next !== null;
  }

  /** What is known of a thread, whether or not it is listed. */
  get(id) {
    return this.#known.get(id);
  }

  /** Show the archived threads, or the others. */
  showArchived(archived) {
    this.archived = archived;
    this.loaded = false;
    this.#next = null;
    this.#listed = [];
    this.refresh();
    this.onChange();
  }

  /** Read the list again from its top, at least `rows` of it; until then the old one stays. */
  async refresh(rows = PAGE) {
    const reading = this.#begin();
    /** @type {Entry[]} */
    const found = [];
    let next = null;
    do {
      const page = await this.#read(next, Math.min(rows, MOST_PAGE));
      if (reading !== this.#reading) return;
      if (!page) return this.#end();
      found.push(...page.entries);
      next = page.next;
    } while (next !== null && found.length < rows);
    this.#take(found, next, []);
  }

  /** Read the next page. */
  async more() {
    if (this.#isReading || this.#next === null) return;
    const reading = this.#begin();
    const page = await this.#read(this.#next, PAGE);
    if (reading !== this.#reading) return;
    if (page) this.#take(page.entries, page.next, this.#listed);
    else this.#end();
  }

  /** Take an entry's newest state from an event. @param {Entry} entry */
  take(entry) {
    if (this.#isReading) this.#meanwhile.set(entry.id, entry);
    this.#put(entry);
    this.onChange();
  }

  /** A thread was deleted. */
  remove(id) {
    if (this.#isReading) this.#meanwhile.set(id, null);
    this.#known.delete(id);
    this.#listed = this.#listed.filter((entry) => entry.id !== id);
    this.onChange();
  }

  /** Change what is shown until an event tells what was stored. */
  expect(id, change) {
    const entry = this.#known.get(id);
    if (entry) this.#put({ ...entry, ...change });
    this.onChange();
  }

  #begin() {
    this.#isReading = true;
    this.#meanwhile.clear();
    return ++this.#reading;
  }

  #end() {
    this.#isReading = false;
    this.#meanwhile.clear();
  }

  #read(after, limit) {
    const from = after === null ? "" : `&after=${encodeURIComponent(after)}`;
    return this.ask(`/app/list?archived=${this.archived}&limit=${limit}${from}`);
  }

  /** A page below `above`. What events told since the request is not older than the page. */
  #take(found, next, above) {
    this.#next = next;
    this.#border = next === null ? null : (found.at(-1) ?? this.#border);
    const fresh = found.filter(({ id }) => !this.#meanwhile.has(id));
    for (const entry of fresh) this.#known.set(entry.id, entry);
    const ids = new Set(fresh.map(({ id }) => id));
    this.#listed = [...above.filter(({ id }) => !ids.has(id)), ...fresh].sort(order);
    for (const entry of this.#meanwhile.values()) if (entry) this.#put(entry);
    this.#end();
    this.loaded = true;
    this.onChange();
  }

  #put(entry) {
    this.#known.set(entry.id, entry);
    const others = this.#listed.filter(({ id }) => id !== entry.id);
    this.#listed = others;
    if (entry.archived !== this.archived || (this.#border && order(entry, this.#border) > 0)) return;
    const k = others.findIndex((other) => order(entry, other) < 0);
    others.splice(k < 0 ? others.length : k, 0, entry);
  }
}

/** As the server sorts: pinned ones first, then the newest. */
function order(a, b) {
  return b.pinned - a.pinned || b.active_at - a.active_at || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}

// ── groups ────────────────────────────────────────────────────────────────────────────────────
const month = dates({ month: "long" });
const monthOfYear = dates({ month: "long", year: "numeric" });

/**
 * The entries as rows: each has an `id`, and is an `entry` or the `label` of a group.
 * @param {Entry[]} entries
 */
export function inGroups(entries, now = new Date(), byPin = true) {
  const label = labels(now);
  const rows = [];
  let last = "";
  for (const entry of entries) {
    const group = byPin && entry.pinned ? "Pinned" : label(entry.active_at);
    if (group !== last) rows.push({ id: `group ${group}`, label: group, entry: null });
    last = group;
    rows.push({ id: entry.id, label: "", entry });
  }
  return rows;
}

/** Names the group of a time in Unix seconds. */
function labels(now) {
  const start = (days) => new Date(now.getFullYear(), now.getMonth(), now.getDate() - days).getTime() / 1000;
  const recent = /** @type {const} */ ([["Today", start(0)], ["Yesterday", start(1)], ["Last 7 days", start(7)]]);
  let [from, until, name] = [0, 0, ""]; // the month of the entry before: formatting is slow
  return (at) => {
    const found = recent.find(([, since]) => at >= since);
    if (found) return found[0];
    if (at >= from && at < until) return name;
    const date = new Date(at * 1000);
    const [year, number] = [date.getFullYear(), date.getMonth()];
    [from, until] = [new Date(year, number, 1).getTime() / 1000, new Date(year, number + 1, 1).getTime() / 1000];
    name = (year === now.getFullYear() ? month : monthOfYear).format(date);
    return name;
  };
}

const clock = dates({ hour: "numeric", minute: "2-digit" });
const weekday = dates({ weekday: "short" });
const dayOfMonth = dates({ day: "numeric", month: "short" });

/** A time in Unix seconds, as short as its distance allows. */
export function shortTime(at, now = new Date()) {
  const date = new Date(at * 1000);
  const since = (days) => new Date(now.getFullYear(), now.getMonth(), now.getDate() - days).getTime();
  if (date.getTime() >= since(1)) return clock.format(date);
  return (date.getTime() >= since(6) ? weekday : dayOfMonth).format(date);
}
