"""Converts rows to values, and provides statements that several transitions share.

Transitions are plain functions of a connection; `bot.store.connection` runs each in a transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from bot.domain.conversations import (
    Author,
    Conversation,
    ConversationKey,
    Effort,
    Message,
    Role,
    Visibility,
)
from bot.domain.errors import LostOwnership
from bot.domain.failures import FailureReason
from bot.domain.model import Usage
from bot.domain.turns import Fence, Outcome, PageRecord, Question, TurnResult
from bot.store.database import Database, Row
from bot.store.values import storable

EVERYTHING = 2**63 - 1  # SQLite's largest integer: above every position
NAME_LENGTH = 80  # the longest name of a conversation, in characters: one line in a list


def name_of(text: str) -> str:
    """Derive a conversation's name from its first question: one line, shortened."""
    line = " ".join(storable(text).split())
    return line if len(line) <= NAME_LENGTH else f"{line[: NAME_LENGTH - 1].rstrip()}…"


def day_of(at: float) -> str:
    """The UTC day of a time in Unix seconds, as the books write it: 2026-11-30."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


# ── from rows ─────────────────────────────────────────────────────────────────────────────────
def conversation_from(row: Row) -> Conversation:
    """Convert a row of `conversations`."""
    return Conversation(
        id=row["id"],
        key=ConversationKey(row["platform"], row["workspace"], row["channel"], row["thread"]),
        name=row["name"],
        model=row["model"],
        epoch=row["epoch"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        visibility=Visibility(row["visibility"]),
        began_by=author_from(row["began_by_id"], row["began_by_name"]),
        effort=Effort(row["effort"]) if row["effort"] else None,
        shared=bool(row["shared"]),
        instructions=row["instructions"],
        temperature=row["temperature"],
    )


def author_from(identity: str | None, name: str | None) -> Author | None:
    """The author, if the row has one."""
    return None if identity is None else Author(identity, name or "")


def message_from(row: Row) -> Message:
    """Convert a row of `queries.history`, with its eight columns in this order."""
    role, content, author_id, author_name, index, identity, created_at, has_attachments = row
    return Message(
        Role(role),
        content,
        author_from(author_id, author_name),
        index,
        identity,
        created_at,
        has_attachments=bool(has_attachments),
    )


def question_from(row: Row) -> Question:
    """Convert a row of `messages` whose kind is question."""
    return Question(
        id=row["id"],
        channel=row["channel"],
        message_id=row["message_id"],
        author=Author(row["author_id"], row["author_name"]),
        text=row["content"],
        route=json.loads(row["route"]),
        sent_at=row["sent_at"],
        late=bool(row["late"]),
        erased=row["erased_at"] is not None,
        withheld=bool(row["withheld"]),
        has_attachments=bool(row["has_attachments"]),
    )


def page_from(row: Row) -> PageRecord:
    """Convert a row of `pages`."""
    return PageRecord(row["number"], row["message_id"], row["channel"] or "")


def result_from(row: Row) -> TurnResult | None:
    """Convert a row of `turns`; None if the turn has not ended."""
    if row["outcome"] is None:
        return None
    return TurnResult(
        outcome=Outcome(row["outcome"]),
        content=row["content"],
        display=row["display"],
        model=row["model"],
        finish_reason=row["finish_reason"],
        usage=usage_from(row),
        failure=failure_from(row["error"]),
        first_token_at=row["first_token_at"],
        estimated_tokens=row["estimated_tokens"],
    )


def usage_from(row: Row) -> Usage | None:
    """Convert a row of `turns`; None if the provider reported no usage."""
    if row["input_tokens"] is None:
        return None
    return Usage(
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cached_tokens=row["cached_tokens"] or 0,
        cache_write_tokens=row["cache_write_tokens"] or 0,
        reasoning_tokens=row["reasoning_tokens"] or 0,
        reports_cache=row["cached_tokens"] is not None,
    )


def failure_from(stored: str | None) -> FailureReason | None:
    """Convert `turns.error`; a class name that only older releases used becomes MODEL_FAILED."""
    if stored is None:
        return None
    try:
        return FailureReason(stored)
    except ValueError:
        return FailureReason.MODEL_FAILED


# ── shared statements ─────────────────────────────────────────────────────────────────────────
def insert_row(db: Database, table: str, values: Mapping[str, object]) -> int:
    """Insert a row and return its id. `table` and the columns must be literals of this package."""
    (identity,) = db.execute(f"{_insertion(table, values)} RETURNING id", values).fetchall()[0]
    return int(identity)


def insert(db: Database, table: str, values: Mapping[str, object]) -> None:
    """Like `insert_row`, for a table whose rows have no id."""
    db.execute(_insertion(table, values), values)


def _insertion(table: str, values: Mapping[str, object]) -> str:
    columns = ", ".join(values)
    parameters = ", ".join(f":{column}" for column in values)
    return f"INSERT INTO {table} ({columns}) VALUES ({parameters})"  # noqa: S608


def find(db: Database, key: ConversationKey) -> Row | None:
    """The row of the conversation with this key."""
    row: Row | None = db.execute(
        "SELECT * FROM conversations"
        " WHERE platform = ? AND workspace = ? AND channel = ? AND thread = ?",
        (key.platform, key.workspace, key.channel, key.thread),
    ).fetchone()
    return row


def bind(db: Database, conversation: int, *, until: int, more: int = 0) -> int:
    """Give the messages up to position `until` their indexes, in the platform's order.

    Reserves `more` indexes after them, and returns the first of those.
    """
    bound = db.execute(
        "UPDATE messages SET idx = conversations.next_index + waiting.number FROM ("
        "  SELECT id AS message, row_number() OVER (ORDER BY position, id) - 1 AS number"
        "  FROM messages WHERE conversation_id = :conversation AND idx IS NULL"
        "  AND position <= :until"
        " ) AS waiting, conversations"
        " WHERE messages.id = waiting.message AND conversations.id = :conversation",
        {"conversation": conversation, "until": until},
    ).rowcount
    return take(db, conversation, bound + more) + bound


def take(db: Database, conversation: int, count: int) -> int:
    """Reserve the conversation's next `count` indexes, and return the first."""
    (after,) = db.execute(
        "UPDATE conversations SET next_index = next_index + ? WHERE id = ? RETURNING next_index",
        (count, conversation),
    ).fetchall()[0]
    return int(after) - count


def require(db: Database, fence: Fence) -> Row:
    """The platform and workspace of the turn's conversation. Raises LostOwnership if the fence is
    stale.

    The fence stays valid after the turn was concluded, because pages are still posted and removed
    then.
    """
    row: Row | None = db.execute(
        "SELECT platform, workspace FROM turns"
        " JOIN conversations ON conversations.id = turns.conversation_id"
        " WHERE turns.id = ? AND attempt = ? AND state IN ('running', 'concluded')",
        (fence.turn, fence.attempt),
    ).fetchone()
    if row is None:
        raise lost(fence)
    return row


def lost(fence: Fence) -> LostOwnership:
    """The error for a stale fence."""
    return LostOwnership(f"attempt {fence.attempt} no longer holds turn {fence.turn}")
