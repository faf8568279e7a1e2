"""Transitions of a retry (answer the newest turn again) and of a continuation (ask for more).

Invariant: only the newest turn of a conversation is reopened or continued, and only after it has
ended; repeating the same request changes nothing.
"""

from __future__ import annotations

from bot.domain.conversations import Author, ConversationKey
from bot.domain.inbox import Change, Effect
from bot.store import rows
from bot.store.commands import record_command
from bot.store.database import Database, Row
from bot.store.edits import is_newest, reopen_turn
from bot.store.messages import waiting_turn


def reopen(
    db: Database,
    now: float,
    key: ConversationKey,
    turn: int | None,
    *,
    source: str = "",
) -> Change:
    record_command(db, now, source)
    row = _target(db, key, turn)
    refused = _refused(db, row)
    if refused is not None or row is None:
        return refused or Change(Effect.UNKNOWN)
    found = db.execute(
        "SELECT 1 FROM messages WHERE turn_id = ? AND kind = 'question' AND erased_at IS NULL",
        (row["asks"] or row["id"],),
    )
    if row["reply_idx"] is None or found.fetchone() is None:
        return Change(Effect.UNKNOWN)
    reopen_turn(db, row)
    return Change(Effect.REOPENED, row["conversation_id"], row["id"])


def continue_reply(
    db: Database,
    now: float,
    key: ConversationKey,
    turn: int | None,
    author: Author,
    text: str,
    *,
    source: str = "",
) -> Change:
    record_command(db, now, source)
    row = _target(db, key, turn)
    refused = _refused(db, row)
    if refused is not None or row is None:
        return refused or Change(Effect.UNKNOWN)
    page = db.execute(
        "SELECT * FROM pages WHERE turn_id = ? AND state = 'shown' ORDER BY number DESC LIMIT 1",
        (row["id"],),
    ).fetchone()
    if page is None and row["content"] and row["state"] == "concluded":
        # The person sees the page before the platform's response has told us its id.
        return Change(Effect.BUSY, row["conversation_id"], row["id"])
    if page is None or not row["content"]:
        return Change(Effect.UNKNOWN)
    new = waiting_turn(db, row["conversation_id"], row["epoch"], now)
    _ask(db, row, page, new, author, text, now)
    return Change(Effect.REOPENED, row["conversation_id"], new)


def _ask(
    db: Database,
    turn: Row,
    page: Row,
    new: int,
    author: Author,
    text: str,
    now: float,
) -> None:
    """Add a question without a platform message; it points to the last page of the reply.

    Its reply uses the route of the continued turn's last question.
    """
    last = db.execute(
        "SELECT * FROM messages WHERE turn_id = ? AND kind = 'question' ORDER BY idx DESC LIMIT 1",
        (turn["asks"] or turn["id"],),
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
        "author_name": author.name,
        "source": f"{page['source']}/continue-{turn['id']}",
        "channel": page["channel"],
        "message_id": page["message_id"],
        "position": position + 1,
        "route": last["route"],
        "sent_at": now,
        "created_at": now,
    }
    rows.insert_row(db, "messages", values)


def _target(db: Database, key: ConversationKey, turn: int | None) -> Row | None:
    """The row of `turn`, or of the conversation's newest turn."""
    conversation = rows.find(db, key)
    if conversation is None:
        return None
    row: Row | None = db.execute(
        "SELECT * FROM turns WHERE conversation_id = ? AND id = coalesce(?,"
        " (SELECT max(id) FROM turns WHERE conversation_id = ? AND parked IS NULL))",
        (conversation["id"], turn, conversation["id"]),
    ).fetchone()
    return row


def _refused(db: Database, turn: Row | None) -> Change | None:
    """The reason why the turn cannot be reopened or continued; None if it can."""
    if turn is None:
        return None
    where = turn["conversation_id"], turn["id"]
    if not is_newest(db, turn):
        return Change(Effect.SUPERSEDED, *where)
    # A concluded turn already shows its buttons, so pressing one must work. The rest, such as
    # clearing a status, is invisible.
    return None if turn["state"] in ("concluded", "done") else Change(Effect.BUSY, *where)
