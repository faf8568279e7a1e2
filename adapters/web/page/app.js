// The page's composition root: creates the parts and connects them.
import { Api, asApiError } from "./api.js";
import { installDrop, installSafeDrops } from "./attach.js";
import { branchChanged, hasModels, installBranches } from "./branches.js";
import { installCode } from "./code.js";
import { Channels } from "./channels.js";
import { Composer, MENTION } from "./composer.js";
import { ConnectDialog } from "./connect.js";
import { ContextPanel } from "./context.js";
import { copyText, el, forgetTab, isolated, setText, tab, uuid } from "./dom.js";
import { installEditing } from "./edit.js";
import { installFeedback } from "./feedback.js";
import { Feed } from "./feed.js";
import { installCopying, installKeys, installTheme } from "./keys.js";
import { MessageView, RootView } from "./message.js";
import { installDiagrams } from "./mermaid.js";
import { isPicture } from "./files.js";
import { installMath } from "./math.js";
import { Menu } from "./menu.js";
import { installModelMenu } from "./modelmenu.js";
import { ModelList } from "./models.js";
import { Notify } from "./notify.js";
import { installNotes } from "./notes.js";
import { Outbox } from "./outbox.js";
import { Pictures } from "./pictures.js";
import { SignIn } from "./signin.js";
import { installExport } from "./exporting.js";
import { installPrinting } from "./printing.js";
import { installSettings } from "./settings.js";
import { installShared } from "./shared.js";
import { installSharing } from "./sharing.js";
import { installSearch } from "./search.js";
import { Sidebar } from "./sidebar.js";
import { State } from "./state.js";
import { Sync } from "./sync.js";
import { installThreadSettings } from "./threadsettings.js";
import { UsageDialog } from "./usage.js";
import { Viewer } from "./viewer.js";

const THREAD = /^#\/t\/([0-9a-f-]{36})$/;
const NEW = "new"; // the place of a conversation that has not begun
const $ = (selector) => document.querySelector(selector);
// The choices of /effort, with what each is good for.
const EFFORTS = { low: "answers soonest", medium: "", high: "thinks longest", default: "the model’s own choice" };

class Page {
  #sentFrom = new Map(); // the open thread when a message was sent
  /** @type {string | null} */
  #announced = null; // the reply whose start was announced to screen readers
  /** @type {((session: any) => void)[]} */
  onSession = []; // called whenever the session was read
  // Parts that other modules install.
  /** @type {any} */
  settings;
  /** @type {any} */
  modelMenu;
  /** @type {any} */
  shared;
  onDrawn = () => {};

  constructor() {
    this.state = new State();
    this.api = new Api({ onLocked: () => this.signIn.lock() });
    this.signIn = new SignIn({
      api: this.api,
      dialog: $("#login"),
      button: $("#leave"),
      onIn: () => this.start(),
      onOut: () => this.sync.stop(),
      onProblem: (words) => this.channel.box.fail(words),
    });
    this.sync = new Sync({
      api: this.api,
      state: this.state,
      onEvent: (name, data, id) => this.#apply(name, data, id),
      onChange: () => this.draw(),
      onLink: (words) => this.#link(words),
      onBack: () => this.outbox.hurry(),
      onRefresh: () => this.#readSession(),
      onRefreshed: () => {
        this.context.changed();
        this.notify.refreshed(this.state);
        this.sidebar.refresh();
      },
      onMissing: () => this.missing(),
    });
    this.notify = new Notify({
      onWatch: (connected) => this.sync.pause(!connected),
      show: (thread) => this.show(thread),
      choice: $("#notify"),
    });
    this.outbox = new Outbox({
      api: this.api,
      onChange: () => this.draw(),
      onSent: (item, answer) => this.sent(item, answer),
      onRefused: (item, error, files) => this.refused(item, error, files),
    });
    this.viewer = new Viewer($("#viewer"));
    this.pictures = new Pictures({
      api: this.api,
      viewer: this.viewer,
      onProblem: (words) => (this.state.openId ? this.thread : this.channel).box.fail(words),
    });
    this.channel = this.#pane($("#channel"), RootView, "channel");
    this.thread = this.#pane($("#thread"), MessageView, null);
    this.models = new ModelList({ api: this.api, onChange: (failed) => this.#modelsCame(failed) });
    this.context = new ContextPanel({
      api: this.api,
      button: $("#context"),
      panel: $("#context-panel"),
      thread: () => this.state.openId,
      say: (words) => this.say(words),
    });
    this.connect = new ConnectDialog({ api: this.api, button: $(".no-model button"), dialog: $("#connect-dialog") });
    this.threadMenu = new Menu({ button: $("#thread-menu"), list: $("#thread-actions") });
    this.threadMenu.add({ label: "Copy the link", icon: "link", order: 50, run: () => this.#copyLink() });
    this.usage = new UsageDialog({ api: this.api, button: $("#usage"), dialog: $("#usage-dialog") });
    this.channels = new Channels(this);
    this.sidebar = new Sidebar(this);
    this.#listen();
  }

  #pane(root, View, thread) {
    const part = (selector) => root.querySelector(selector);
    const box = new Composer({
      form: part("form.composer"),
      onSend: (text, files) => this.send(thread ? null : this.state.openId, text, files, !thread && this.state.composing),
      offers: (begun) => this.offers(begun, thread ? null : this.state.openId),
      isCommand: (text) => this.#isCommand(text),
      say: (words) => this.say(words),
      limits: () => this.state.session?.files ?? { most: 0, bytes: 0, total: 0 },
      onView: ({ file, pasted }, putBack) => this.view(file, pasted, putBack),
    });
    installDrop({
      root,
      zone: part(".drop"),
      allowed: () => box.files.allowed,
      onDrop: (data) => box.files.drop(data),
    });
    const feed = new Feed({
      scroller: part(".scroll"),
      list: part(".feed"),
      pill: part(".pill"),
      create: (item) => new View(item, this.pictures),
      onPastEnd: () => box.box.focus(),
    });
    return { root, box, feed };
  }

  #listen() {
    $("#close").addEventListener("click", () => this.close());
    $("#back").addEventListener("click", () => this.close());
    $("#stop").addEventListener("click", () => this.stop());
    $("#effort").addEventListener("click", () => this.thread.box.begin("/effort "));
    $(".older").addEventListener("click", () => this.#older());
    addEventListener("popstate", () => this.route({ focus: true }));
    addEventListener("online", () => {
      this.sync.hurry();
      this.outbox.hurry();
    });
    this.channel.root.addEventListener("click", (event) => this.#clicked(event));
    this.thread.root.addEventListener("click", ({ target }) => {
      const button = target.closest("[data-action]");
      if (button) this.act(button.dataset.action, button);
    });
  }

  #clicked({ target }) {
    const tried = target.closest("[data-try]");
    if (tried) return this.channel.box.write(tried.dataset.try);
    const root = target.closest("article.root");
    const own = target.closest("a, button:not([data-open])") || String(getSelection());
    if (root && !own && this.state.summary(root.dataset.id)) this.show(root.dataset.id);
  }

  // ── the start ───────────────────────────────────────────────────────────────────────────────
  async start() {
    await this.signIn.exchangeOldToken();
    if (!(await this.#readSession())) return;
    this.route({ focus: true });
    this.sync.follow();
    this.outbox.run();
  }

  /** Load what the server says about itself and the user. Returns whether it did. */
  async #readSession() {
    const session = await this.sync.persist(() => this.api.get("/app/session"));
    if (!session || this.#isOthers(session.user)) return false;
    this.api.user = session.user;
    this.state.session = session;
    this.#drawSession(session);
    this.draw();
    for (const tell of this.onSession) tell(session);
    return true;
  }

  /** Whether this tab has another user's drafts and messages; then they go, and the page starts again. */
  #isOthers(user) {
    const before = tab.get("user");
    if (before !== null && before !== user) forgetTab();
    tab.set("user", user);
    if (before === null || before === user) return false;
    location.replace("/");
    return true;
  }

  #drawSession({ user, needs_token, default_model, may_connect, version, models = [] }) {
    this.models.reset(models);
    setText($("#user"), needs_token ? user : "");
    $("#leave").hidden = !needs_token;
    $(".no-model").hidden = default_model !== "demo" && default_model !== "echo";
    $(".no-model button").hidden = !may_connect;
    $(".no-model .by-hand").hidden = may_connect;
    setText($("#version"), `Threadline ${version}.`);
    for (const { box } of [this.channel, this.thread]) box.files.button.hidden = !box.files.allowed;
  }

  #link(words) {
    setText($("#link"), words);
    document.body.classList.toggle("offline", Boolean(words));
  }

  // ── what the server tells ───────────────────────────────────────────────────────────────────
  #apply(name, data, id) {
    if (name === "message") this.state.takeMessage(data, id);
    else if (name === "reply") this.#replied(data, id);
    else if (name === "thread") this.#changed(data, id);
    else if (name === "entry") this.sidebar.take(data);
    else if (name === "gone") this.#gone(data.id);
    else if (name === "notice") this.#noticed(data);
    else if (name === "branch") branchChanged(this, data);
  }

  #changed(thread, id) {
    this.state.takeSummary(thread, id);
    this.channels.heard(thread.channel ?? null);
    if (thread.entry) this.sidebar.take(thread.entry); // one of a shared channel has none
    this.notify.sawThread(thread);
  }

  #gone(id) {
    this.state.forget(id);
    this.sidebar.gone(id);
  }

  #replied(reply, id) {
    this.notify.sawReply(reply);
    if (reply.thread !== this.state.openId) return;
    this.state.takeReply(reply, id);
    const over = reply.state !== "writing" && reply.state !== "queued";
    if (over && this.#announced === reply.id) this.say(ending(reply));
    if (over) this.#announced = null;
    if (over) this.context.changed();
  }

  /** Screen readers announce a reply's start and end, not every word. */
  #announce(reply) {
    if (reply?.state !== "writing" || this.#announced === reply.id) return;
    this.#announced = reply.id;
    this.say("Threadline is writing.");
  }

  #noticed(notice) {
    if (!notice.text) return; // its effect is visible
    this.state.takeNotice(notice);
    this.say(notice.text);
    // A command may have changed the thread's model or context.
    if (notice.thread === null || notice.thread !== this.state.openId) return;
    this.sync.readThread(notice.thread);
    this.context.changed();
  }

  /** Show a sentence of the server below the open thread's messages. */
  noticed(text) {
    this.state.takeNotice({ thread: this.state.openId, text, client_id: uuid() });
    this.say(text);
    this.draw();
  }

  async #older() {
    if (await this.sync.loadOlder()) this.channel.feed.keepPlace(() => this.draw());
  }

  // ── sending ─────────────────────────────────────────────────────────────────────────────────
  send(thread, text, files, begins = false) {
    if (thread === null && !begins && !text.startsWith("/") && !text.toLowerCase().includes(MENTION)) {
      const add = el("button", { type: "button", class: "quiet" }, `Add ${MENTION}`);
      this.channel.box.fail(`Mention ${MENTION} to get an answer.`);
      this.channel.box.error.append(" ", add);
      add.addEventListener("click", () => this.channel.box.write(`${MENTION} ${text}`));
      return false;
    }
    if (thread === null && !begins && !files.length && text.trim().toLowerCase() === MENTION) {
      this.channel.box.fail(`Write your question after ${MENTION}.`);
      return false;
    }
    const channel = thread === null && !begins ? this.state.channel : null;
    const { client_id } = this.outbox.add(thread, text, files, begins, channel);
    this.#sentFrom.set(client_id, this.#place);
    (thread === null && !begins ? this.channel : this.thread).feed.toEnd();
    return true;
  }

  /** Where the reader is. */
  get #place() {
    return this.state.composing ? NEW : this.state.openId;
  }

  sent({ client_id, thread, channel = null }, { thread: id, message, answer }) {
    if (answer !== null && id === null && this.state.composing) this.close(); // the channel shows it
    if (answer !== null) this.#noticed({ thread: id, text: answer, client_id });
    if (thread !== null || id === null || answer !== null) return;
    if (message) this.begin(id, message, channel);
    const stayed = (this.#sentFrom.get(client_id) ?? null) === this.#place;
    if (stayed) this.show(id); // otherwise the writer has moved on
  }

  /** What is known of a new thread before it is loaded. */
  begin(id, message, channel) {
    if (this.state.openId === id) return;
    this.first = { id, channel, name: message.text, model: null, epoch: message.epoch, messages: [{ ...message, state: "done" }] };
  }

  refused({ thread, text, begins = false }, error, files) {
    if (begins && this.state.composing) return this.thread.box.fail(error.message, text, files);
    if (thread === null) return this.channel.box.fail(error.message, text, files);
    if (thread === this.state.openId) return this.thread.box.fail(error.message, text, files);
    tab.set(`draft.${thread}`, text);
    this.thread.box.files.giveBack(files, thread);
  }

  /** Open a file that is not sent yet. */
  async view(file, pasted, putBack) {
    if (isPicture(file)) return this.viewer.showPicture(file.name, file);
    this.viewer.showText(pasted ? "Pasted text" : file.name, await file.text(), putBack);
  }

  stop() {
    return this.state.isBusy && this.act("stop", $("#stop"));
  }

  /** Issue a button's command on the open thread. */
  async act(name, button) {
    const thread = this.state.openId;
    if (!thread) return;
    const client_id = uuid();
    button.disabled = true;
    this.thread.box.box.focus(); // now, because people may have moved on when the response arrives
    try {
      const { answer, refused } = await this.api.post("/app/commands", { thread, name, client_id });
      if (name !== "stop" || refused) this.#noticed({ thread, text: answer, client_id });
    } catch (error) {
      this.thread.box.fail(asApiError(error).message);
    } finally {
      button.disabled = false;
    }
  }

  offers(begun, thread) {
    const { commands = [] } = this.state.session ?? {};
    if (/^\/\S*$/.test(begun)) {
      const usable = commands.filter(({ name }) => thread || name === "help" || name === "model");
      return usable.map(({ name, description }) => ({
        text: `/${name}${this.#isChoice(name) ? " " : ""}`,
        words: description,
      }));
    }
    if (/^\/model\s+\S*$/.test(begun)) return this.#offeredModels();
    if (/^\/effort\s+\S*$/.test(begun)) {
      return Object.entries(EFFORTS).map(([text, words]) => ({ text, words }));
    }
    if (/(^|\s)@\S*$/.test(begun)) return [{ text: `${MENTION} `, words: "ask in a new thread" }];
    return [];
  }

  /** Whether the server takes `text` as a command, if it has no files. */
  #isCommand(text) {
    const [, word = "", argument = ""] = /^\/(\S+)\s*(.*)$/s.exec(text) ?? [];
    const name = word.toLowerCase();
    const known = (this.state.session?.commands ?? []).some((command) => command.name === name);
    return known && (!argument || name === "model" || name === "effort");
  }

  /** Whether a command is followed by one of several choices. */
  #isChoice(name) {
    return name === "effort" || (name === "model" && this.#mayChooseModel);
  }

  /** There may be models to choose until the server has answered that there are none. */
  get #mayChooseModel() {
    return this.models.names.length > 0 || !this.models.asked;
  }

  #offeredModels() {
    this.models.load(); // what it changes is shown when it arrives
    const names = this.models.names.map((text) => ({ text, anywhere: true }));
    return names.length ? [...names, { text: "default", words: "the one that is set here", anywhere: true }] : [];
  }

  #modelsCame(failed) {
    const words = failed ? "The list of models did not arrive: try again." : "There is only one model here.";
    for (const { box } of [this.thread, this.channel]) {
      if (!box.text.startsWith("/model ")) continue;
      if (this.models.names.length) box.refresh();
      else box.fail(words);
    }
    this.#drawChoices();
  }

  /** The server has answered that there is nothing to choose. */
  modelsEmpty() {
    this.models.names = [];
    this.models.asked = true;
    this.thread.box.fail("There is only one model here.");
    this.#drawChoices();
  }

  // ── the thread that is open ─────────────────────────────────────────────────────────────────
  show(id) {
    if (id === this.state.openId) return this.thread.box.box.focus();
    if (this.state.composing) history.replaceState(null, "", `#/t/${id}`);
    else history.pushState(null, "", `#/t/${id}`);
    this.route({ focus: true });
  }

  /** Open an empty thread: its first message begins a conversation. */
  compose() {
    if (this.state.composing) return this.thread.box.box.focus();
    history.pushState(null, "", `#/${NEW}`);
    this.route({ focus: true });
    this.thread.box.box.focus();
  }

  /** The address names a thread that does not exist or belongs to another user. */
  missing() {
    this.close();
    this.channel.box.fail("This thread does not exist, or not any more.");
    this.say("This thread does not exist, or not any more.");
  }

  close() {
    const id = this.state.openId;
    if (location.hash) history.pushState(null, "", this.channels.address);
    this.route();
    if (!this.channel.feed.focus(id)) this.channel.box.box.focus();
  }

  /** The channel that was open is not shared any more. */
  leaveChannel() {
    if (location.hash.startsWith("#/c/")) history.replaceState(null, "", location.pathname);
    this.channels.enter(null);
    this.route();
  }

  route({ focus = false } = {}) {
    this.channels.route(location.hash);
    const id = THREAD.exec(location.hash)?.[1] ?? null;
    const composing = location.hash === `#/${NEW}`;
    const changed = id !== this.state.openId || composing !== this.state.composing;
    this.state.openId = id;
    this.state.composing = composing;
    this.thread.root.hidden = id === null && !composing;
    document.body.classList.toggle("threaded", id !== null || composing);
    document.body.classList.toggle("composing", composing);
    if (changed) this.context.reset();
    if (id && changed) this.#enter(id);
    if (composing && changed) this.#enterNew();
    this.thread.box.box.placeholder = composing ? "Ask anything" : "Reply…";
    if (focus) this.#focusBox(id ?? (composing ? NEW : null));
    this.draw();
  }

  #enter(id) {
    this.thread.feed.clear();
    this.thread.box.keepAs(id);
    if (this.first && this.first.id === id) this.state.takeThread(this.first);
    this.first = null;
    this.sync.readThread(id);
  }

  #enterNew() {
    this.thread.feed.clear();
    this.thread.box.keepAs(NEW);
  }

  #focusBox(id) {
    const { box } = id ? this.thread : this.channel;
    // On a phone the keyboard would cover the thread.
    if (!matchMedia("(pointer: coarse)").matches) box.box.focus();
    else if (id) $("#thread-title").focus();
  }

  // ── drawing ─────────────────────────────────────────────────────────────────────────────────
  draw() {
    const { state, outbox } = this;
    state.severalModels = hasModels(this);
    this.channel.feed.show(state.channelItems(outbox.items));
    this.thread.feed.show(state.threadItems(outbox.items));
    $(".empty").hidden = !this.sync.loaded || !state.isUnused || outbox.items.length > 0;
    $(".older").hidden = state.older === null;
    const busy = state.isBusy;
    this.#announce(state.underWay);
    $("#stop").hidden = !busy;
    this.thread.root.querySelector(".feed").setAttribute("aria-busy", String(busy));
    this.onDrawn();
    this.channels.draw();
    $("#begin").hidden = !state.composing || outbox.items.some(({ begins }) => begins);
    const entry = this.sidebar.entry(state.openId);
    this.#drawTitle(entry?.name ?? state.summary(state.openId)?.name ?? state.open?.name ?? "Thread");
    this.sidebar.draw();
  }

  #drawTitle(name) {
    if (this.shared?.isOpen) return;
    const { openId, composing } = this.state;
    const title = openId ? name : composing ? "New conversation" : this.channels.label;
    setText($("#thread-title"), openId || composing ? title : "Thread");
    this.nameWindow(title);
    this.#drawChoices();
  }

  /** The window's title, to which the notifier adds what happens in the background. */
  nameWindow(name) {
    this.notify.title = `${name.slice(0, 60)} · Threadline`;
  }

  /** The open thread's model and effort. */
  #drawChoices() {
    const { commands = [], default_model = "" } = this.state.session ?? {};
    const { model = null, answering_model = null, effort = null, takes_effort = null } = this.state.open ?? {};
    const answering = answering_model ?? model ?? default_model;
    setText($("#model"), answering);
    $("#model").setAttribute("aria-label", `Model: ${isolated(answering)}`);
    $("#model").disabled = !this.#mayChooseModel;
    setText($("#effort"), `Effort: ${effort ?? "default"}`);
    const known = commands.some(({ name }) => name === "effort");
    $("#effort").hidden = !known || takes_effort === false;
    $("#gone").hidden = model === null || model === answering;
    const [chosen, instead] = $("#gone").querySelectorAll("bdi");
    setText(chosen, model ?? "");
    setText(instead, answering);
  }

  async #copyLink() {
    await copyText(location.href);
    this.say("The link is copied.");
  }

  /** The Markdown of a message, for copying. */
  textOf(node) {
    const { id } = node.closest("article").dataset;
    return this.state.open?.messages.find((message) => message.id === id)?.text ?? "";
  }

  /** Announce `words` to screen readers, politely and once. */
  say(words) {
    const news = $("#news");
    news.replaceChildren();
    requestAnimationFrame(() => news.replaceChildren(words));
  }
}

function ending({ state, text }) {
  if (state === "stopped") return "The answer was stopped.";
  if (state === "failed") return "Threadline could not answer.";
  if (state === "cut_off") return "The answer broke off.";
  return `Threadline answered, ${text.trim().split(/\s+/).length} words.`;
}

const page = new Page();
installTheme($("#theme"));
installSafeDrops();
installCode({ say: (words) => page.say(words) });
installDiagrams();
installMath();
installNotes();
installCopying({ say: (words) => page.say(words), source: (button) => page.shared.textOf(button) ?? page.textOf(button) });
installKeys(page);
installFeedback(page, $("#thread"));
installSettings(page);
installModelMenu(page);
installThreadSettings(page);
installExport(page);
installSharing(page);
installShared(page);
installPrinting(page);
installSearch(page);
installBranches(page);
installEditing(page);
page.start();
