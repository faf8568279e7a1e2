// The head of the open thread: its title, its model and its effort; and the window's title.
import { copyText, isolated, setHidden, setText } from "./dom.js";
import { Menu } from "./menu.js";

const SHOWN_CHARACTERS = 60; // of a name in the window's title
const $ = (selector) => document.querySelector(selector);

export class ThreadHeader {
  constructor(page) {
    this.page = page;
    this.menu = new Menu({ button: $("#thread-menu"), list: $("#thread-actions") });
    this.menu.add({ label: "Copy the link", icon: "link", order: 50, run: () => this.#copyLink() });
  }

  /** The window's title, to which the notifier adds what happens in the background. */
  nameWindow(name) {
    this.page.notify.title = `${name.slice(0, SHOWN_CHARACTERS)} · Threadline`;
  }

  draw() {
    const { state, shared, channels } = this.page;
    if (shared?.isOpen) return; // it has a title of its own
    const title = state.openId ? this.#name : state.composing ? "New conversation" : channels.label;
    setText($("#thread-title"), state.openId || state.composing ? title : "Thread");
    this.nameWindow(title);
    this.drawChoices();
  }

  get #name() {
    const { state, sidebar } = this.page;
    return sidebar.entry(state.openId)?.name ?? state.summary(state.openId)?.name ?? state.open?.name ?? "Thread";
  }

  /** The open thread's model and effort. */
  drawChoices() {
    const { state, commands } = this.page;
    const { default_model = "" } = state.session ?? {};
    const { model = null, answering_model = null, effort = null, takes_effort = null } = state.open ?? {};
    const answering = answering_model ?? model ?? default_model;
    setText($("#model"), answering);
    $("#model").setAttribute("aria-label", `Model: ${isolated(answering)}`);
    $("#model").disabled = !commands.mayChooseModel;
    setText($("#effort"), `Effort: ${effort ?? "default"}`);
    $("#effort").hidden = !commands.has("effort") || takes_effort === false;
    setHidden($("#gone"), model === null || model === answering);
    const [chosen, instead] = $("#gone").querySelectorAll("bdi");
    setText(chosen, model ?? "");
    setText(instead, answering);
  }

  async #copyLink() {
    await copyText(location.href);
    this.page.say("The link is copied.");
  }
}
