"""People who may not ask: withholds their messages, and records who was told why.

Invariants: no request contains a withheld message; a person is notified at most once a day, however
often the process restarts.
"""

from __future__ import annotations

from collections.abc import Collection

from bot.domain.conversations import Author, ConversationKey
from bot.domain.turns import Fence
from bot.store import audit, rows
from bot.store.database import Database

TOLD_SECONDS = 86_400.0
"""How long to wait before telling a person again why they may not ask."""


def withhold(db: Database, fence: Fence, questions: Collection[int]) -> None:
    """See `Store.withhold`."""
    rows.require(db, fence)
    found = db.execute(
        "SELECT id, withheld FROM messages WHERE kind = 'question' AND turn_id ="
        " (SELECT coalesce(asks, id) FROM turns WHERE id = ?)",
        (fence.turn,),
    ).fetchall()
    for row in found:
        if bool(row["withheld"]) is not (row["id"] in questions):
            set_withheld(db, row["id"], withheld=row["id"] in questions)


def set_withheld(db: Database, message: int, *, withheld: bool) -> None:
    """Exclude a message from requests from now on, or include it again. Its summary is
    rewritten."""
    changed = db.execute(
        "UPDATE messages SET withheld = ? WHERE id = ? RETURNING conversation_id, epoch, idx",
        (withheld, message),
    ).fetchone()
    if changed["idx"] is None:  # no summary covers it, and no window contains it
        return
    db.execute(
        "UPDATE conversations SET context_revision = context_revision + 1 WHERE id = ?",
        (changed["conversation_id"],),
    )
    db.execute(
        "DELETE FROM summaries WHERE conversation_id = ? AND epoch = ? AND before_idx > ?",
        tuple(changed),
    )


def refusal_due(db: Database, now: float, key: ConversationKey, person: str, reason: str) -> bool:
    """See `Store.refusal_due`."""
    due = db.execute(
        "INSERT INTO refusals_told (platform, workspace, person, told_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (platform, workspace, person) DO UPDATE SET told_at = excluded.told_at"
        " WHERE refusals_told.told_at <= excluded.told_at - ? RETURNING 1",
        (key.platform, key.workspace, person, now, TOLD_SECONDS),
    ).fetchone()
    if due is None:
        return False
    audit.record(db, now, "access.refused", key=key, actor=person, details={"reason": reason})
    return True


def took_part(db: Database, key: ConversationKey, person: str) -> bool | None:
    """See `Store.took_part`. Checks the current epoch and the previous one, which an undo
    restores."""
    row = rows.find(db, key)
    if row is None:
        return None
    if row["began_by_id"] == person:
        return True
    found = db.execute(
        "SELECT 1 FROM messages WHERE conversation_id = :conversation AND author_id = :person"
        " AND epoch >= coalesce((SELECT max(epoch) FROM messages"
        "  WHERE conversation_id = :conversation AND epoch < :epoch"
        "  AND idx IS NOT NULL AND erased_at IS NULL), :epoch) LIMIT 1",
        {"conversation": row["id"], "person": person, "epoch": row["epoch"]},
    )
    return found.fetchone() is not None


def author_of(db: Database, source: str) -> Author | None:
    """See `Store.author_of`."""
    row = db.execute(
        "SELECT author_id, author_name FROM messages WHERE source = ?", (source,)
    ).fetchone()
    return None if row is None else rows.author_from(*row)


def askers(db: Database, key: ConversationKey, turn: int | None) -> list[Author]:
    """See `Store.askers`."""
    row = rows.find(db, key)
    if row is None:
        return []
    found = db.execute(
        "SELECT author_id, author_name FROM messages"
        " WHERE turn_id = (SELECT coalesce(asks, id) FROM turns WHERE id = coalesce(:turn,"
        "  (SELECT max(id) FROM turns WHERE conversation_id = :conversation AND parked IS NULL)))"
        " AND conversation_id = :conversation AND kind = 'question' AND erased_at IS NULL"
        " GROUP BY author_id, author_name ORDER BY min(id)",
        {"turn": turn, "conversation": row["id"]},
    )
    return [Author(*each) for each in found]
