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

/** The line under a reply: model, tokens and time, as far as known. */
export function costs({ model, input_tokens: asked, output_tokens: said, seconds }) {
  const tokens = (value) => value !== null && value !== undefined;
  return [
    model,
    tokens(asked) && tokens(said) && `${number.format(asked)} tokens in, ${number.format(said)} out`,
    seconds && `${seconds < 9.95 ? seconds.toFixed(1) : Math.round(seconds)} s`,
  ].filter(Boolean);
}
