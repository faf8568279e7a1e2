// One message in the page: created once, updated where it changed.
import { el, icon, setHidden, setText } from "./dom.js";
import { FileList } from "./filelist.js";
import { clockTime, costs, counted, dayName, fullTime, moment } from "./format.js";
import { VersionSwitch } from "./branches.js";
import { OwnTools } from "./edit.js";
import { VoteBar } from "./feedback.js";
import { Body } from "./patch.js";

const STATES = {
  queued: "Waiting for its turn",
  stopped: "Stopped",
  failed: "Not answered",
  cut_off: "Broken off",
  sending: "Sending…",
  waiting: "Not sent yet; tried again by itself",
};
const NOBODY = "local"; // the user's name while no tokens are set
// The actions: command, label, icon.
const ACTIONS = {
  continue: ["Go on", "more"],
  retry: ["Try again", "retry"],
  undo: ["Undo", "retry"],
  "retry-with": ["", "chevron", "Try again with…"],
};
let made = 0;

/** A feed item as an article, empty until `update`; `item.id` never changes. */
export class MessageView {
  #body = new Body();
  #names = {};
  #notice = null;
  #votes = new VoteBar();
  #versions = new VersionSwitch();
  #tools = new OwnTools();

  constructor(item, pictures) {
    const key = `m${++made}`;
    this.files = new FileList(pictures);
    this.#names = {
      who: el("h3", { class: "who", id: `${key}-who` }),
      when: el("time", { class: "when", id: `${key}-when` }),
      day: el("p", { class: "day", hidden: true }),
      state: el("span", { class: "state" }),
      costs: el("span", { class: "costs", dir: "auto" }),
      copy: button("copy", "Copy", { "data-copy": "message" }),
      actions: el("span", { class: "actions" }),
    };
    const { who, when, day, state, costs: cost, copy, actions } = this.#names;
    const tools = el("span", { class: "tools" }, actions, this.#votes.node, copy);
    this.foot = el("footer", { class: "foot" }, this.#versions.node, state, cost, tools);
    this.node = el(
      "article",
      { class: `message from-${item.role}`, tabindex: "-1", "aria-labelledby": `${who.id} ${when.id}` },
      day,
      el("span", { class: "face", "aria-hidden": "true" }),
      el("header", { class: "head" }, who, when, this.#tools.node),
      this.#body.node,
      this.files.node,
      this.foot,
      this.#votes.form,
    );
  }

  /** Show `item`; `before` is the item above it, for the day's heading. */
  update(item, before = this.before) {
    if (item === this.item && before?.created_at === this.before?.created_at) return;
    this.item = item;
    this.before = before;
    const writing = item.state === "writing";
    this.node.classList.toggle("writing", writing);
    this.node.classList.toggle("pending", item.state === "sending" || item.state === "waiting");
    this.node.dataset.id = item.id;
    this.node.dataset.state = item.state ?? "";
    this.#head(item, before);
    this.#text(item, writing);
    if (item.role === "user") this.#body.markBlank();
    this.files.show(item);
    this.#foot(item, writing);
  }

  #head(item, before) {
    const { who, when, day } = this.#names;
    const date = moment(item.created_at);
    const person = item.author && item.author !== NOBODY ? item.author : "You";
    setText(who, item.role === "user" ? person : "Threadline");
    setText(this.node.querySelector(".face"), item.role === "user" ? person[0].toUpperCase() : "");
    setText(when, clockTime(date));
    when.dateTime = date.toISOString();
    when.title = fullTime(date);
    setHidden(day, before !== undefined && dayName(moment(before.created_at)) === dayName(date));
    if (!day.hidden) setText(day, dayName(date));
  }

  #text(item, writing) {
    const shown = item.blocks?.length ? item.blocks : item.html;
    if (item.role !== "notice" && shown) return this.#body.show(shown, writing);
    if (writing || item.state === "queued") return this.#body.show("", writing);
    if (this.#notice === item.text) return;
    this.#notice = item.text;
    const own = item.role === "user";
    const words = item.text ?? "";
    this.#body.node.replaceChildren(...(own ? [plainText(words)] : plainBlocks(words)));
  }

  #foot(item, writing) {
    const { state, costs: cost, copy, actions } = this.#names;
    const wanted = item.actions ?? [];
    if (actions.dataset.of !== wanted.join()) {
      actions.replaceChildren(...wanted.map((name) => action(name)));
      actions.dataset.of = wanted.join();
    }
    setText(state, STATES[item.state] ?? "");
    showCosts(cost, item);
    this.#votes.show(item.feedback);
    this.#versions.show(item);
    this.#tools.show(item);
    setHidden(copy, writing || !item.text || item.role !== "assistant");
    const said = state.textContent || cost.textContent || wanted.length || item.versions;
    setHidden(this.foot, !said && copy.hidden);
  }
}

/** The first message of a thread, with its number of replies. */
export class RootView extends MessageView {
  #open;
  #count;
  #last;

  constructor(item, pictures) {
    super(item, pictures);
    this.#count = el("span", { class: "count" });
    this.#last = el("span", { class: "last" });
    this.#open = el(
      "button",
      { type: "button", class: "replies", "data-open": item.id },
      icon("thread"),
      this.#count,
      this.#last,
      el("span", { class: "sr" }, ", open the thread"),
    );
    this.node.append(this.#open);
    this.node.classList.add("root");
  }

  update(item, before = this.before) {
    if (item === this.item && before?.created_at === this.before?.created_at) return;
    super.update(item, before);
    this.#show(item);
  }

  #show({ thread }) {
    this.#open.hidden = !thread;
    if (!thread) return;
    this.node.classList.toggle("busy", thread.busy);
    this.node.classList.toggle("current", Boolean(thread.open));
    this.#open.setAttribute("aria-current", thread.open ? "true" : "false");
    const replies = counted(thread.replies, "reply", "replies");
    setText(this.#count, thread.replies ? replies : thread.busy ? "" : "Open thread");
    setText(this.#last, thread.busy ? "writing…" : clockTime(moment(thread.updated_at)));
  }
}

/** The model's name may be any text: it is isolated, so that it cannot reorder the words around it. */
function showCosts(node, item) {
  const [model, words] = [item.model ?? "", costs(item)];
  const parts = [model && el("bdi", {}, model), model && words && " · ", words];
  const text = parts.map((part) => (part instanceof Node ? part.textContent : part)).join("");
  if (node.textContent !== text) node.replaceChildren(...parts.filter(Boolean));
}

function button(sign, words, data) {
  const label = el("span", { class: "label" }, words);
  return el("button", { type: "button", class: "quiet", title: words, ...data }, icon(sign), label);
}

function action(name) {
  const [words, sign, label] = ACTIONS[name] ?? [name, "more"];
  return button(sign, words, { "data-action": name, ...(label ? { title: label, "aria-label": label } : {}) });
}

/** A person's text: no Markdown, white space preserved. */
function plainText(text) {
  return el("p", { class: "plain", dir: "auto" }, text);
}

/** The server's own text: paragraphs, `- ` lists, `code` and fenced text, nothing else. */
function plainBlocks(text) {
  const parts = text.split(/^```\n([\s\S]*?)\n```$/m); // every other part is fenced
  const blocks = parts.flatMap((part, k) => (k % 2 ? [plainText(part)] : plainLines(part)));
  return blocks.length ? blocks : [el("p")];
}

function plainLines(text) {
  const blocks = [];
  for (const line of text.split("\n").filter((each) => each.trim())) {
    const listed = line.startsWith("- ");
    if (listed && blocks.at(-1)?.localName !== "ul") blocks.push(el("ul"));
    const parts = inlineCode(listed ? line.slice(2) : line);
    if (listed) blocks.at(-1).append(el("li", {}, ...parts));
    else blocks.push(el("p", {}, ...parts));
  }
  return blocks;
}

function inlineCode(line) {
  const parts = line.split(/`([^`]+)`/);
  return parts.map((part, k) => (k % 2 ? el("code", {}, part) : part));
}
