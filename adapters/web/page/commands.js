// Commands: which ones a message box offers, and how a button issues one.
import { asApiError } from "./api.js";
import { MENTION } from "./composer.js";
import { uuid } from "./dom.js";
import { ModelList } from "./models.js";

// The choices of /effort, with the use of each.
const EFFORTS = { low: "answers soonest", medium: "", high: "thinks longest", default: "the model’s own choice" };
const ONE_MODEL = "There is only one model here.";
const $ = (selector) => document.querySelector(selector);

export class Commands {
  constructor(page) {
    this.page = page;
    this.models = new ModelList({ api: page.api, onChange: (failed) => this.#modelsCame(failed) });
    $("#stop").addEventListener("click", () => this.stop());
    $("#effort").addEventListener("click", () => page.thread.box.begin("/effort "));
    $("#thread").addEventListener("click", ({ target }) => {
      const button = target.closest("[data-action]");
      if (button) this.issue(button.dataset.action, button);
    });
  }

  get #known() {
    return this.page.state.session?.commands ?? [];
  }

  /** Whether the server knows a command of this name. */
  has(name) {
    return this.#known.some((command) => command.name === name);
  }

  /** Whether the server takes `text` as a command, if it has no files. */
  isCommand(text) {
    const [, word = "", argument = ""] = /^\/(\S+)\s*(.*)$/s.exec(text) ?? [];
    const name = word.toLowerCase();
    return this.has(name) && (!argument || name === "model" || name === "effort");
  }

  // ── issuing ─────────────────────────────────────────────────────────────────────────────────
  /** Stop the answer that is being written. */
  stop() {
    return this.page.state.isBusy && this.issue("stop", $("#stop"));
  }

  /** Issue a button's command on the open thread. */
  async issue(name, button) {
    const { page } = this;
    const thread = page.state.openId;
    if (!thread) return;
    const client_id = uuid();
    // A stop that arrives late does not stop the next answer.
    const argument = name === "stop" ? (page.state.underWay?.id ?? "").replace("turn-", "") : "";
    button.disabled = true;
    page.thread.box.box.focus(); // now, because people may have moved on when the response arrives
    try {
      const { answer, refused } = await page.api.post("/app/commands", { thread, name, argument, client_id });
      if (name !== "stop" || refused) page.takeNotice({ thread, text: answer, client_id });
    } catch (error) {
      page.thread.box.fail(asApiError(error).message);
    } finally {
      button.disabled = false;
    }
  }

  // ── completion ──────────────────────────────────────────────────────────────────────────────
  /** What may follow `begun` in the box of a thread, or of the channel (null). */
  offers(begun, thread) {
    if (/^\/\S*$/.test(begun)) return this.#offeredCommands(thread);
    if (/^\/model\s+\S*$/.test(begun)) return this.#offeredModels();
    if (/^\/effort\s+\S*$/.test(begun)) {
      return Object.entries(EFFORTS).map(([text, words]) => ({ text, words }));
    }
    if (/(^|\s)@\S*$/.test(begun)) return [{ text: `${MENTION} `, words: "ask in a new thread" }];
    return [];
  }

  #offeredCommands(thread) {
    const usable = this.#known.filter(({ name }) => thread || name === "help" || name === "model");
    return usable.map(({ name, description }) => ({
      text: `/${name}${this.#isChoice(name) ? " " : ""}`,
      words: description,
    }));
  }

  /** Whether a command is followed by one of several choices. */
  #isChoice(name) {
    return name === "effort" || (name === "model" && this.mayChooseModel);
  }

  #offeredModels() {
    this.models.load(); // what it changes is shown when it arrives
    const names = this.models.names.map((text) => ({ text, anywhere: true }));
    return names.length ? [...names, { text: "default", words: "the one that is set here", anywhere: true }] : [];
  }

  // ── the models ──────────────────────────────────────────────────────────────────────────────
  /** There may be models to choose until the server has answered that there are none. */
  get mayChooseModel() {
    return this.models.names.length > 0 || !this.models.asked;
  }

  #modelsCame(failed) {
    const words = failed ? "The list of models did not arrive: try again." : ONE_MODEL;
    for (const { box } of [this.page.thread, this.page.channel]) {
      if (!box.text.startsWith("/model ")) continue;
      if (this.models.names.length) box.refresh();
      else box.fail(words);
    }
    this.page.header.drawChoices();
  }

  /** The server has answered that there is nothing to choose. */
  modelsEmpty() {
    this.models.names = [];
    this.models.asked = true;
    this.page.thread.box.fail(ONE_MODEL);
    this.page.header.drawChoices();
  }
}
