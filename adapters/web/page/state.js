// The page's state, and how events change it. An unchanged message stays the same object.
import { uuid } from "./dom.js";
import { Items, NO_VOTE, withNotices } from "./items.js";

export class State {
  /** @type {any} */
  session = null;
  /** @type {string | null} */
  openId = null;
  /** @type {string | null} */
  channel = null; // the shared channel that is shown; null is the user's own one
  activeAt = 0; // the time of the newest message or answer of a shared channel, as the server has it
  composing = false; // whether the thread's pane is open for a new conversation
  older = null; // cursor of the channel's next older page
  #threads = new Map();
  #details = new Map(); // by thread: model and loaded messages
  #items = new Items();
  #notices = []; // replies to commands: shown here, stored nowhere
  #sent = new Set(); // client ids of messages that the server has
  #read = { channel: null, thread: null }; // the newest event in each snapshot
  #restored = new Map(); // by thread: the newest event before its deletion was undone
  #votes = new Map(); // by reply: the user's newest vote, and until when no snapshot could have it
  severalModels = false; // whether an answer can be tried again with another model

  // ── reading ─────────────────────────────────────────────────────────────────────────────────
  get open() {
    return this.openId === null ? null : (this.#details.get(this.openId) ?? null);
  }

  /** Whether the channel has no question of the user; the demo model's sample thread is none. */
  get isUnused() {
    const sample = this.channel === null && this.session?.default_model === "demo" ? 1 : 0;
    return this.#threads.size <= sample;
  }

  /** The threads in which an answer is being written. */
  get busyThreads() {
    return [...this.#threads.values()].filter(({ busy }) => busy);
  }

  /** Whether the thread's pane shows a thread or a new conversation. */
  get paneIsOpen() {
    return this.openId !== null || this.composing;
  }

  summary(id) {
    return this.#threads.get(id);
  }

  /** Whether a thread is busy, and its name; the open one may be older than those of the channel. */
  progress(id) {
    const { open } = this;
    if (open?.id !== id) return this.summary(id);
    return this.summary(id) ?? { id, name: open.name, channel: open.channel, busy: Boolean(this.underWay) };
  }

  /** The running or queued reply of the open thread. */
  get underWay() {
    return this.open?.messages.find(
      ({ role, state }) => role === "assistant" && (state === "writing" || state === "queued"),
    );
  }

  get isBusy() {
    return Boolean(this.underWay ?? this.summary(this.openId)?.busy);
  }

  channelItems(outbox) {
    const threads = [...this.#threads.values()].sort(
      (a, b) => (a.created_at < b.created_at ? -1 : a.created_at > b.created_at ? 1 : 0),
    );
    return [
      ...this.#withNotices(threads.map((thread) => this.#items.root(thread, thread.id === this.openId)), null),
      ...this.#unsent(outbox.filter((item) => this.#isHere(item)), null),
    ];
  }

  /** Whether an unsent message that begins a thread is shown in the channel. */
  #isHere({ begins, channel = null }) {
    return channel === this.channel && (!begins || !this.composing);
  }

  threadItems(outbox) {
    if (this.composing) return this.#unsent(outbox.filter(({ begins }) => begins), null);
    if (!this.open) return [];
    return [
      ...this.#withNotices(this.#items.ofThread(this.open, this), this.openId),
      ...this.#unsent(outbox, this.openId),
    ];
  }

  #withNotices(items, thread) {
    return withNotices(items, this.#notices.filter((notice) => notice.thread === thread));
  }

  #unsent(outbox, thread) {
    const mine = outbox.filter((item) => item.thread === thread && !this.#arrived(item));
    return mine.map((item) => this.#items.unsent(item, this.session?.user));
  }

  /** Whether a message's event overtook the response to sending it. */
  #arrived({ client_id }) {
    return this.#sent.has(client_id);
  }

  // ── what the server told ────────────────────────────────────────────────────────────────────
  /** Show another channel, whose threads are not known yet. */
  enterChannel(channel) {
    this.channel = channel;
    this.activeAt = 0;
    this.older = null;
    this.#threads.clear();
    this.#notices = this.#notices.filter(({ thread }) => thread !== null);
  }

  /** How many threads of the channel are known. */
  get known() {
    return this.#threads.size;
  }

  /** Take a page of the channel; `fresh` replaces the known threads. */
  takeThreads({ threads, next, event }, { fresh }) {
    if (fresh) {
      this.#read.channel = event;
      this.#threads.clear();
    }
    for (const thread of threads) this.#take(thread);
    this.older = next;
  }

  #take(thread) {
    this.#threads.set(thread.id, thread);
    if (thread.channel) this.activeAt = Math.max(this.activeAt, thread.active_at ?? 0);
  }

  /** Whether a thread's answers concern the user: in a shared channel, if the user asked in it or has it open. */
  concerns({ id, channel = null, people = [] }) {
    return channel === null || id === this.openId || people.includes(this.session?.user);
  }

  /** Take a thread that was asked for at `asked`: a vote of since then is newer. */
  takeThread(
    { id, name, epoch, messages, event = null, votes = null, versions = {}, later = false, earlier = false, pages = 0, ...rest },
    asked = performance.now(),
  ) {
    this.#read.thread = event;
    const known = this.#details.get(id)?.messages ?? [];
    const same = new Map(known.map((message) => [message.id, message]));
    const kept = messages.map((message) => unchanged(same.get(message.id), message));
    this.#details.clear(); // other threads are loaded again when opened
    const newest = votes === null ? null : this.#withNewerVotes(id, votes, asked);
    const { channel = null } = rest;
    this.#details.set(id, { id, channel, name, epoch, messages: kept, votes: newest, versions, later, earlier, pages, ...choices(rest) });
  }

  /** Take the messages before those of the open thread. */
  takeEarlier(page) {
    Object.assign(this.open, joined(page, this.open));
  }

  /** Whether the open thread was read after this event. */
  hasRead(event) {
    return isIn(event, this.#read.thread);
  }

  /** Another branch is shown: the messages from an index on go, until the thread is read again. */
  cut(id, since) {
    const detail = this.#details.get(id);
    if (detail) detail.messages = detail.messages.filter(({ index }) => !(index >= since));
  }

  /** The deletion of a thread was undone; the server's newest event before that was `event`. */
  restore(id, event) {
    this.#restored.set(id, event);
  }

  /** A thread was deleted. Returns false if that was undone since: the event comes late. */
  takeGone(id, event) {
    const isBack = this.#threads.has(id) && isIn(event, this.#read.channel);
    if (isBack || isIn(event, this.#restored.get(id))) return false;
    this.forget(id);
    return true;
  }

  forget(id) {
    this.#threads.delete(id);
    this.#details.delete(id);
  }

  /** Take a person's message in a thread; `event` is the event's id. */
  takeMessage({ thread, client_id = null, ...message }, event) {
    if (client_id) this.#sent.add(client_id);
    const detail = this.#details.get(thread);
    if (!detail || isIn(event, this.#read.thread)) return;
    // It waits only while another reply is running; otherwise its own starts immediately.
    const state = message.state === "queued" && !this.#writing(detail) ? "done" : message.state;
    detail.messages = inserted(detail.messages, { ...message, state });
  }

  /** Take a reply's newest state. Returns whether it changed anything. */
  takeReply({ thread, ...reply }, event) {
    const detail = this.#details.get(thread);
    if (!detail || isIn(event, this.#read.thread)) return false;
    const known = detail.messages.find(({ id }) => id === reply.id);
    if (detail.votes && isAnotherAnswer(known, reply)) {
      delete detail.votes[reply.id];
      this.#votes.delete(reply.id);
    }
    detail.messages = upsert(detail.messages, reply);
    return true;
  }

  /** Take the user's vote on a reply. Returns the earlier one, what to call once it is stored, and whether it is the newest. */
  takeVote(thread, id, feedback) {
    const votes = this.#details.get(thread)?.votes;
    const before = votes?.[id] ?? NO_VOTE;
    if (votes) votes[id] = feedback;
    const vote = { thread, feedback, until: Number.POSITIVE_INFINITY };
    this.#votes.set(id, vote);
    const stored = () => {
      vote.until = performance.now();
    };
    return { before, stored, isNewest: () => this.#votes.get(id) === vote };
  }

  #withNewerVotes(thread, votes, asked) {
    const newer = [...this.#votes].filter(([, vote]) => vote.thread === thread && vote.until >= asked);
    return Object.assign({}, votes, Object.fromEntries(newer.map(([id, { feedback }]) => [id, feedback])));
  }

  takeSummary(thread, event) {
    const isHere = (thread.channel ?? null) === this.channel;
    if (isHere && !isIn(event, this.#read.channel)) this.#take(thread);
    const detail = this.#details.get(thread.id);
    if (detail && !isIn(event, this.#read.thread)) Object.assign(detail, { epoch: thread.epoch, ...choices(thread) });
  }

  /** Take a command's reply, once. */
  takeNotice({ thread, text, client_id }) {
    const id = `notice-${client_id ?? uuid()}`;
    if (thread !== null && thread !== this.open?.id) return;
    if (this.#notices.some((notice) => notice.id === id)) return;
    const items = thread === null ? this.channelItems([]) : this.open.messages;
    const after = items.at(-1)?.id ?? null;
    const created_at = new Date().toISOString();
    this.#notices.push({ id, role: "notice", text, html: "", created_at, thread, after });
  }

  #writing({ messages }) {
    return messages.some(({ role, state }) => role === "assistant" && state === "writing");
  }
}

/**
 * A part of a thread with the one before it, whose messages come first; `pages` counts such parts, so
 * that they are read again with the thread.
 */
export function joined(before, { messages, versions = {}, pages = 0, ...rest }) {
  const all = { ...before.versions, ...versions };
  return { ...rest, messages: [...before.messages, ...messages], versions: all, earlier: before.earlier, pages: pages + 1 };
}

/** A thread's model and effort; a server that knows nothing of effort leaves its fields out. */
function choices({ model = null, answering_model = null, effort = null, takes_effort = null }) {
  return { model, answering_model, effort, takes_effort };
}

/** Puts a question above its reply, even if the reply's event came first. */
function inserted(messages, message) {
  const reply = messages.findIndex(({ id }) => id === `turn-${message.turn}`);
  const known = messages.some(({ id }) => id === message.id);
  return known || reply < 0 ? upsert(messages, message) : messages.toSpliced(reply, 0, message);
}

/** Whether the reply was written again; a quick answer may never be seen in the state "writing". */
function isAnotherAnswer(known, reply) {
  return reply.state === "writing" || Boolean(known?.ended_at && known.ended_at !== reply.ended_at);
}

function upsert(messages, message) {
  const k = messages.findIndex(({ id }) => id === message.id);
  return k < 0 ? [...messages, message] : messages.with(k, unchanged(messages[k], message));
}

/** The old object if the new one equals it; a growing reply is long and differs each time. */
function unchanged(old, message) {
  if (message.blocks) return message;
  return old && JSON.stringify(old) === JSON.stringify(message) ? old : message;
}

/** Whether a snapshot read at event `read` contains event `id`; both are `epoch-number`. */
function isIn(id, read) {
  if (!id || !read) return false;
  const [epoch, number] = id.split("-");
  const [sameEpoch, newest] = read.split("-");
  return epoch === sameEpoch && Number(number) <= Number(newest);
}
