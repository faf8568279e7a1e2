// The page's composition root: creates the parts and connects them.
import { Announcer } from "./announcer.js";
import { Api } from "./api.js";
import { installSafeDrops } from "./attach.js";
import { branchChanged, hasModels, installBranches } from "./branches.js";
import { installCode } from "./code.js";
import { Channels } from "./channels.js";
import { Commands } from "./commands.js";
import { ConnectDialog } from "./connect.js";
import { ContextPanel } from "./context.js";
import { setHidden, setText, tab, uuid } from "./dom.js";
import { EarlierButtons } from "./earlier.js";
import { installEditing } from "./edit.js";
import { installFeedback } from "./feedback.js";
import { installCopying, installKeys, installTheme } from "./keys.js";
import { MessageView, RootView } from "./message.js";
import { installDiagrams } from "./mermaid.js";
import { installMath } from "./math.js";
import { installModelMenu } from "./modelmenu.js";
import { Notify } from "./notify.js";
import { installNotes } from "./notes.js";
import { createPane } from "./pane.js";
import { Pictures } from "./pictures.js";
import { Router } from "./router.js";
import { Sender } from "./sender.js";
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
import { ThreadHeader } from "./threadheader.js";
import { installThreadSettings } from "./threadsettings.js";
import { UsageDialog } from "./usage.js";
import { Viewer } from "./viewer.js";

const $ = (selector) => document.querySelector(selector);

class Page {
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
  /** @type {(thread: string | null) => void} */
  onEdited = () => {};

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
      onBack: () => this.sender.outbox.hurry(),
      onRefresh: () => this.#readSession(),
      onThread: (thread) => this.#read(thread),
      onRefreshed: () => {
        this.context.changed();
        this.notify.refreshed(this.state);
        this.sidebar.refresh();
      },
      onMissing: () => this.router.missing(),
    });
    this.notify = new Notify({
      onWatch: (connected) => this.sync.pause(!connected),
      show: (thread) => this.router.show(thread),
      concerns: (thread) => this.state.concerns(thread),
      choice: $("#notify"),
    });
    this.viewer = new Viewer($("#viewer"));
    this.pictures = new Pictures({
      api: this.api,
      viewer: this.viewer,
      onProblem: (words) => (this.state.openId ? this.thread : this.channel).box.fail(words),
    });
    this.announcer = new Announcer($("#news"));
    this.router = new Router(this);
    this.sender = new Sender(this);
    this.commands = new Commands(this);
    this.channel = createPane(this, { root: $("#channel"), View: RootView, thread: () => null });
    this.thread = createPane(this, {
      root: $("#thread"),
      View: MessageView,
      thread: () => this.state.openId,
      begins: () => this.state.composing,
    });
    this.context = new ContextPanel({
      api: this.api,
      button: $("#context"),
      panel: $("#context-panel"),
      thread: () => this.state.openId,
      say: (words) => this.say(words),
    });
    this.connect = new ConnectDialog({ api: this.api, button: $(".no-model button"), dialog: $("#connect-dialog") });
    this.header = new ThreadHeader(this);
    this.usage = new UsageDialog({ api: this.api, button: $("#usage"), dialog: $("#usage-dialog") });
    this.channels = new Channels(this);
    this.sidebar = new Sidebar(this);
    this.earlier = new EarlierButtons(this);
    this.#listen();
  }

  #listen() {
    addEventListener("online", () => {
      this.sync.hurry();
      this.sender.outbox.hurry();
    });
    this.channel.root.addEventListener("click", (event) => this.#clicked(event));
  }

  #clicked({ target }) {
    const tried = target.closest("[data-try]");
    if (tried) return this.channel.box.write(tried.dataset.try);
    const root = target.closest("article.root");
    const own = target.closest("a, button:not([data-open])") || String(getSelection());
    if (root && !own && this.state.summary(root.dataset.id)) this.router.show(root.dataset.id);
  }

  // ── the start ───────────────────────────────────────────────────────────────────────────────
  async start() {
    await this.signIn.exchangeOldToken();
    if (!(await this.#readSession())) return;
    this.router.route({ focus: true });
    this.sync.follow();
    this.sender.outbox.run();
  }

  /** Load what the server says about itself and the user. Returns whether it did. */
  async #readSession() {
    const session = await this.sync.persist(() => this.api.whoAmI()); // another one may have signed in
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
    if (before === null || before === user) {
      tab.set("user", user);
      return false;
    }
    tab.forget();
    location.replace("/");
    return true;
  }

  #drawSession({ user, needs_token, default_model, may_connect, version, models = [] }) {
    this.commands.models.reset(models);
    setText($("#user"), needs_token ? user : "");
    $("#user").title = $("#user").textContent; // in case it is shortened
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
    else if (name === "gone") this.#gone(data.id, id);
    else if (name === "channel") this.channels.seen(data.name, data.until);
    else if (name === "notice") this.takeNotice(data);
    else if (name === "branch") branchChanged(this, data, id);
  }

  /** The open thread was read. */
  #read({ id, name, channel, entry }) {
    if (entry) this.sidebar.take(entry); // its row may not be among those that are read again
    // The reader may look away before the event of the thread arrives.
    if (entry?.busy || this.state.underWay) this.notify.sawThread({ id, name, channel, busy: true });
  }

  #changed(thread, id) {
    this.state.takeSummary(thread, id);
    this.channels.heard(thread.channel ?? null, thread.active_at);
    if (thread.entry) this.sidebar.take(thread.entry); // one of a shared channel has none
    this.notify.sawThread(thread);
  }

  #gone(thread, id) {
    if (this.state.takeGone(thread, id)) this.sidebar.gone(thread);
  }

  #replied(reply, id) {
    this.notify.sawReply(reply);
    if (reply.thread !== this.state.openId) return;
    this.state.takeReply(reply, id);
    if (reply.state === "writing" || reply.state === "queued") return;
    this.announcer.ended(reply);
    this.context.changed();
  }

  /** Show a notice of the server, and read what its command has changed. */
  takeNotice(notice) {
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

  // ── drawing ─────────────────────────────────────────────────────────────────────────────────
  draw() {
    const { state } = this;
    const { items } = this.sender.outbox;
    state.severalModels = hasModels(this);
    this.channel.feed.show(state.channelItems(items));
    this.thread.feed.show(state.threadItems(items));
    setHidden($(".empty"), !this.sync.loaded || !state.isUnused || items.length > 0);
    this.earlier.draw();
    this.announcer.started(state.underWay);
    setHidden($("#stop"), !state.isBusy);
    this.thread.root.querySelector(".feed").setAttribute("aria-busy", String(state.isBusy));
    this.onDrawn();
    this.channels.draw();
    setHidden($("#begin"), !state.composing || items.some(({ begins }) => begins));
    this.header.draw();
    this.sidebar.draw();
  }

  /** The Markdown of a message, for copying. */
  textOf(node) {
    const { id } = node.closest("article").dataset;
    return this.state.open?.messages.find((message) => message.id === id)?.text ?? "";
  }

  /** Announce `words` to screen readers. */
  say(words) {
    this.announcer.say(words);
  }
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
