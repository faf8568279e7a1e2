// What one does with a conversation of the list: rename, pin, archive and delete it, and undo that.
import { asApiError } from "./api.js";
import { el, isComposing, isolated } from "./dom.js";

const MOST_CHARACTERS = 80; // of a name; the server's limit
const ARCHIVED_SECONDS = 8;
const $ = (selector) => document.querySelector(selector);

export class ThreadActions {
  /** The parts of the sidebar: its element, the list, its rows, and the toasts that offer to undo. */
  constructor(page, { root, list, rows, toasts }) {
    this.page = page;
    this.root = root;
    this.list = list;
    this.rows = rows;
    this.toasts = toasts;
  }

  /** Add the actions on the thread `entry()` to a menu; its name is in the element `title()`. */
  fill(menu, entry, title, inList) {
    const change = (change) => () => this.#change(entry(), change);
    const is = (field, value) => () => entry()?.[field] === value;
    const any = () => Boolean(entry());
    menu.add({ label: "Rename", icon: "rename", order: 10, shown: any, run: () => this.rename(entry(), title()) });
    menu.add({ label: "Pin", icon: "pin", order: 20, shown: is("pinned", false), run: change({ pinned: true }) });
    menu.add({ label: "Unpin", icon: "unpin", order: 20, shown: is("pinned", true), run: change({ pinned: false }) });
    menu.add({ label: "Archive", icon: "archive", order: 30, shown: is("archived", false), run: () => this.#archive(entry()) });
    menu.add({ label: "Unarchive", icon: "unarchive", order: 30, shown: is("archived", true), run: change({ archived: false }) });
    menu.add({ label: "Delete", icon: "trash", order: 90, shown: any, run: () => this.delete(entry(), inList) });
  }

  async #change(entry, change) {
    this.list.expect(entry.id, change);
    try {
      return await this.page.api.patch(`/app/threads/${entry.id}`, change);
    } catch (error) {
      this.list.expect(entry.id, Object.fromEntries(Object.keys(change).map((field) => [field, entry[field]])));
      this.page.sidebar.refresh(); // perhaps only the response was lost
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

  async delete(entry, inList) {
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
  rename(entry, title) {
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
      if (stores && name && name !== entry.name) this.#renameTo(entry, name);
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

  async #renameTo(entry, name) {
    if (await this.#change(entry, { name })) this.page.say(`Renamed to ${isolated(name)}.`);
  }
}
