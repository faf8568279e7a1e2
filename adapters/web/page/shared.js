// A thread that a link shows, read-only, with the same messages as elsewhere. The link's id stands behind
// the "#", so that no server, proxy or log sees it.
import { asApiError } from "./api.js";
import { setText } from "./dom.js";
import { Feed } from "./feed.js";
import { fullTime, moment } from "./format.js";
import { MessageView } from "./message.js";
import { Pictures } from "./pictures.js";
import { printMessages } from "./printing.js";

const LINK = /^#\/s\/([\w-]{43})$/;
const PAGE = 100;

class SharedView {
  #uid = "";
  #items = [];
  #next = null;
  #known = /** @type {any} */ (null);
  /** @type {Pictures | null} */
  #pictures = null;

  constructor({ api, root, viewer, say, onTitle }) {
    this.api = api;
    this.root = root;
    this.viewer = viewer;
    this.say = say;
    this.onTitle = onTitle;
    const part = (selector) => root.querySelector(selector);
    this.title = part("h2");
    this.about = part(".title p");
    this.missing = part(".missing");
    this.later = part(".later");
    this.feed = new Feed({
      scroller: part(".scroll"),
      list: part(".feed"),
      pill: part(".pill"),
      create: (item) => new MessageView(item, this.#pictures),
      onPastEnd: () => {},
    });
    this.later.addEventListener("click", () => this.#more());
    part(".print").addEventListener("click", () => this.print());
  }

  get isOpen() {
    return !this.root.hidden;
  }

  /** Show what the address names; returns whether it names a link. */
  async route() {
    const uid = LINK.exec(location.hash)?.[1] ?? "";
    document.body.classList.toggle("reading", uid !== "");
    this.root.hidden = uid === "";
    if (uid === this.#uid) return;
    this.#clear(uid);
    if (uid) await this.#more();
  }

  #clear(uid) {
    this.#uid = uid;
    [this.#items, this.#next, this.#known] = [[], null, null];
    const onProblem = (words) => setText(this.missing, words);
    this.#pictures = new Pictures({ api: this.api, viewer: this.viewer, onProblem, base: `/app/shared/${uid}/attachments` });
    setText(this.title, "Shared thread");
    setText(this.about, "");
    setText(this.missing, "");
    this.later.hidden = true;
    this.feed.clear();
  }

  async #more() {
    const uid = this.#uid;
    this.later.disabled = true;
    try {
      const page = await this.#read(this.#next);
      if (uid === this.#uid) this.#take(page);
    } catch (error) {
      if (uid === this.#uid) setText(this.missing, asApiError(error).message);
    } finally {
      this.later.disabled = false;
    }
  }

  #read(after) {
    const more = after === null ? "" : `&after=${after}`;
    return this.api.get(`/app/shared/${this.#uid}?limit=${PAGE}${more}`);
  }

  #take(page) {
    const first = this.#known === null;
    this.#known = page;
    this.#next = page.next;
    this.#items = [...this.#items, ...page.messages];
    const by = page.own_thread ? "Your link" : `Shared by ${page.shared_by}`;
    setText(this.title, page.name || "Shared thread");
    setText(this.about, `${by} · ${fullTime(moment(page.shared_at))} · read-only`);
    setText(this.missing, page.missing > 0 ? "Some messages were changed or deleted since, and are not shown." : "");
    this.later.hidden = page.next === null;
    this.onTitle(page.name || "Shared thread");
    this.feed.keepPlace(() => this.feed.show(this.#items));
    if (first) this.feed.scroller.scrollTop = 0;
    if (first) this.title.focus();
  }

  /** The Markdown of a shown message; undefined if the button is elsewhere. */
  textOf(node) {
    if (!this.root.contains(node)) return undefined;
    return this.#items.find(({ id }) => id === node.closest("article").dataset.id)?.text ?? "";
  }

  print() {
    const { name, shared_by, shared_at } = this.#known ?? {};
    return printMessages({
      title: name || "Shared thread",
      about: `Shared by ${shared_by} · ${fullTime(moment(shared_at))}`,
      read: (after) => this.#read(after),
      pictures: this.#pictures,
      say: this.say,
    });
  }
}

export function installShared(page) {
  const shared = new SharedView({
    api: page.api,
    root: document.querySelector("#shared"),
    viewer: page.viewer,
    say: (words) => page.say(words),
    onTitle: (name) => page.header.nameWindow(name),
  });
  page.shared = shared;
  shared.root.querySelector(".close").addEventListener("click", () => {
    history.pushState(null, "", location.pathname);
    shared.route();
    page.router.route({ focus: true });
  });
  // Read once the person is signed in: the session comes first.
  page.onSession.push(() => shared.route());
  addEventListener("popstate", () => page.state.session && shared.route());
  document.addEventListener("click", ({ target }) => {
    if (/** @type {any} */ (target).closest?.("a[href*='#/s/']")) setTimeout(() => shared.route());
  });
}
