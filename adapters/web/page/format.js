// Numbers and times in the reader's locale.

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const number = new Intl.NumberFormat();

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

const share = new Intl.NumberFormat(undefined, { style: "percent" });

/** A part of `whole` as a rounded percentage; empty if `whole` is not known. */
export function percent(part, whole) {
  if (!(whole > 0)) return "";
  return part > 0 && part / whole < 0.005 ? `under ${share.format(0.01)}` : share.format(part / whole);
}

const cents = new Intl.NumberFormat(undefined, { style: "currency", currency: "USD" });
const parts = new Intl.NumberFormat(undefined, { style: "currency", currency: "USD", maximumFractionDigits: 4 });

/** An amount in US dollars, with parts of a cent where cents would hide it. */
export function dollars(amount) {
  if (!amount || amount >= 0.1) return cents.format(amount);
  return amount < 0.0001 ? `under ${parts.format(0.0001)}` : parts.format(amount);
}

/** Below a reply: tokens, money and time, as far as known. */
export function costs(reply) {
  const { seconds, dollars: cost } = reply;
  return [usage(reply), Number.isFinite(cost) && cost > 0 && dollars(cost), seconds && `${seconds < 9.95 ? seconds.toFixed(1) : Math.round(seconds)} s`]
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
