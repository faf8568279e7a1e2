"""The transitions of asking for more: the newest turn once more, or on from where it ended.

Invariant: only the newest turn of a conversation is opened again, and only when it has ended;
asking twice for the same changes nothing the second time.
"""

from __future__ import annotations

import sqlite3

from bot.domain.conversations import Author, ConversationKey
from bot.domain.inbox import Change, Effect
from bot.store import rows
from bot.store.accept import insert_row, waiting_turn
from bot.store.edits import is_newest, open_again


def reopen(db: sqlite3.Connection, key: ConversationKey, turn: int | None) -> Change:
    """See `Store.reopen`."""
    row = _target(db, key, turn)
    refused = _refused(db, row)
    if refused is not None or row is None:
        return refused or Change(Effect.UNKNOWN)
    found = db.execute(
        "SELECT 1 FROM messages WHERE turn_id = ? AND kind = 'question' AND erased_at IS NULL",
        (row["id"],),
    )
    if row["reply_idx"] is None or found.fetchone() is None:
        return Change(Effect.UNKNOWN)
    open_again(db, row)
    return Change(Effect.REOPENED, row["conversation_id"], row["id"])


def go_on(
    db: sqlite3.Connection,
    key: ConversationKey,
    turn: int | None,
    author: Author,
    text: str,
    now: float,
) -> Change:
    """See `Store.go_on`. `now` is in Unix seconds."""
    row = _target(db, key, turn)
    refused = _refused(db, row)
    if refused is not None or row is None:
        return refused or Change(Effect.UNKNOWN)
    page = db.execute(
        "SELECT * FROM pages WHERE turn_id = ? AND state = 'shown' ORDER BY number DESC LIMIT 1",
        (row["id"],),
    ).fetchone()
    if page is None or not row["content"]:
        return Change(Effect.UNKNOWN)
    new = waiting_turn(db, row["conversation_id"], row["epoch"], now)
    _ask(db, row, page, new, author, text, now)
    return Change(Effect.REOPENED, row["conversation_id"], new)


def _ask(
    db: sqlite3.Connection,
    turn: sqlite3.Row,
    page: sqlite3.Row,
    new: int,
    author: Author,
    text: str,
    now: float,
) -> None:
    """A question that no message of the platform is behind: it stands where the answer ended.

    It is answered on the way that the turn's last question came, below the reply's last page.
    """
    last = db.execute(
        "SELECT * FROM messages WHERE turn_id = ? AND kind = 'question' ORDER BY idx DESC LIMIT 1",
        (turn["id"],),
    ).fetchone()
    (position,) = db.execute(
        "SELECT max(position) FROM messages WHERE conversation_id = ?", (turn["conversation_id"],)
    ).fetchone()
    values = {
        "conversation_id": turn["conversation_id"],
        "turn_id": new,
        "epoch": turn["epoch"],
        "role": "user",
        "kind": "question",
        "content": text,
        "author_id": author.id,
        "author_name": rows.storable(author.name),
        "source": f"{page['source']}/continue-{turn['id']}",
        "channel": page["channel"],
        "message_id": page["message_id"],
        "position": position + 1,
        "route": last["route"],
        "unusable": "[]",
        "sent_at": now,
        "created_at": now,
    }
    insert_row(db, "messages", values)


def _target(db: sqlite3.Connection, key: ConversationKey, turn: int | None) -> sqlite3.Row | None:
    """The turn that is meant, or the newest of the conversation."""
    conversation = rows.find(db, key)
    if conversation is None:
        return None
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM turns WHERE conversation_id = ? AND id = coalesce(?,"
        " (SELECT max(id) FROM turns WHERE conversation_id = ?))",
        (conversation["id"], turn, conversation["id"]),
    ).fetchone()
    return row


def _refused(db: sqlite3.Connection, turn: sqlite3.Row | None) -> Change | None:
    """Why a turn cannot be gone back to, or None when it can."""
    if turn is None:
        return None
    where = turn["conversation_id"], turn["id"]
    if not is_newest(db, turn):
        return Change(Effect.SUPERSEDED, *where)
    # One that is concluded shows its end, with the buttons: who presses them must not be told to
    # wait for what cannot be seen, such as a status that is being cleared.
    return None if turn["state"] in ("concluded", "done") else Change(Effect.BUSY, *where)
