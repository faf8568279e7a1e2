// What feeds show: messages with their votes, versions and actions, and the lines between them. An
// unchanged item stays the same object, so that feeds redraw only changed ones.
export const NO_VOTE = { vote: null, comment: "" };

/** Objects that are made of others: the same one as long as `parts` are the same. */
class Made {
  #known = new WeakMap();

  of(source, parts, make) {
    const known = this.#known.get(source);
    if (known && parts.every((part, k) => part === known.parts[k])) return known.item;
    const item = make();
    this.#known.set(source, { parts, item });
    return item;
  }
}

export class Items {
  #roots = new Made();
  #dividers = new Map();
  #acting = new Made();
  #rated = new Made();
  #pending = new Made();
  #taken = new Made();
  #branched = new Made();

  /** The first message of a thread, in the channel. */
  root(thread, open) {
    return this.#roots.of(thread, [open], () => ({ ...thread.root, id: thread.id, state: "done", thread: { ...thread, open } }));
  }

  /** The items of an open thread. */
  ofThread(open, { isBusy, severalModels }) {
    const items = this.#withDividers(open).map((item) => this.#withBranch(this.#withVote(item, open), open, !isBusy));
    if (items.length && !isBusy) items.push(this.#withActions(items.pop(), severalModels));
    return items;
  }

  /** A message that the server does not have yet. */
  unsent(message, author) {
    const { client_id: id, text, created_at, state, files = [], progress = null } = message;
    return this.#pending.of(message, [], () => ({ id, role: "user", author, text, html: "", created_at, state, files, progress }));
  }

  /** Adds a line at each reset: the model reads only the messages below the last one. */
  #withDividers({ messages, epoch }) {
    const items = [];
    const replies = new Set(messages.map(({ id }) => id));
    let last = messages[0]?.epoch ?? epoch;
    for (const message of messages) {
      const item = this.#takenUp(message, replies);
      if (item.epoch > last) items.push(this.#divider(item.epoch, items.at(-1)));
      last = item.epoch ?? last; // replies carry no epoch: they share their question's
      items.push(item);
    }
    if (epoch > last) items.push(this.#divider(epoch, items.at(-1)));
    return items;
  }

  /** A question waits only until its reply exists, whichever event came first. */
  #takenUp(message, replies) {
    if (message.state !== "queued" || !replies.has(`turn-${message.turn}`)) return message;
    return this.#taken.of(message, [], () => ({ ...message, state: "done" }));
  }

  /** A reply that can be rated, with the user's vote on it. */
  #withVote(item, { votes = null }) {
    if (votes === null || !item.votable) return item;
    const feedback = votes[item.id] ?? NO_VOTE;
    return this.#rated.of(item, [feedback], () => ({ ...item, feedback }));
  }

  /** A message with the versions that it stands for; one's own question can be edited. */
  #withBranch(item, open, still) {
    const versions = open.versions[item.id] ?? null;
    const own = item.role === "user" && Number.isInteger(item.turn) && item.epoch === open.epoch;
    const editable = own && item.state === "done"; // while an answer is written, the style hides it
    if (!versions && !editable) return item;
    const parts = [versions, editable, versions && still];
    return this.#branched.of(item, parts, () => ({ ...item, versions, editable, still }));
  }

  /** The newest item, with its actions. */
  #withActions(item, severalModels) {
    const offered = item.role === "divider" ? ["undo"] : (item.controls ?? []);
    const actions = offered.flatMap((name) => (name === "retry" && severalModels ? [name, "retry-with"] : [name]));
    if (!actions.length) return item;
    return this.#acting.of(item, [actions.length], () => ({ ...item, actions }));
  }

  #divider(epoch, { id: above, created_at }) {
    const id = `epoch-${epoch}-${above}`;
    const item = { id, role: "divider", text: "Started over", html: "", created_at };
    if (!this.#dividers.has(id)) this.#dividers.set(id, item);
    return this.#dividers.get(id);
  }
}

/** The items of a feed, with each notice below the item that was the last one when it came. */
export function withNotices(items, notices) {
  const there = new Set(items.map(({ id }) => id));
  return [
    ...notices.filter(({ after }) => after === null),
    ...items.flatMap((item) => [item, ...notices.filter(({ after }) => after === item.id)]),
    ...notices.filter(({ after }) => after !== null && !there.has(after)),
  ];
}
