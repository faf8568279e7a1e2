"""The position of each conversation's window, its summary, and the token counts of its requests.

Invariants: a window moves back only when another branch is shown. A summary covers a prefix of what
its epoch shows, and its model has seen the current form of every message in it (triggers of
migration 0008, and `branch`, delete other summaries).
"""

from __future__ import annotations

from bot.domain.context import ContextState, Summary, TokenCount
from bot.store import locks
from bot.store.database import Database
from bot.store.operations import Operations, reads, writes, writes_at

MOST_COUNTED = 100_000
"""People see no difference between this many messages and more, and counting them takes 10 ms."""


# ── transitions ───────────────────────────────────────────────────────────────────────────────
def move_window(
    db: Database, conversation: int, *, epoch: int, start: int, stubs_before: int
) -> None:
    _upsert(db, conversation, epoch, (start, stubs_before, 0, None))


def record_told(db: Database, conversation: int, *, epoch: int, turn: int) -> None:
    """Record that the reply being stored says that older messages are summarized."""
    _upsert(db, conversation, epoch, (0, 0, 1, turn))


def forget_told(db: Database, conversation: int, *, turn: int) -> None:
    """Forget that people know about the summary if the reply that told them is being deleted, so
    that the next one does."""
    db.execute(
        "UPDATE context_windows SET told = 0, told_by = NULL"
        " WHERE conversation_id = ? AND told_by = ?",
        (conversation, turn),
    )


def branch(db: Database, conversation: int, epoch: int, *, since: int) -> None:
    """Adapt the state, because other messages are shown from index `since` on.

    Deletes a summary of messages that are no longer shown. A window that begins after it opens
    again, down to the remaining summary. A reply that is no longer shown does not count as having
    told people about the summary.
    """
    at = {"conversation": conversation, "epoch": epoch, "since": since}
    db.execute(
        "UPDATE conversations SET context_revision = context_revision + 1 WHERE id = :conversation",
        at,
    )
    db.execute(
        "DELETE FROM summaries WHERE conversation_id = :conversation AND epoch = :epoch"
        " AND before_idx > :since",
        at,
    )
    db.execute(
        "UPDATE context_windows SET start_idx = CASE WHEN start_idx > :since THEN coalesce("
        "  (SELECT before_idx FROM summaries WHERE conversation_id = :conversation"
        "   AND summaries.epoch = :epoch), 0) ELSE start_idx END,"
        " stubs_before = CASE WHEN stubs_before > :since THEN :since ELSE stubs_before END"
        " WHERE conversation_id = :conversation AND epoch = :epoch",
        at,
    )
    db.execute(
        "UPDATE context_windows SET told = 0, told_by = NULL"
        " WHERE conversation_id = :conversation AND told_by IN (SELECT id FROM turns"
        "  WHERE conversation_id = :conversation AND parked IS NOT NULL)",
        at,
    )


# The greater of the stored and the new value; the scalar max() has another name in PostgreSQL.
_GREATEST = ", ".join(
    f"{name} = CASE WHEN context_windows.{name} < excluded.{name}"
    f" THEN excluded.{name} ELSE context_windows.{name} END"
    for name in ("start_idx", "stubs_before", "told")
)


def _upsert(
    db: Database,
    conversation: int,
    epoch: int,
    least: tuple[int, int, int, int | None],
) -> None:
    """Raise start_idx, stubs_before and told to `least`; does nothing if the conversation is gone.

    The last value is told_by, which is kept if it is already set.
    """
    db.execute(
        "INSERT INTO context_windows"  # noqa: S608 - our words
        " (conversation_id, epoch, start_idx, stubs_before, told, told_by)"
        " SELECT id, ?, ?, ?, ?, ? FROM conversations WHERE id = ?"
        " ON CONFLICT (conversation_id, epoch) DO UPDATE SET"
        f" {_GREATEST}, told_by = coalesce(context_windows.told_by, excluded.told_by)",
        (epoch, *least, conversation),
    )


def save_summary(
    db: Database,
    now: float,
    conversation: int,
    *,
    epoch: int,
    revision: int,
    summary: Summary,
) -> bool:
    saved = db.execute(
        "INSERT INTO summaries (conversation_id, epoch, before_idx, text, model, created_at)"
        " SELECT id, epoch, ?, ?, ?, ? FROM conversations"
        " WHERE id = ? AND epoch = ? AND context_revision = ?"
        " ON CONFLICT (conversation_id, epoch) DO UPDATE SET before_idx = excluded.before_idx,"
        " text = excluded.text, model = excluded.model, created_at = excluded.created_at",
        (summary.before, summary.text, summary.model, now, conversation, epoch, revision),
    )
    if not saved.rowcount:
        return False
    _upsert(db, conversation, epoch, (summary.before, 0, 0, None))
    return True


def join_epochs(db: Database, conversation: int, *, older: int, present: int) -> None:
    """Adapt the state, because the messages of epoch `older` were put in front of the present
    epoch's.

    The window stays, or takes the older one's position if it has not moved since the reset. The
    older summary still covers a prefix. The present one does not, because its model has not seen
    the older messages.
    """
    known = db.execute(
        "DELETE FROM context_windows WHERE conversation_id = ? AND epoch = ?"
        " RETURNING start_idx, stubs_before, told, told_by",
        (conversation, older),
    ).fetchone()
    if known is not None:
        _upsert(db, conversation, present, tuple(known))
    db.execute(
        "DELETE FROM summaries WHERE conversation_id = ? AND epoch = ?", (conversation, present)
    )
    db.execute(
        "UPDATE summaries SET epoch = ? WHERE conversation_id = ? AND epoch = ?",
        (present, conversation, older),
    )
    db.execute(
        "UPDATE conversations SET context_revision = context_revision + 1 WHERE id = ?",
        (conversation,),
    )


# ── queries ───────────────────────────────────────────────────────────────────────────────────
def read_state(db: Database, conversation: int, *, epoch: int, model: str) -> ContextState:
    row = db.execute(
        "SELECT context_revision, start_idx, stubs_before, told, text, before_idx,"
        " summaries.model AS author FROM conversations"
        " LEFT JOIN context_windows ON context_windows.conversation_id = conversations.id"
        "  AND context_windows.epoch = :epoch"
        " LEFT JOIN summaries ON summaries.conversation_id = conversations.id"
        "  AND summaries.epoch = :epoch"
        " WHERE conversations.id = :conversation",
        {"epoch": epoch, "conversation": conversation},
    ).fetchone()
    if row is None:  # the conversation was deleted
        return ContextState()
    written = row["text"] is not None
    return ContextState(
        start=row["start_idx"] or 0,
        stubs_before=row["stubs_before"] or 0,
        revision=row["context_revision"],
        summary=Summary(row["text"], row["before_idx"], row["author"]) if written else None,
        last=_last_count(db, conversation, model),
        told=bool(row["told"]),
    )


_COUNTS = (
    "SELECT input_tokens, estimated_tokens FROM turns"
    " WHERE estimated_tokens IS NOT NULL AND input_tokens IS NOT NULL AND model = ?"
)


def _last_count(db: Database, conversation: int, model: str) -> TokenCount | None:
    row = db.execute(
        f"{_COUNTS} AND conversation_id = ? ORDER BY id DESC LIMIT 1", (model, conversation)
    ).fetchone()
    return None if row is None else TokenCount(*row)


def token_counts(db: Database, model: str, *, limit: int) -> list[TokenCount]:
    found = db.execute(f"{_COUNTS} ORDER BY id DESC LIMIT ?", (model, limit))
    return [TokenCount(*row) for row in found]


def cached_tokens(db: Database, conversation: int, *, epoch: int) -> int | None:
    """How many tokens of the epoch's newest request the provider had cached; None if unknown."""
    row = db.execute(
        "SELECT cached_tokens FROM turns WHERE conversation_id = ? AND epoch = ?"
        " AND input_tokens IS NOT NULL AND parked IS NULL ORDER BY id DESC LIMIT 1",
        (conversation, epoch),
    ).fetchone()
    return None if row is None else row["cached_tokens"]


def count_messages(db: Database, conversation: int, *, epoch: int, start: int, before: int) -> int:
    (count,) = db.execute(
        "SELECT count(*) FROM messages WHERE conversation_id = ? AND epoch = ?"
        " AND idx >= ? AND idx < ? AND erased_at IS NULL AND parked IS NULL AND withheld = 0",
        (conversation, epoch, max(start, before - MOST_COUNTED), before),
    ).fetchone()
    return int(count)


class SqlContexts(Operations):
    """Implements `bot.ports.context.ContextStore`."""

    read_state = reads(read_state)
    move_window = writes(move_window, lock=locks.by_id)
    save_summary = writes_at(save_summary, lock=locks.by_id)
    token_counts = reads(token_counts)
    read_cached_tokens = reads(cached_tokens)
    count_messages = reads(count_messages)
