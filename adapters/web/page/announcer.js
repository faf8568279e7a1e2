// What screen readers announce: sentences of the page, and a reply's start and end.

export class Announcer {
  /** @type {string | null} */
  #reply = null; // the reply whose start was announced

  /** `region` is a live region. */
  constructor(region) {
    this.region = region;
  }

  /** Announce `words` politely and once. */
  say(words) {
    this.region.replaceChildren();
    requestAnimationFrame(() => this.region.replaceChildren(words));
  }

  /** Announce that a reply is being written: its start, not every word. */
  started(reply) {
    if (reply?.state !== "writing" || this.#reply === reply.id) return;
    this.#reply = reply.id;
    this.say("Threadline is writing.");
  }

  /** Announce the end of the reply whose start was announced. */
  ended(reply) {
    if (this.#reply === reply.id) this.say(ending(reply));
    this.#reply = null;
  }
}

function ending({ state, text }) {
  if (state === "stopped") return "The answer was stopped.";
  if (state === "failed") return "Threadline could not answer.";
  if (state === "cut_off") return "The answer broke off.";
  return `Threadline answered, ${text.trim().split(/\s+/).length} words.`;
}
