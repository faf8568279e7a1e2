// The sidebar: the user's conversations, and what one does with them.
import { asApiError } from "./api.js";
import { browser, el, isComposing, isolated } from "./dom.js";
import { Menu } from "./menu.js";
import { ThreadList, inGroups } from "./threadlist.js";
import { ThreadRows } from "./threadrows.js";
import { Toasts } from "./toast.js";

const MOST_CHARACTERS = 80; // of a name; the server's limit
const ARCHIVED_SECONDS = 8;
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
    this.menu = new Menu({ button: el("button"), list: $("#row-actions") });
    this.#fill(this.menu, () => this.#menuOf, (id) => this.rows.title(id), true);
    this.#fill(page.header.menu, () => page.state.openId, () => $("#thread-title"), false);
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
    const { open } = this.page.state;
    return this.list.get(id) ?? (open?.id === id ? (open?.entry ?? undefined) : undefined);
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
    if (event.key === "F2") this.#renameIn(entry, this.rows.title(entry.id));
    else if (event.key === "Delete") this.#delete(entry, true);
    else return;
    event.preventDefault();
  }

  #focusPane() {
    const { page } = this;
    (page.state.paneIsOpen ? page.thread : page.channel).box.box.focus();
  }

  // ── the menus ───────────────────────────────────────────────────────────────────────────────
  /** The actions on the thread `id()`; its name is in the element `title(id)`. */
  #fill(menu, id, title, inList) {
    const entry = () => this.entry(id());
    const change = (change) => () => this.#change(entry(), change);
    const is = (field, value) => () => entry()?.[field] === value;
    const any = () => Boolean(entry());
    menu.add({ label: "Rename", icon: "rename", order: 10, shown: any, run: () => this.#renameIn(entry(), title(id())) });
    menu.add({ label: "Pin", icon: "pin", order: 20, shown: is("pinned", false), run: change({ pinned: true }) });
    menu.add({ label: "Unpin", icon: "unpin", order: 20, shown: is("pinned", true), run: change({ pinned: false }) });
    menu.add({ label: "Archive", icon: "archive", order: 30, shown: is("archived", false), run: () => this.#archive(entry()) });
    menu.add({ label: "Unarchive", icon: "unarchive", order: 30, shown: is("archived", true), run: change({ archived: false }) });
    menu.add({ label: "Delete", icon: "trash", order: 90, shown: any, run: () => this.#delete(entry(), inList) });
  }

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

  async #change(entry, change) {
    this.list.expect(entry.id, change);
    try {
      return await this.page.api.patch(`/app/threads/${entry.id}`, change);
    } catch (error) {
      this.list.take(entry);
      this.#fail(error);
      return null;
    }
  }

  async #archive(entry) {
    const next = this.rows.neighbour(entry.id);
    const inList = this.root.contains(document.activeElement);
    if (!(await this.#change(entry, { archived: true }))) return;
    if (inList) this.rows.focus(next);
    const run = () => this.#change({ ...entry, archived: true }, { archived: false });
    this.toasts.show({ words: `${isolated(entry.name)} is archived.`, label: "Undo", seconds: ARCHIVED_SECONDS, run });
  }

  async #delete(entry, inList) {
    const wasOpen = entry.id === this.page.state.openId;
    const next = this.rows.neighbour(entry.id);
    let undo_seconds = 0;
    try {
      ({ undo_seconds } = await this.page.api.delete(`/app/threads/${entry.id}`));
    } catch (error) {
      return this.#fail(error);
    }
    this.list.remove(entry.id);
    this.page.state.forget(entry.id);
    if (wasOpen) this.page.router.close();
    if (inList) this.rows.focus(next);
    this.toasts.show({
      words: `${isolated(entry.name)} is deleted.`,
      label: "Undo",
      seconds: undo_seconds,
      run: () => this.#restore(entry, wasOpen),
      focus: !inList,
      hold: () => this.page.api.post(`/app/threads/${entry.id}/hold`, {}),
      over: `${isolated(entry.name)} is deleted. It is too late to undo that.`,
    });
  }

  async #restore(entry, wasOpen) {
    try {
      const restored = await this.page.api.post(`/app/threads/${entry.id}/restore`, {});
      this.page.state.restore(entry.id, restored.event);
      this.list.take(restored.entry);
    } catch (error) {
      return this.#fail(error);
    }
    this.page.say(`${isolated(entry.name)} is back.`);
    if (wasOpen) this.page.router.show(entry.id);
    else this.rows.focus(entry.id);
  }

  #fail(error) {
    const pane = this.page.state.paneIsOpen ? this.page.thread : this.page.channel;
    pane.box.fail(asApiError(error).message);
  }

  // ── renaming ────────────────────────────────────────────────────────────────────────────────
  /** A field in place of `title`: Enter or leaving it stores the name, Escape does not. */
  #renameIn(entry, title) {
    if (!title || title.hidden) return;
    const field = el("input", { class: "rename", "aria-label": "New name", maxlength: String(MOST_CHARACTERS), dir: "auto", autocomplete: "off" });
    field.value = entry.name;
    const link = title.closest("a");
    const holder = link ?? title;
    let done = false; // removing the field makes it lose the focus
    const end = (stores) => {
      if (done) return;
      done = true;
      const name = field.value.trim().replace(/\s+/g, " ");
      const held = document.activeElement === field;
      holder.hidden = false;
      field.remove();
      if (held) (link ?? $("#thread-menu")).focus();
      if (stores && name && name !== entry.name) this.#rename(entry, name);
    };
    field.addEventListener("blur", () => end(true));
    field.addEventListener("keydown", (event) => {
      if (isComposing(event) || (event.key !== "Enter" && event.key !== "Escape")) return;
      event.preventDefault();
      event.stopPropagation();
      end(event.key === "Enter");
    });
    holder.before(field);
    holder.hidden = true;
    field.focus();
    field.select();
  }

  async #rename(entry, name) {
    if (await this.#change(entry, { name })) this.page.say(`Renamed to ${isolated(name)}.`);
  }
}
