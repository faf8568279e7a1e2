// The channels of the page: the user's own one, and those that all users share.
import { el, setText, tab } from "./dom.js";

const CHANNEL = /^#\/c\/([a-z0-9_-]{1,50})$/;
const $ = (selector) => document.querySelector(selector);

export class Channels {
  #news = new Map(); // shared channels in which something was said that the user has not seen, and when, if known
  #told = 0; // the time up to which the server knows that the user has seen the channel that is shown
  #drawn = "";

  constructor(page) {
    this.page = page;
    this.root = $("#shared-channels");
    page.state.channel = tab.get("channel");
    this.#keepDraft();
    page.onSession.push(({ news = [] }) => {
      this.#news = new Map(news.filter((name) => name !== page.state.channel).map((name) => [name, 0]));
    });
    document.addEventListener("visibilitychange", () => this.#see());
    this.root.addEventListener("click", ({ target }) => {
      const place = target.closest("[data-channel]");
      if (place) this.#open(place.dataset.channel);
    });
  }

  get #names() {
    return this.page.state.session?.channels ?? [];
  }

  get #own() {
    return this.#names.length ? "Only you" : "general";
  }

  /** The name of the channel that is shown. */
  get label() {
    return this.page.state.channel ?? this.#own;
  }

  /** The address of the channel that is shown. */
  get address() {
    const { channel } = this.page.state;
    return channel === null ? location.pathname : `#/c/${channel}`;
  }

  /** Follow the window's address; a thread's address does not name its channel. */
  route(hash) {
    const named = CHANNEL.exec(hash)?.[1] ?? null;
    if (named !== null || hash === "") this.enter(named);
  }

  /** Show a channel, and read its threads; null is the user's own one. */
  enter(channel) {
    const { state, sync } = this.page;
    if (channel === state.channel) return;
    state.enterChannel(channel);
    tab.set("channel", channel);
    this.#news.delete(channel);
    this.#told = 0;
    this.page.channel.feed.clear();
    this.#keepDraft();
    if (sync.loaded) sync.readChannel();
  }

  #keepDraft() {
    const { channel } = this.page.state;
    this.page.channel.box.keepAs(channel === null ? "channel" : `channel ${channel}`);
  }

  /** Handle something new in a thread of `channel`, at a time of the server's. */
  heard(channel, at) {
    if (channel !== null && channel !== this.page.state.channel) this.#news.set(channel, Math.max(at, this.#news.get(channel) ?? 0));
  }

  /** Handle that another tab or device has shown `channel` up to a time, which an older server does not name. */
  seen(channel, until = Number.POSITIVE_INFINITY) {
    if ((this.#news.get(channel) ?? 0) <= until) this.#news.delete(channel);
  }

  /** Tell the server that the user sees what is new in the channel. */
  #see() {
    const { state, api } = this.page;
    const { channel, activeAt } = state;
    if (channel === null || document.hidden || activeAt <= this.#told) return;
    const before = this.#told;
    this.#told = activeAt;
    const told = api.post(`/app/channels/${channel}/read`, { until: activeAt });
    told.catch(() => {
      if (this.#told === activeAt) this.#told = before; // with the next change
    });
  }

  draw() {
    const { state } = this.page;
    this.#see();
    const names = this.#names;
    if (state.open && state.open.channel !== state.channel) this.enter(state.open.channel); // beside its channel
    const shown = JSON.stringify([names, state.channel, state.paneIsOpen, [...this.#news.keys()]]);
    if (shown === this.#drawn) return;
    this.#drawn = shown;
    if (state.session && state.channel !== null && !names.includes(state.channel)) return this.page.router.leaveChannel();
    this.root.replaceChildren(...names.map((name) => this.#place(name)));
    const own = this.#own;
    setText($("#to-channel .name"), own);
    const { label } = this;
    setText($("#channel-title .name"), label);
    $("#channel-title .hash").hidden = label === "Only you";
    $("#to-channel .hash").hidden = own === "Only you";
    $("#to-channel .icon").hidden = own !== "Only you";
    $("#channel .feed").setAttribute("aria-label", `Messages in ${label}`);
    $("#message").setAttribute("aria-label", `Message to ${label}`);
    const whose = state.channel === null ? "" : ". Everyone here sees it";
    setText($("#channel-words"), `and it answers in a thread${whose}`);
  }

  #open(channel) {
    const { page } = this;
    page.sidebar.switchDrawerOff();
    if (location.hash !== `#/c/${channel}`) history.pushState(null, "", `#/c/${channel}`);
    page.router.route();
    page.channel.box.box.focus();
  }

  #place(name) {
    const { state } = this.page;
    const current = name === state.channel && !state.paneIsOpen;
    const news = this.#news.has(name);
    const label = news && `${name}, new messages`;
    return el(
      "button",
      { type: "button", class: "place", "data-channel": name, "aria-current": current && "page", "data-news": news, "aria-label": label },
      el("span", { class: "hash", "aria-hidden": "true" }, "#"),
      el("span", { class: "name" }, name),
    );
  }
}
