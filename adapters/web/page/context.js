// What the model gets with the next question: a button with the share of the context that is used,
// and a panel with a bar and its numbers. Nothing is loaded before the panel is opened.
import { ApiError, asApiError } from "./api.js";
import { el, isolated, setText } from "./dom.js";
import { counted, percent, tokens } from "./format.js";

const NAMES = { prompt: "System prompt", instructions: "Your instructions", summary: "Summary", messages: "Messages", files: "Files" };
const COUNTED = new Set(["messages", "files"]);
const UNKNOWN = "This server does not describe the context of a thread.";

export class ContextPanel {
  #loading = false;
  #again = false;
  #shown = ""; // the report that is shown, as JSON

  /** `button` opens `panel`; `thread()` is the open thread's id; `say` announces a sentence. */
  constructor({ api, button, panel, thread, say }) {
    this.api = api;
    this.button = button;
    this.panel = panel;
    this.thread = thread;
    this.say = say;
    this.label = button.querySelector(".label");
    this.content = panel.querySelector(".content");
    button.addEventListener("click", () => (this.isOpen ? this.close() : this.open()));
    panel.querySelector(".tool").addEventListener("click", () => this.close());
  }

  get isOpen() {
    return !this.panel.hidden;
  }

  async open() {
    this.#show(true);
    if (!this.#shown) this.content.replaceChildren(el("p", { class: "words" }, "Loading…"));
    const report = await this.update();
    if (report && this.isOpen) this.say(spoken(report));
  }

  /** Close the panel; the focus returns to the button if it was inside. */
  close() {
    const inside = this.panel.contains(document.activeElement);
    this.#show(false);
    if (inside) this.button.focus();
  }

  /** Handle that another thread is shown. */
  reset() {
    this.#show(false);
    this.#forget();
  }

  /** The context may have changed: load it if it is on the screen, else forget it. */
  changed() {
    if (this.isOpen) this.update();
    else this.#forget();
  }

  /** Load the report and show it; one request at a time. Returns it unless something else is shown. */
  async update() {
    this.#again = this.#loading;
    if (this.#loading) return null;
    this.#loading = true;
    const id = this.thread();
    try {
      const report = await this.api.get(`/conversation/${id}/context`);
      return this.#isFor(id) ? this.#draw(read(report)) : null;
    } catch (error) {
      if (this.#isFor(id)) this.#fail(asApiError(error));
      return null;
    } finally {
      this.#loading = false;
      if (this.#again && this.isOpen) this.update();
    }
  }

  #isFor(id) {
    return this.isOpen && id === this.thread();
  }

  #show(open) {
    this.panel.hidden = !open;
    this.button.setAttribute("aria-expanded", String(open));
  }

  #forget() {
    this.#shown = "";
    setText(this.label, "Context");
    this.content.replaceChildren();
  }

  /** @param {ApiError} error */
  #fail({ status, message }) {
    this.#forget();
    const words = status === 404 || status === 405 ? UNKNOWN : message;
    this.content.replaceChildren(el("p", { class: "error", role: "alert" }, words));
  }

  /** Restore the open summary and the focus after `change`. */
  #keepPlace(change) {
    const part = (name) => /** @type {any} */ (this.content.querySelector(name));
    const wasOpen = part("details")?.open;
    const focused = ["summary", ".plain"].find((name) => part(name)?.matches(":focus"));
    change();
    if (wasOpen && part("details")) part("details").open = true;
    if (focused) (part(focused) ?? this.button).focus();
  }

  #draw(report) {
    const same = JSON.stringify(report);
    if (same === this.#shown) return report;
    this.#shown = same;
    setText(this.label, `Context ${percent(report.tokens, report.budget)}`.trim());
    this.#keepPlace(() => this.content.replaceChildren(...drawn(report)));
    return report;
  }
}

// ── the report ────────────────────────────────────────────────────────────────────────────────
const amount = (value) => (Number.isFinite(value) && value > 0 ? value : 0);

/** The server's report, with every missing or wrong field replaced. */
function read({ model, budget, window, parts, cached_tokens, summarized, left_out, summary }) {
  const known = (Array.isArray(parts) ? parts : []).map((part) => ({
    kind: String(part?.kind ?? ""),
    tokens: amount(part?.tokens),
    count: amount(part?.count),
  }));
  const sum = known.reduce((total, part) => total + part.tokens, 0);
  return {
    model: String(model ?? ""),
    budget: amount(budget),
    window: amount(window),
    parts: known,
    tokens: sum,
    free: Math.max(0, amount(budget) - sum),
    cached: Math.min(amount(cached_tokens), sum),
    summarized: amount(summarized),
    leftOut: amount(left_out),
    summary: typeof summary === "string" ? summary : "",
  };
}

/** A part's name, with the number of messages or files; an unknown kind from a newer server keeps its own name. */
function nameOf({ kind, count }) {
  const name = NAMES[kind] ?? kind;
  return COUNTED.has(kind) && count ? `${name} (${tokens(count)})` : name;
}

function spoken({ tokens: used, budget, model }) {
  const most = budget ? ` of ${tokens(budget)}` : "";
  return `The next question sends about ${tokens(used)}${most} tokens to ${isolated(model || "the model")}.`;
}

// ── drawing ───────────────────────────────────────────────────────────────────────────────────
function drawn(report) {
  return [lead(report), bar(report), table(report), ...facts(report), summaryOf(report)].filter(Boolean);
}

function lead({ tokens: used, budget, model }) {
  const most = budget ? ` of at most ${tokens(budget)}` : "";
  const to = model ? el("bdi", {}, model) : "the model";
  return el("p", { dir: "auto" }, `The next question sends about ${tokens(used)}${most} tokens to `, to, ".");
}

/** The bar is a picture of the table below it. The cached part is the request's beginning. */
function bar({ parts, tokens: used, free, cached }) {
  const whole = used + free;
  const node = el("div", { class: "meter", "aria-hidden": "true" });
  for (const part of [...parts, { kind: "free", tokens: free }]) {
    if (part.tokens) node.append(wide(el("span", { class: `part ${classOf(part.kind)}` }), part.tokens, whole));
  }
  if (cached && whole) node.append(wide(el("span", { class: "cached" }), cached, whole));
  return node;
}

/** CSP forbids style attributes, but not the style object. */
function wide(node, part, whole) {
  node.style.inlineSize = `${(100 * part) / whole}%`;
  return node;
}

const classOf = (kind) => (kind === "free" || NAMES[kind] ? `kind-${kind}` : "kind-other");

function table({ parts, budget, free, tokens: used, cached }) {
  const heads = ["Part", "Tokens", "Share"].map((words) => el("th", { scope: "col" }, words));
  const rows = parts.map((part) => row(part.kind, nameOf(part), part.tokens, budget || used));
  if (budget) rows.push(row("free", "Free", free, budget));
  if (cached) rows.push(row("cached", "Cached, last time", cached, budget || used));
  return el(
    "table",
    {},
    el("caption", { class: "sr" }, "Parts of the next request"),
    el("thead", {}, el("tr", {}, ...heads)),
    el("tbody", {}, ...rows),
  );
}

function row(kind, name, count, whole) {
  const sign = el("span", { class: `key ${kind === "cached" ? "cached" : classOf(kind)}`, "aria-hidden": "true" });
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, sign, el("bdi", {}, name)),
    el("td", {}, tokens(count)),
    el("td", {}, percent(count, whole)),
  );
}

function facts({ window, summarized, leftOut }) {
  const older = [
    summarized && `${counted(summarized, "older message is", "older messages are")} summarized.`,
    leftOut && `${counted(leftOut, "older message is", "older messages are")} left out.`,
    window && `The model’s window has ${tokens(window)} tokens.`,
  ].filter(Boolean);
  return older.length ? [el("p", { class: "words", dir: "auto" }, older.join(" "))] : [];
}

function summaryOf({ summary }) {
  if (!summary.trim()) return null;
  return el(
    "details",
    {},
    el("summary", {}, "Text of the summary"),
    el("p", { class: "plain", dir: "auto", tabindex: "0", role: "group", "aria-label": "Summary" }, summary),
  );
}
