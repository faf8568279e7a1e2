// Numbers and times in the reader's locale, or in the one that was chosen in the settings.
import { language } from "./preferences.js";

const here = language(); // another choice reloads the page

/** @param {Intl.DateTimeFormatOptions} options */
export const dates = (options) => new Intl.DateTimeFormat(here, options);

const clock = dates({ hour: "numeric", minute: "2-digit" });
const day = dates({ weekday: "long", day: "numeric", month: "long" });
const full = dates({ dateStyle: "full", timeStyle: "short" });
const number = new Intl.NumberFormat(here);

/** A server time (Unix seconds or ISO 8601) as a Date. */
export function moment(value) {
  return new Date(typeof value === "number" ? value * 1000 : (value ?? Date.now()));
}

export const clockTime = (date) => clock.format(date);
export const fullTime = (date) => full.format(date);

/** "Today", "Yesterday", or the day's name. */
export function dayName(date) {
  const start = (of) => new Date(of.getFullYear(), of.getMonth(), of.getDate()).getTime();
  const ago = Math.round((start(new Date()) - start(date)) / 86_400_000);
  return ago === 0 ? "Today" : ago === 1 ? "Yesterday" : day.format(date);
}

export function counted(count, one, many) {
  return `${number.format(count)} ${count === 1 ? one : many}`;
}

export const tokens = (count) => number.format(count);

const share = new Intl.NumberFormat(here, { style: "percent" });

/** A part of `whole` as a rounded percentage; empty if `whole` is not known. */
export function percent(part, whole) {
  if (!(whole > 0)) return "";
  return part > 0 && part / whole < 0.005 ? `under ${share.format(0.01)}` : share.format(part / whole);
}

const forms = new Map();

/** The formats of a currency: whole coins, parts of a coin, and the digits of a coin. */
function formsOf(currency) {
  const code = /^[A-Z]{3}$/.test(currency) ? currency : "USD";
  if (!forms.has(code)) {
    const coins = new Intl.NumberFormat(here, { style: "currency", currency: code });
    const digits = coins.resolvedOptions().maximumFractionDigits ?? 2;
    const style = { style: /** @type {const} */ ("currency"), currency: code, maximumFractionDigits: digits + 2 };
    forms.set(code, { coins, parts: new Intl.NumberFormat(here, style), digits });
  }
  return forms.get(code);
}

/** An amount in a currency, with parts of a coin where coins would hide it. */
export function money(amount, currency) {
  const { coins, parts, digits } = formsOf(currency);
  const least = 10 ** -(digits + 2);
  if (!amount || amount >= 10 ** (1 - digits)) return coins.format(amount);
  return amount < least ? `under ${parts.format(least)}` : parts.format(amount);
}

/** Below a reply: tokens, money and time, as far as known. */
export function costs(reply) {
  const { seconds, cost, currency } = reply;
  return [usage(reply), Number.isFinite(cost) && cost > 0 && money(cost, currency), seconds && `${seconds < 9.95 ? seconds.toFixed(1) : Math.round(seconds)} s`]
    .filter(Boolean)
    .join(" · ");
}

/** "2,310 tokens in (1,920 cached), 412 out (300 thinking)"; empty without both numbers. */
function usage({ input_tokens: asked, output_tokens: said, cached_tokens: cached, reasoning_tokens: thinking }) {
  if (!Number.isFinite(asked) || !Number.isFinite(said)) return "";
  const part = (count, word) => (count > 0 ? ` (${number.format(count)} ${word})` : "");
  const [sent, written] = [number.format(asked), number.format(said)];
  return `${sent} tokens in${part(cached, "cached")}, ${written} out${part(thinking, "thinking")}`;
}

/** A large number in a few characters: 128K, 1M. */
export const short = (count) => compact.format(count);
const compact = new Intl.NumberFormat(here, { notation: "compact", maximumFractionDigits: 1 });
