// Growing replies, put together from the server's changes. adapters/web/reply_changes.py describes them.

/** The protocol of these events: a server sends whole replies to a page that does not ask for it. */
export const PROTOCOL = 2;

/** The growing replies of one connection, whose first event of each is the whole reply. */
export class Growth {
  #replies = new Map();

  /** Start over with a new connection. */
  reset() {
    this.#replies.clear();
  }

  /** Record a whole reply from an event. */
  begin(reply) {
    if (reply.blocks) this.#replies.set(reply.id, reply);
    else this.#replies.delete(reply.id); // it has ended
    return reply;
  }

  /** The whole reply after a change; null if it changes a state that is not known. */
  follow({ id, at: [from, to], text, blocks: count, edits = [] }) {
    const known = this.#replies.get(id);
    if (known?.version !== from) return null;
    const blocks = known.blocks.slice(0, count);
    for (const [index, ...edit] of edits) blocks[index] = edited(blocks[index], edit, text);
    const reply = { ...known, version: to, text: known.text + text, blocks };
    this.#replies.set(id, reply);
    return reply;
  }
}

/** The HTML of a block after an edit. */
function edited(html, [first, inserted, removed = 0], text) {
  if (typeof first === "string") return first;
  const end = html.length - first;
  return html.slice(0, end - removed) + (inserted ?? text) + html.slice(end);
}
