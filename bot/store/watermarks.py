"""Watermarks, and queries for the conversations that a backfill checks.

Invariant: a watermark never goes down, in whatever order it is written.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.conversations import Conversation, ConversationKey
from bot.domain.inbox import Asked, Watermark
from bot.store import rows
from bot.store.database import Database


def read(db: Database, platform: str) -> list[Watermark]:
    """See `Store.watermarks`."""
    found = db.execute(
        "SELECT workspace, channel, position FROM watermarks"
        " WHERE platform = ? AND workspace > ''",  # every workspace has an id
        (platform,),
    )
    return [Watermark(platform, *row) for row in found]


def move(db: Database, marks: Sequence[Watermark]) -> None:
    """See `Store.move_watermarks`."""
    for mark in marks:
        db.execute(
            "INSERT INTO watermarks (platform, workspace, channel, position) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (platform, workspace, channel)"
            " DO UPDATE SET position = excluded.position"
            " WHERE watermarks.position < excluded.position",
            (mark.platform, mark.workspace, mark.channel, mark.position),
        )
        if mark.channel:
            continue
        db.execute(  # the workspace's watermark covers them now
            "DELETE FROM watermarks WHERE platform = ? AND workspace = ? AND channel > ''"
            " AND position <= ?",
            (mark.platform, mark.workspace, mark.position),
        )


def active(db: Database, platform: str, limit: int) -> list[Conversation]:
    found = db.execute(
        "SELECT * FROM conversations WHERE platform = ? AND updated_at > 0"
        " ORDER BY updated_at DESC LIMIT ?",
        (platform, limit),
    )
    return [rows.conversation_from(row) for row in found]


def last_questions(db: Database, platform: str, since: float, limit: int) -> list[Asked]:
    found = db.execute(
        "SELECT conversations.*, messages.channel AS place, message_id, position"
        " FROM conversations JOIN messages ON messages.id = coalesce("
        "  (SELECT max(id) FROM messages WHERE conversation_id = conversations.id"
        "   AND idx IS NULL AND kind = 'question'),"  # its turn is waiting, so it has no index yet
        "  (SELECT id FROM messages WHERE conversation_id = conversations.id"
        "   AND kind = 'question' ORDER BY idx DESC LIMIT 1))"
        " WHERE platform = ? AND updated_at > ? AND erased_at IS NULL AND message_id IS NOT NULL"
        " ORDER BY updated_at DESC LIMIT ?",
        (platform, since, limit),
    )
    return [
        Asked(rows.conversation_from(row).key, row["place"], row["message_id"], row["position"])
        for row in found
    ]


def has_message_after(db: Database, key: ConversationKey, position: int) -> bool:
    """See `Store.has_message_after`. Scans one conversation; called for missed commands only."""
    return _has_message(db, key, "position > ?", position)


def has_message_before(db: Database, key: ConversationKey, position: int) -> bool:
    """See `Store.has_message_before`; called for missed replies only."""
    return _has_message(db, key, "position <= ?", position)


def _has_message(db: Database, key: ConversationKey, condition: str, position: int) -> bool:
    conversation = rows.find(db, key)
    if conversation is None:
        return False
    found = db.execute(
        f"SELECT 1 FROM messages WHERE conversation_id = ? AND {condition} LIMIT 1",  # noqa: S608
        (conversation["id"], position),
    )
    return found.fetchone() is not None
