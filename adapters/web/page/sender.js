// A message on its way: from a message box into the outbox, and what the page does with the answer.
import { MENTION } from "./composer.js";
import { el, tab } from "./dom.js";
import { Outbox } from "./outbox.js";

export class Sender {
  #sentFrom = new Map(); // where the reader was when a message was sent

  constructor(page) {
    this.page = page;
    this.outbox = new Outbox({
      api: page.api,
      onChange: () => page.draw(),
      onSent: (item, answer) => this.#sent(item, answer),
      onRefused: (item, error, files) => this.#refused(item, error, files),
    });
  }

  /** Send from a thread, or with null from the channel; `begins` starts a conversation. Returns whether it goes out. */
  send(thread, text, files, begins = false) {
    const { page } = this;
    const toChannel = thread === null && !begins;
    if (toChannel && !text.startsWith("/") && !text.toLowerCase().includes(MENTION)) {
      this.#askForMention(text);
      return false;
    }
    if (toChannel && !files.length && text.trim().toLowerCase() === MENTION) {
      page.channel.box.fail(`Write your question after ${MENTION}.`);
      return false;
    }
    const { client_id } = this.outbox.add(thread, text, files, begins, toChannel ? page.state.channel : null);
    this.#sentFrom.set(client_id, page.router.place);
    (toChannel ? page.channel : page.thread).feed.toEnd();
    return true;
  }

  #askForMention(text) {
    const { box } = this.page.channel;
    const add = el("button", { type: "button", class: "quiet" }, `Add ${MENTION}`);
    box.fail(`Mention ${MENTION} to get an answer.`);
    box.error.append(" ", add);
    add.addEventListener("click", () => box.write(`${MENTION} ${text}`));
  }

  #sent({ client_id, thread, channel = null }, { thread: id, message, answer }) {
    const { page } = this;
    if (answer !== null && id === null && page.state.composing) page.router.close(); // the channel shows it
    if (answer !== null) page.takeNotice({ thread: id, text: answer, client_id });
    if (thread !== null || id === null || answer !== null) return;
    if (message) page.router.preview(beginning(id, message, channel));
    const stayed = (this.#sentFrom.get(client_id) ?? null) === page.router.place;
    if (stayed) page.router.show(id); // otherwise the writer has moved on
  }

  #refused({ thread, text, begins = false }, error, files) {
    const { state, channel, thread: pane } = this.page;
    if (begins && state.composing) return pane.box.fail(error.message, text, files);
    if (thread === null) return channel.box.fail(error.message, text, files);
    if (thread === state.openId) return pane.box.fail(error.message, text, files);
    tab.set(`draft.${thread}`, text);
    pane.box.files.giveBack(files, thread);
  }
}

/** What is known of a new thread before it is loaded. */
function beginning(id, message, channel) {
  return { id, channel, name: message.text, model: null, epoch: message.epoch, messages: [{ ...message, state: "done" }] };
}
