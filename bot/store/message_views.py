"""The library's queries of messages and replies; each list uses an index."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.conversations import Role
from bot.domain.records import AttachmentRecord, MessageRecord, ReplyRecord
from bot.domain.turns import Outcome
from bot.store import attachment_rows, rows, versions
from bot.store.database import Database, Row, marks

_LAST_INDEX = 2**62
# The cost of all requests since the turn was last reopened; NULL if a price is unknown.
COST = (
    "(SELECT CASE WHEN count(*) = count(cost) THEN CAST(sum(cost) AS BIGINT) END"
    " FROM model_requests"
    " WHERE turn_id = turns.id AND attempt > turns.opened AND state = 'settled') AS cost"
)
_MESSAGE = (
    "SELECT messages.id, messages.uid, source, messages.parked, role, kind, messages.content, idx,"  # noqa: S608
    " author_id, author_name,"
    " messages.epoch, messages.created_at, turn_id, state, turns.model, input_tokens,"
    f" output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, {COST}"
    " FROM messages LEFT JOIN turns ON turns.id = turn_id"
)
_REPLY = (
    f"SELECT turns.*, messages.uid, {COST} FROM turns"  # noqa: S608 - our words
    " LEFT JOIN messages ON messages.turn_id = turns.id AND kind = 'reply'"
)


def first_question(db: Database, conversation: int) -> Row | None:
    """The row of the conversation's first question."""
    row: Row | None = db.execute(
        f"{_MESSAGE} WHERE messages.conversation_id = ? AND kind = 'question'"
        " AND messages.parked IS NULL ORDER BY idx IS NULL, idx, position LIMIT 1",
        (conversation,),
    ).fetchone()
    return row


def messages(db: Database, conversation: int, after: int, limit: int) -> list[MessageRecord]:
    found = db.execute(
        f"{_MESSAGE} WHERE messages.conversation_id = ? AND idx > ? AND erased_at IS NULL"
        " AND messages.parked IS NULL ORDER BY idx LIMIT ?",
        (conversation, after, limit),
    ).fetchall()
    if len(found) < limit:
        found += _unbound(db, conversation)[: limit - len(found)]
    return from_rows(db, found)


def latest(
    db: Database, conversation: int, limit: int, until: int | None = None
) -> list[MessageRecord]:
    found = db.execute(
        f"{_MESSAGE} WHERE messages.conversation_id = ? AND idx <= ?"
        " AND erased_at IS NULL AND messages.parked IS NULL ORDER BY idx DESC LIMIT ?",
        (conversation, _LAST_INDEX if until is None else until, limit),
    ).fetchall()
    waiting = _unbound(db, conversation) if until is None else []
    return from_rows(db, [*reversed(found), *waiting])


def message_ids(db: Database, conversation: int, after: int, limit: int) -> list[tuple[int, int]]:
    """The row ids and indexes of messages that people see, by index; none without an index."""
    found = db.execute(
        "SELECT id, idx FROM messages WHERE conversation_id = ? AND idx > ?"
        " AND erased_at IS NULL AND parked IS NULL AND withheld = 0 ORDER BY idx LIMIT ?",
        (conversation, after, limit),
    )
    return [(row["id"], row["idx"]) for row in found.fetchall()]


def shared_messages(
    db: Database, uid: str, unchanged: str, after: int, limit: int
) -> list[MessageRecord]:
    """See `ShareStore.messages`; `unchanged` is the SQL condition for such a message."""
    found = db.execute(
        f"{_MESSAGE} JOIN share_messages ON share_messages.message_id = messages.id"
        " JOIN shares ON shares.id = share_id"
        f" WHERE shares.uid = ? AND idx > ? AND {unchanged} ORDER BY idx LIMIT ?",
        (uid, after, limit),
    ).fetchall()
    return from_rows(db, found)


def _unbound(db: Database, conversation: int) -> list[Row]:
    return db.execute(
        f"{_MESSAGE} WHERE messages.conversation_id = ? AND idx IS NULL AND erased_at IS NULL"
        " ORDER BY position, messages.id",
        (conversation,),
    ).fetchall()


def find_message(db: Database, source: str) -> MessageRecord | None:
    row = db.execute(f"{_MESSAGE} WHERE source = ?", (source,)).fetchone()
    return None if row is None else from_rows(db, [row])[0]


def record_of(db: Database, conversation: int, uid: str) -> MessageRecord | None:
    """See `Library.message`."""
    row = db.execute(
        f"{_MESSAGE} WHERE uid = ? AND messages.conversation_id = ? AND erased_at IS NULL",
        (uid, conversation),
    ).fetchone()
    return None if row is None else from_rows(db, [row])[0]


def versions_of(db: Database, conversation: int, uid: str) -> list[MessageRecord]:
    """See `Library.versions_of`."""
    indexes = versions.of_message(db, conversation, uid)
    if not indexes:
        return []
    found = db.execute(
        f"{_MESSAGE} WHERE messages.conversation_id = ? AND idx IN ({marks(indexes)})"
        " AND erased_at IS NULL ORDER BY idx",
        (conversation, *indexes),
    ).fetchall()
    return from_rows(db, found)


def message(db: Database, number: int) -> MessageRecord | None:
    """The message with this row id; None if it has been deleted."""
    row = db.execute(f"{_MESSAGE} WHERE messages.id = ?", (number,)).fetchone()
    return None if row is None else from_rows(db, [row])[0]


def replies(
    db: Database, conversation: int, limit: int, until: int | None = None
) -> list[ReplyRecord]:
    found = db.execute(
        f"{_REPLY} WHERE turns.conversation_id = ? AND reply_idx <= ?"
        " AND erased_at IS NULL AND turns.parked IS NULL ORDER BY turns.id DESC LIMIT ?",
        (conversation, _LAST_INDEX if until is None else until, limit),
    ).fetchall()
    return [_reply(row) for row in reversed(found)]


def reply(db: Database, turn: int) -> ReplyRecord | None:
    row = db.execute(f"{_REPLY} WHERE turns.id = ?", (turn,)).fetchone()
    return None if row is None else _reply(row)


# ── from rows ─────────────────────────────────────────────────────────────────────────────────
def from_rows(db: Database, found: Sequence[Row]) -> list[MessageRecord]:
    """Convert messages, and read all their attachments with one statement."""
    attachments = attachment_rows.records(db, [row["id"] for row in found])
    return [_message(row, attachments.get(row["id"], ())) for row in found]


def _message(row: Row, attachments: tuple[AttachmentRecord, ...]) -> MessageRecord:
    is_reply = row["kind"] == "reply"
    return MessageRecord(
        uid=row["uid"],
        role=Role(row["role"]),
        content=row["content"],
        index=row["idx"],
        created_at=row["created_at"],
        author=rows.author_from(row["author_id"], row["author_name"]),
        turn=row["turn_id"],
        waiting=row["state"] == "waiting",
        is_reply=is_reply,
        epoch=row["epoch"],
        attachments=attachments,
        model=row["model"] if is_reply else None,
        usage=rows.usage_from(row) if is_reply else None,
        cost=row["cost"] if is_reply else None,
        source=row["source"] or "",
        is_shown=row["parked"] is None,
    )


def _reply(row: Row) -> ReplyRecord:
    begun, ended = row["claimed_at"], row["concluded_at"]
    return ReplyRecord(
        turn=row["id"],
        conversation=row["conversation_id"],
        index=row["reply_idx"],
        created_at=begun or row["created_at"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        failure=rows.failure_from(row["error"]),
        display=row["display"] or "",
        content=row["content"] or "",
        model=row["model"],
        usage=rows.usage_from(row),
        cost=row["cost"],
        finish_reason=row["finish_reason"],
        seconds=max(0.0, ended - begun) if begun and ended else None,
        concluded_at=ended,
        uid=row["uid"],
    )
