// The sidebar: the list of the user's conversations.
import { browser, el, isComposing } from "./dom.js";
import { Menu } from "./menu.js";
import { ThreadActions } from "./threadactions.js";
import { ThreadList, inGroups } from "./threadlist.js";
import { ThreadRows } from "./threadrows.js";
import { Toasts } from "./toast.js";

const $ = (selector) => document.querySelector(selector);
const isPhone = () => matchMedia("(max-width: 780px)").matches;

export class Sidebar {
  /** @type {any[]} */
  #shown = []; // what the rows were drawn from
  #seen = ""; // the answer that the server was told of last
  /** @type {string | null} */
  #menuOf = null; // the thread whose row's menu is open
  #wasOpen = false; // whether the press that comes next has just closed a menu

  constructor(page) {
    this.page = page;
    this.root = $("#sidebar");
    this.toggle = $("#sidebar-toggle");
    this.list = new ThreadList({
      ask: (path) => page.sync.persist(() => page.api.get(path)),
      onChange: () => this.draw(),
    });
    this.rows = new ThreadRows({
      scroller: this.root.querySelector(".list-scroll"),
      list: $("#thread-list"),
      onEnd: () => this.list.more(),
      onKey: (event, entry) => this.#rowKey(event, entry),
      onMenu: (id) => this.#openMenu(id),
      onOpen: (id) => this.#open(id),
    });
    this.toasts = new Toasts({ root: $("#toasts"), say: (words) => page.say(words), onLeft: () => this.#focusPane() });
    this.actions = new ThreadActions(page, this);
    this.menu = new Menu({ button: el("button"), list: $("#row-actions") });
    this.actions.fill(this.menu, () => this.entry(this.#menuOf), () => this.rows.title(this.#menuOf), true);
    this.actions.fill(page.header.menu, () => this.entry(page.state.openId), () => $("#thread-title"), false);
    this.#listen();
    this.#showState();
  }

  #listen() {
    this.toggle.addEventListener("click", () => this.switch());
    for (const button of document.querySelectorAll(".open-list")) button.addEventListener("click", () => this.switch());
    for (const id of ["#sidebar-shade", "#sidebar-close"]) $(id).addEventListener("click", () => this.switch(false));
    $("#new-thread").addEventListener("click", () => this.begin());
    $("#to-channel").addEventListener("click", () => this.#toChannel());
    $("#to-archive").addEventListener("click", () => this.showArchived(true));
    $("#from-archive").addEventListener("click", () => this.showArchived(false));
    $("#row-actions").addEventListener("toggle", ({ newState }) => this.#menuToggled(newState));
    document.addEventListener("pointerdown", () => (this.#wasOpen = $("#row-actions").matches(":popover-open")), true);
    document.addEventListener("keydown", (event) => this.#pressed(event));
    document.addEventListener("visibilitychange", () => document.hidden || this.draw());
    matchMedia("(max-width: 780px)").addEventListener("change", () => this.#showState());
    addEventListener("storage", ({ key }) => key === "threadline.sidebar" && this.#showState());
    setInterval(() => this.draw(), 60_000); // a new day has other groups
  }

  // ── what the server tells ───────────────────────────────────────────────────────────────────
  /** Read the list again, as far as it is visible. */
  refresh() {
    return this.list.refresh(Math.max(100, this.rows.needed + 50));
  }

  take(entry) {
    this.list.take(entry);
  }

  /** A thread was deleted, perhaps in another tab. */
  gone(id) {
    this.list.remove(id);
    if (id === this.page.state.openId) this.page.router.close();
  }

  /** The open thread or something else on the page may have changed: at each word of an answer. */
  draw() {
    const { openId, composing, channel } = this.page.state;
    const { entries, archived, loaded, hasMore } = this.list;
    const shown = [entries, archived, loaded, hasMore, openId, composing, channel, new Date().toDateString()];
    if (shown.some((value, k) => value !== this.#shown[k])) this.#draw();
    this.#shown = shown;
    this.#see();
  }

  #draw() {
    const { openId, composing } = this.page.state;
    const { entries, archived, loaded, hasMore } = this.list;
    this.rows.show(inGroups(entries, new Date(), !archived), { open: openId, complete: loaded && !hasMore });
    $("#thread-list").hidden = entries.length === 0; // role=list needs items
    const words = archived ? "Nothing is archived." : "Your conversations will be listed here.";
    $("#list-empty").textContent = words;
    $("#list-empty").hidden = !loaded || entries.length > 0;
    if (openId === null && !composing && this.page.state.channel === null) $("#to-channel").setAttribute("aria-current", "page");
    else $("#to-channel").removeAttribute("aria-current");
    $("#new-thread").toggleAttribute("data-current", composing);
  }

  /** Tell the server that the user sees the newest answer. */
  #see() {
    const entry = this.entry(this.page.state.openId);
    if (!entry?.unread || document.hidden || !this.page.state.open) return;
    const mark = `${entry.id} ${entry.answered_at}`;
    if (mark === this.#seen) return;
    this.#seen = mark;
    const told = this.page.api.post(`/app/threads/${entry.id}/read`, { until: entry.answered_at });
    told.catch(() => (this.#seen = "")); // with the next change
  }

  /** What is known of a thread. */
  entry(id) {
    return this.list.get(id);
  }

  // ── opening and closing ─────────────────────────────────────────────────────────────────────
  get isOpen() {
    return isPhone() ? document.body.classList.contains("drawer") : !("sidebar" in document.documentElement.dataset);
  }

  /** Open or close it; a wide window remembers that. */
  switch(open = !this.isOpen) {
    const held = this.root.contains(document.activeElement);
    if (isPhone()) document.body.classList.toggle("drawer", open);
    else browser.set("sidebar", open ? null : "closed");
    this.#showState();
    if (open && isPhone()) this.rows.focus() || $("#new-thread").focus();
    else if (!open && held) (this.toggle.checkVisibility() ? this.toggle : $(".thread .open-list")).focus();
  }

  #showState() {
    if (!isPhone()) document.body.classList.remove("drawer");
    if (browser.get("sidebar") === "closed") document.documentElement.dataset.sidebar = "closed";
    else delete document.documentElement.dataset.sidebar;
    const covered = document.body.classList.contains("drawer");
    for (const node of document.querySelectorAll("main > .pane, .bar, .skip")) node.toggleAttribute("inert", covered);
    for (const button of [this.toggle, ...document.querySelectorAll(".open-list")]) {
      button.setAttribute("aria-expanded", String(this.isOpen));
    }
    this.draw();
  }

  #open(id) {
    this.switchDrawerOff();
    this.page.router.show(id);
  }

  #toChannel() {
    this.switchDrawerOff();
    if (location.hash) history.pushState(null, "", location.pathname);
    this.page.router.route();
    this.page.channel.box.box.focus();
  }

  /** Begin a conversation without naming anyone. */
  begin() {
    this.switchDrawerOff();
    this.page.router.compose();
  }

  switchDrawerOff() {
    if (isPhone() && this.isOpen) this.switch(false);
  }

  showArchived(archived) {
    this.root.classList.toggle("archive", archived);
    $("#from-archive").hidden = !archived;
    $("#to-archive").hidden = archived;
    $("#to-channel").hidden = archived;
    this.rows.scroller.scrollTop = 0;
    this.list.showArchived(archived);
    (archived ? $("#from-archive") : $("#to-archive")).focus();
  }

  // ── the keyboard ────────────────────────────────────────────────────────────────────────────
  #pressed(event) {
    this.#wasOpen = false;
    if (event.defaultPrevented || isComposing(event) || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    const meant = event.ctrlKey || event.metaKey;
    if (meant && event.shiftKey && key === "o") this.begin();
    else if (meant && !event.shiftKey && !event.altKey && key === "b") this.switch();
    else if (event.key === "F6" && event.shiftKey) this.#focusList();
    else if (event.key === "Escape" && document.body.classList.contains("drawer")) this.switch(false);
    else return;
    event.preventDefault();
  }

  #focusList() {
    if (!this.isOpen) this.switch(true);
    if (!this.rows.focus()) $("#new-thread").focus();
  }

  #rowKey(event, entry) {
    if (event.key === "F2") this.actions.rename(entry, this.rows.title(entry.id));
    else if (event.key === "Delete") this.actions.delete(entry, true);
    else return;
    event.preventDefault();
  }

  #focusPane() {
    const { page } = this;
    (page.state.paneIsOpen ? page.thread : page.channel).box.box.focus();
  }

  // ── the menu of a row ───────────────────────────────────────────────────────────────────────
  #openMenu(id) {
    const link = this.rows.link(id);
    if (!link || (this.#wasOpen && this.#menuOf === id)) return;
    this.menu.button = link;
    this.#menuOf = id;
    link.parentElement.classList.add("with-menu");
    this.menu.open();
  }

  #menuToggled(state) {
    if (state === "closed") this.root.querySelector(".with-menu")?.classList.remove("with-menu");
  }
}
