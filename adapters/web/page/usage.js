// What a person used: a dialog with a chart of the last days, what is left of the budgets, and a
// button that saves everything that the server knows of the person.
// Nothing is loaded before it is opened.
import { asApiError } from "./api.js";
import { el, saveFile, setText } from "./dom.js";
import { counted, dates, fullTime, moment, money, percent, tokens } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const [BAR, GAP, HEIGHT] = [16, 4, 120]; // pixels of the chart
const DAY_MS = 86_400_000;
const EXPORT_MS = 300_000; // an export has everything that a person ever wrote
const WHOSE = {
  person: "Your budget",
  channel: "This channel’s budget",
  workspace: "This workspace’s budget",
  all: "The budget of everyone here",
};

export class UsageDialog {
  #loading = false;

  /** `button` opens `dialog`. */
  constructor({ api, button, dialog }) {
    this.api = api;
    this.dialog = dialog;
    this.content = dialog.querySelector(".content");
    this.exporting = dialog.querySelector(".export");
    this.exported = dialog.querySelector(".exported");
    button.addEventListener("click", () => this.open());
    this.exporting.addEventListener("click", () => this.#export());
  }

  async #export() {
    this.exporting.disabled = true;
    setText(this.exported, "Reading…");
    try {
      saveFile(await this.api.blob("/me/export", EXPORT_MS), "threadline-export.jsonl");
      setText(this.exported, "Saved.");
    } catch (error) {
      setText(this.exported, asApiError(error).message);
    } finally {
      this.exporting.disabled = false;
    }
  }

  async open() {
    this.dialog.showModal();
    setText(this.exported, "");
    if (this.#loading) return;
    this.#loading = true;
    this.content.replaceChildren(el("p", { class: "words" }, "Loading…"));
    try {
      this.content.replaceChildren(...drawn(await this.api.get("/usage")));
    } catch (error) {
      const { status, message } = asApiError(error);
      const words = status === 404 ? "This server does not count usage." : message;
      this.content.replaceChildren(el("p", { class: "error", role: "alert" }, words));
    } finally {
      this.#loading = false;
    }
  }
}

const inWords = dates({ dateStyle: "medium", timeZone: "UTC" });
const dayIn = ({ day }) => inWords.format(new Date(day));
const number = (value) => (Number.isFinite(value) && value > 0 ? value : 0);
const list = (value) => (Array.isArray(value) ? value : []);

function drawn({ today, month, budgets, days, first_day, last_day }) {
  const all = filled(list(days), String(first_day ?? ""), String(last_day ?? ""));
  const inMoney = all.some((day) => number(day.cost) > 0);
  const worth = (day) => number(inMoney ? day.cost : day.total_tokens);
  return [
    el("p", {}, `Today: ${used(today ?? {})}.`),
    el("p", {}, `This month: ${used(month ?? {})}.`),
    all.length ? chart(all, worth, inMoney ? String(month?.currency ?? "USD") : null) : null,
    ...list(budgets).map(budget),
    number(month?.requests_without_price) ? unpriced(month) : null,
  ].filter(Boolean);
}

const used = ({ total_tokens, requests, cost, currency }) =>
  `${counted(number(total_tokens), "token", "tokens")} in ${counted(number(requests), "request", "requests")}, ${money(number(cost), currency)}`;

function unpriced({ requests_without_price: count }) {
  const whose = counted(count, "request", "requests");
  return el("p", { class: "words" }, `The price of ${whose} this month is not known: only the tokens are counted.`);
}

/** Every day from the first to the last; those without usage are empty. */
function filled(days, first, last) {
  const known = new Map(days.map((day) => [String(day?.day), day]));
  const [begin, end] = [Date.parse(first), Date.parse(last)];
  if (!(begin <= end) || end - begin > 400 * DAY_MS) return [];
  const all = [];
  for (let at = begin; at <= end; at += DAY_MS) {
    const day = new Date(at).toISOString().slice(0, 10);
    all.push({ day, ...known.get(day) });
  }
  return all;
}

function svg(tag, props, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/** Bars by day, of money in `currency`, or null for tokens; a table has the numbers for screen readers. */
function chart(days, worth, currency) {
  const shown = (day) => (currency === null ? tokens(worth(day)) : money(worth(day), currency));
  const most = Math.max(...days.map(worth)) || 1;
  const bars = days.map((day, k) => {
    const height = worth(day) ? Math.max(2, (HEIGHT * worth(day)) / most) : 0;
    const place = { x: k * (BAR + GAP), y: HEIGHT - height, width: BAR, height, rx: 2 };
    return svg("rect", { class: "day", ...place }, svg("title", {}, `${dayIn(day)}: ${shown(day)}`));
  });
  const width = days.length * (BAR + GAP) - GAP;
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${width} ${HEIGHT + 1}`, "aria-hidden": "true", class: "chart" },
    svg("line", { class: "base", x1: 0, x2: width, y1: HEIGHT + 0.5, y2: HEIGHT + 0.5 }),
    ...bars,
  );
  const title = `${currency === null ? "Tokens" : `Money (${currency})`} by day, ${dayIn(days[0])} to ${dayIn(days.at(-1))}; at most ${shown(days.find((day) => worth(day) === most) ?? {})}`;
  const rows = days.filter(worth).map((day) => el("tr", {}, el("th", { scope: "row" }, dayIn(day)), el("td", {}, shown(day))));
  const table = el("table", { class: "sr" }, el("caption", {}, title), el("tbody", {}, ...rows));
  return el("figure", {}, picture, el("figcaption", { class: "words", "aria-hidden": "true" }, title), table);
}

function again(time) {
  const date = moment(time);
  return Number.isNaN(date.getTime()) ? "" : `; full again on ${fullTime(date)}`;
}

function budget({ scope, period, unit, currency, limit, spent, left, full_at }) {
  const amount = unit === "money" ? (value) => money(value, currency) : (value) => counted(Math.round(value), "token", "tokens");
  const whose = `${WHOSE[scope] ?? "A budget"} for ${period === "month" ? "this month" : "today"}`;
  const words = `${whose}: ${amount(number(left))} of ${amount(number(limit))} left (${percent(number(spent), number(limit)) || "none"} used)${again(full_at)}.`;
  const meter = el("meter", { min: 0, max: number(limit) || 1, value: number(spent), high: 0.8 * number(limit), "aria-label": whose });
  return el("div", { class: "budget" }, el("p", {}, words), meter);
}
