"""Erases what is older than its place keeps it, in small transactions.

A conversation without activity for that long disappears. In one that continues, old messages and
replies become empty places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain.conversations import ConversationKey
from bot.domain.privacy import ERASED, Erased
from bot.store import attachment_rows, edits, rows, sharing, spending
from bot.store.database import Database

STEP = 200
"""Messages per transaction: this takes a few milliseconds, so that other writes do not wait."""

_UNFINISHED = "EXISTS (SELECT 1 FROM turns WHERE conversation_id = ? AND state <> 'done')"


@dataclass(frozen=True, slots=True)
class OldConversation:
    """A conversation that may contain something to erase."""

    id: int
    key: ConversationKey


def old_conversations(
    db: Database, *, before: float, after: int, limit: int
) -> Sequence[OldConversation]:
    """Conversations with a row id above `after` that were created before `before` and are not
    pinned."""
    found = db.execute(
        "SELECT * FROM conversations WHERE id > ? AND created_at < ? AND pinned = 0"
        " ORDER BY id LIMIT ?",
        (after, before, limit),
    )
    return [
        OldConversation(
            row["id"],
            ConversationKey(row["platform"], row["workspace"], row["channel"], row["thread"]),
        )
        for row in found
    ]


def erase_step(db: Database, now: float, conversation: int, before: float) -> Erased:
    """Erase up to STEP messages of a conversation that are older than `before`.

    Erases nothing if it is pinned, or while a turn is not done.
    """
    row = db.execute("SELECT * FROM conversations WHERE id = ?", (conversation,)).fetchone()
    (is_busy,) = db.execute(f"SELECT {_UNFINISHED}", (conversation,)).fetchone()
    if row is None or row["pinned"] or is_busy:
        return Erased()
    attachment_rows.lock_files(db, conversation)
    if row["updated_at"] < before:
        return _delete_step(db, conversation)
    return _erase_step(db, now, conversation, before)


def channels_with_usage(db: Database) -> Sequence[ConversationKey]:
    """The channels in which a report names who used what, including those without conversations."""
    found = db.execute(
        "SELECT DISTINCT platform, workspace, channel FROM usage_by_day WHERE person <> ''"
    )
    return [ConversationKey(row["platform"], row["workspace"], row["channel"], "") for row in found]


def erase_usage(db: Database, channel: ConversationKey, before: float) -> None:
    """Erase the record of who used what in a channel before `before`; the sums stay."""
    spending.forget_channel(db, channel, rows.day_of(before), before)


def _delete_step(db: Database, conversation: int) -> Erased:
    messages = db.execute(
        "SELECT id, kind FROM messages WHERE conversation_id = ? ORDER BY id LIMIT ?",
        (conversation, STEP),
    ).fetchall()
    files = attachment_rows.count(db, messages)
    if len(messages) < STEP:
        db.execute("DELETE FROM conversations WHERE id = ?", (conversation,))
    else:
        db.executemany("DELETE FROM messages WHERE id = ?", [(row["id"],) for row in messages])
    replies = sum(row["kind"] == "reply" for row in messages)
    gone = int(len(messages) < STEP)
    return Erased(gone, len(messages) - replies, files, replies)


def _erase_step(db: Database, now: float, conversation: int, before: float) -> Erased:
    messages = db.execute(
        "SELECT * FROM messages WHERE conversation_id = ? AND created_at < ?"
        " AND (erased_at IS NULL OR author_id <> ?) ORDER BY id LIMIT ?",
        (conversation, before, ERASED, STEP),
    ).fetchall()
    files = attachment_rows.count(db, messages)
    for message in messages:
        edits.erase_message(db, message, False, now)
    db.executemany(
        "UPDATE messages SET author_id = ?, author_name = ''"
        " WHERE id = ? AND author_id IS NOT NULL",
        [(ERASED, row["id"]) for row in messages],
    )
    for turn in {row["turn_id"] for row in messages if row["turn_id"] is not None}:
        _erase_turn(db, turn, before)
    sharing.forget(db, conversation, before)
    if messages:
        db.execute("DELETE FROM summaries WHERE conversation_id = ?", (conversation,))
        db.execute(
            "UPDATE conversations SET began_by_id = NULL, began_by_name = NULL"
            " WHERE id = ? AND created_at < ?",
            (conversation, before),
        )
    replies = sum(row["kind"] == "reply" for row in messages)
    return Erased(0, len(messages) - replies, files, replies)


def _erase_turn(db: Database, turn: int, before: float) -> None:
    erased = db.execute(
        "UPDATE turns SET content = '', display = '' WHERE id = ? AND concluded_at < ?",
        (turn, before),
    )
    if erased.rowcount:
        db.execute("DELETE FROM feedback WHERE turn_id = ?", (turn,))


def pin(db: Database, key: ConversationKey, *, pinned: bool) -> bool:
    """Exempt a conversation from erasure by age; returns whether it exists."""
    changed = db.execute(
        "UPDATE conversations SET pinned = ? WHERE platform = ? AND workspace = ?"
        " AND channel = ? AND thread = ?",
        (pinned, key.platform, key.workspace, key.channel, key.thread),
    )
    return changed.rowcount > 0
