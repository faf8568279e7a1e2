"""Transitions of a whole conversation: reset, undo of a reset, choice of a model or an effort.

Invariant: messages from before a reset keep their epoch and get indexes, so that they can be read
and restored in order.
"""

from __future__ import annotations

from bot.domain.conversations import Conversation, ConversationKey, Effort
from bot.store import contexts, rows
from bot.store.commands import record_command
from bot.store.database import Database


def reset(
    db: Database, now: float, key: ConversationKey, *, source: str = ""
) -> Conversation | None:
    record_command(db, now, source)
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
    db: Database,
    now: float,
    key: ConversationKey,
    epoch: int | None,
    *,
    source: str = "",
) -> Conversation | None:
    """See `Store.undo_reset`.

    The older messages join the current epoch, so a running turn is not interrupted. They keep their
    indexes, which sort them before the newer messages.
    """
    record_command(db, now, source)
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
    contexts.join_epochs(db, row["id"], older=before, present=row["epoch"])
    db.execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (now, row["id"]))
    return _read(db, row["id"])


def choose_model(
    db: Database,
    now: float,
    key: ConversationKey,
    model: str | None,
    *,
    source: str = "",
) -> Conversation | None:
    record_command(db, now, source)
    row = rows.find(db, key)
    if row is None:
        return None
    db.execute(
        "UPDATE conversations SET model = ?, updated_at = ? WHERE id = ?", (model, now, row["id"])
    )
    return _read(db, row["id"])


def choose_effort(
    db: Database,
    now: float,
    key: ConversationKey,
    effort: Effort | None,
    *,
    source: str = "",
) -> Conversation | None:
    record_command(db, now, source)
    row = rows.find(db, key)
    if row is None:
        return None
    db.execute(
        "UPDATE conversations SET effort = ?, updated_at = ? WHERE id = ?", (effort, now, row["id"])
    )
    return _read(db, row["id"])


def _read(db: Database, conversation: int) -> Conversation:
    row = db.execute("SELECT * FROM conversations WHERE id = ?", (conversation,)).fetchone()
    return rows.conversation_from(row)
