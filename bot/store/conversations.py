"""The transitions of a conversation as a whole: a new epoch, another model, a command done.

Invariant: what was said before a reset keeps its epoch and has an index, so that it can be read,
and brought back, in order.
"""

from __future__ import annotations

import sqlite3

from bot.domain import Conversation, ConversationKey
from bot.store import rows


def reset(db: sqlite3.Connection, key: ConversationKey, now: float) -> Conversation | None:
    """See `Store.reset`. `now` is in Unix seconds."""
    row = rows.find(db, key)
    if row is None:
        return None
    rows.bind(db, row["id"], until=rows.EVERYTHING)
    db.execute(
        "UPDATE turns SET state = 'done', outcome = 'reset', concluded_at = ?, finished_at = ?"
        " WHERE conversation_id = ? AND state = 'waiting'",
        (now, now, row["id"]),
    )
    db.execute(
        "UPDATE conversations SET epoch = epoch + 1, updated_at = ? WHERE id = ?", (now, row["id"])
    )
    return _read(db, row["id"])


def choose_model(
    db: sqlite3.Connection, key: ConversationKey, model: str | None, now: float
) -> Conversation | None:
    """See `Store.choose_model`. `now` is in Unix seconds."""
    row = rows.find(db, key)
    if row is None:
        return None
    db.execute(
        "UPDATE conversations SET model = ?, updated_at = ? WHERE id = ?", (model, now, row["id"])
    )
    return _read(db, row["id"])


def record_command(db: sqlite3.Connection, source: str, now: float) -> None:
    """See `Store.record_command`. `now` is in Unix seconds."""
    db.execute("INSERT OR IGNORE INTO commands (source, done_at) VALUES (?, ?)", (source, now))


def _read(db: sqlite3.Connection, conversation: int) -> Conversation:
    row = db.execute("SELECT * FROM conversations WHERE id = ?", (conversation,)).fetchone()
    return rows.conversation_from(row)
