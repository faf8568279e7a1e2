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

const PIECE = 8_000; // characters at the end of a long block that are copied at each change

/** The HTML of a long block: its beginning in pieces, which stay the same strings, and its end. */
class LongHtml {
  constructor(pieces, end) {
    this.pieces = pieces;
    this.end = end;
  }

  toString() {
    return this.pieces.join("") + this.end;
  }
}

/** The beginning of a block's HTML: the first characters, at least. */
export const beginning = (html) => (html instanceof LongHtml ? html.pieces[0] : html);

/** The ends of a block's HTML before and after a change: what is above them is the same. */
export function ends(before, after) {
  const [one, other] = [before, after].map((html) => (html instanceof LongHtml ? html : new LongHtml([], html)));
  const isSame = one.pieces.every((piece, k) => piece === other.pieces[k]);
  if (!isSame) return [String(before), String(after)];
  return [one.end, other.pieces.slice(one.pieces.length).join("") + other.end];
}

/** The HTML of a block after an edit. */
function edited(html, [first, inserted, removed = 0], text) {
  if (typeof first === "string") return first;
  const [pieces, end] = html instanceof LongHtml && first + removed <= html.end.length ? [html.pieces, html.end] : [[], String(html)];
  const at = end.length - first;
  return pieced(pieces, end.slice(0, at - removed) + (inserted ?? text) + end.slice(at));
}

function pieced(pieces, end) {
  const at = end.length - PIECE;
  if (at > PIECE) return new LongHtml([...pieces, end.slice(0, at)], end.slice(at));
  return pieces.length ? new LongHtml(pieces, end) : end;
}
