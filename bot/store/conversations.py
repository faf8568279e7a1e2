"""The transitions of a conversation as a whole: a new epoch and the way back, another model, a
command done.

Invariant: what was said before a reset keeps its epoch and has an index, so that it can be read,
and brought back, in order.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from bot.domain.conversations import Conversation, ConversationKey
from bot.domain.errors import CommandDone
from bot.store import rows

T = TypeVar("T")

COMMAND_SECONDS = 30 * 86_400.0
"""How long the record of a command is kept: Slack delivers again for hours, and a gap of weeks is
read from its watermark on."""


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


def undo_reset(
    db: sqlite3.Connection, key: ConversationKey, epoch: int | None, now: float
) -> Conversation | None:
    """See `Store.undo_reset`. `now` is in Unix seconds.

    The messages move into the epoch that is current, which is no other one than before: a turn that
    runs meanwhile goes on. Indexes stay, so what was said since stays behind them.
    """
    row = rows.find(db, key)
    if row is None:
        return None
    (before,) = db.execute(
        "SELECT max(epoch) FROM messages WHERE conversation_id = ? AND epoch < ?"
        " AND idx IS NOT NULL AND erased_at IS NULL",
        (row["id"], row["epoch"]),
    ).fetchone()
    if before is None or epoch not in (None, before):
        return None
    for table in ("messages", "turns"):
        db.execute(
            f"UPDATE {table} SET epoch = ? WHERE conversation_id = ? AND epoch = ?",  # noqa: S608
            (row["epoch"], row["id"], before),
        )
    db.execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (now, row["id"]))
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
    """See `Store.record_command`. `now` is in Unix seconds.

    Slack sends `app_mention` again for a message that was edited: a stored question is no command.
    """
    known = db.execute(
        "SELECT 1 FROM commands WHERE source = :source"
        " UNION ALL SELECT 1 FROM tombstones WHERE source = :source"
        " UNION ALL SELECT 1 FROM messages WHERE source = :source",
        {"source": source},
    )
    if known.fetchone() is not None:
        raise CommandDone(source)
    db.execute("INSERT INTO commands (source, done_at) VALUES (?, ?)", (source, now))


def forget_old_commands(db: sqlite3.Connection, now: float) -> None:
    """Drop the records of commands that cannot come again; once a start, since it reads them all.

    A message so old is never delivered or read again: the watermarks are behind it.
    """
    db.execute("DELETE FROM commands WHERE done_at < ?", (now - COMMAND_SECONDS,))


def recorded(
    change: Callable[[sqlite3.Connection], T], *, source: str, now: float
) -> Callable[[sqlite3.Connection], T]:
    """`change` as one transaction with the record of the command that asked for it, if any did."""

    def transaction(db: sqlite3.Connection) -> T:
        if source:
            record_command(db, source, now)
        return change(db)

    return transaction


def _read(db: sqlite3.Connection, conversation: int) -> Conversation:
    row = db.execute("SELECT * FROM conversations WHERE id = ?", (conversation,)).fetchone()
    return rows.conversation_from(row)
