// The dialog of a thread's read-only link, and of all links of a person.
import { asApiError } from "./api.js";
import { copyText, el, icon, setText } from "./dom.js";
import { counted, fullTime, moment } from "./format.js";

const REMINDER_SECONDS = 12;
const addressOf = (uid) => `${location.origin}/#/s/${uid}`;

class ShareDialog {
  #thread = null;

  constructor({ api, dialog, say }) {
    this.api = api;
    this.dialog = dialog;
    this.say = say;
    this.content = dialog.querySelector(".content");
  }

  /** Of `thread`; null: only the list of all links. */
  async open(thread) {
    this.#thread = thread;
    this.content.replaceChildren(el("p", { class: "words" }, "Loading…"));
    this.dialog.showModal();
    await this.#attempt(async () => this.#show(thread === null ? null : await this.api.get(`/app/threads/${thread}/share`)));
  }

  async #attempt(task) {
    try {
      await task();
    } catch (error) {
      this.content.append(el("p", { class: "error alarm", role: "alert" }, asApiError(error).message));
    }
  }

  /** Change the link of the thread, and show what is true then. */
  #change(task, words) {
    return this.#attempt(async () => {
      const state = await task();
      this.say(words);
      await this.#show(state);
    });
  }

  async #show(state) {
    const { shares } = await this.api.get("/app/shares");
    const others = shares.filter(({ thread }) => thread !== this.#thread);
    this.content.replaceChildren(...(state === null ? [] : this.#ofThread(state)), ...this.#listed(others, state === null));
    this.content.querySelector("[data-first]")?.focus();
  }

  #ofThread({ allowed, share }) {
    const path = `/app/threads/${this.#thread}/share`;
    const update = () => this.#change(() => this.api.put(path, {}), share ? "The link shows the thread as it is now." : "The link exists.");
    if (share === null && !allowed) return [el("p", {}, "The rules of this place do not allow sharing.")];
    if (share === null) {
      return [
        el("p", {}, "Everyone who can sign in here can read this thread through its link, as it is now. Later messages, settings and costs are not shown."),
        el("div", { class: "row" }, el("button", { type: "button", class: "primary", "data-first": true, onclick: update }, "Make a link")),
      ];
    }
    return [
      ...this.#link(share),
      el("p", { class: "words" }, allowed ? about(share) : "The rules of this place have forbidden sharing since: no one can read it."),
      el(
        "div",
        { class: "row" },
        share.has_news && allowed ? el("button", { type: "button", class: "second", onclick: update }, "Update the link") : null,
        el("button", { type: "button", class: "second alarm", onclick: () => this.#revoke(share) }, "Delete the link"),
      ),
    ];
  }

  #link({ uid }) {
    const box = el("input", { type: "text", id: "share-link", readonly: true, value: addressOf(uid) });
    box.addEventListener("focus", () => box.select());
    const copy = el("button", { type: "button", class: "primary", "data-first": true }, "Copy");
    copy.addEventListener("click", async () => {
      await copyText(box.value);
      setText(copy, "Copied");
      this.say("The link is copied.");
    });
    return [el("div", { class: "field" }, el("label", { for: "share-link" }, "Link"), el("div", { class: "linked" }, box, copy))];
  }

  #revoke({ thread }) {
    const task = async () => {
      const state = await this.api.delete(`/app/threads/${thread}/share`);
      if (thread === this.#thread) return state;
      return this.#thread === null ? null : this.api.get(`/app/threads/${this.#thread}/share`);
    };
    return this.#change(task, "The link is deleted: it shows nothing any more.");
  }

  #listed(shares, alone) {
    if (!shares.length) return alone ? [el("p", {}, "You have shared no thread.")] : [];
    const rows = shares.map((share) =>
      el(
        "li",
        {},
        el("a", { href: addressOf(share.uid), dir: "auto", onclick: () => this.dialog.close() }, share.name || "Thread"),
        el("span", { class: "words" }, fullTime(moment(share.shared_at))),
        el("button", { type: "button", class: "tool", "aria-label": `Delete the link of ${share.name}`, title: "Delete the link", onclick: () => this.#revoke(share) }, icon("close")),
      ),
    );
    const title = alone ? counted(shares.length, "link", "links") : counted(shares.length, "other link of yours", "other links of yours");
    return [el("details", { open: alone }, el("summary", {}, title), el("ul", { class: "links" }, ...rows))];
  }
}

function about({ messages, shared_at, has_news }) {
  const shown = `It shows ${counted(messages, "message", "messages")} of ${fullTime(moment(shared_at))}.`;
  if (!has_news) return shown;
  return `${shown} The thread has changed since: until you update the link, it still shows what was edited or answered again as it was.`;
}

/** Its owner may have edited a question to take something back, which the link still shows. */
async function remind({ page, share, thread }) {
  const { share: link = null } = await page.api.get(`/app/threads/${thread}/share`).catch(() => ({}));
  if (link === null) return;
  page.sidebar.toasts.show({
    words: "The link to this thread still shows the question as it was.",
    label: "The link",
    seconds: REMINDER_SECONDS,
    run: () => share.open(thread),
  });
}

export function installSharing(page) {
  const dialog = document.querySelector("#share-dialog");
  const share = new ShareDialog({ api: page.api, dialog, say: (words) => page.say(words) });
  const shown = () => Boolean(page.state.session?.sharing);
  const isOwn = () => shown() && !page.state.open?.channel; // in a shared channel everyone reads it
  page.header.menu.add({ label: "Share with the team", icon: "share", order: 51, shown: isOwn, run: () => share.open(page.state.openId) });
  page.onEdited = (thread) => isOwn() && remind({ page, share, thread });
  page.settings.more.push(() => {
    const open = () => {
      page.settings.dialog.close();
      share.open(null);
    };
    return el("div", { class: "row", hidden: !shown() }, el("button", { type: "button", class: "second", onclick: open }, "Your shared links"));
  });
}
