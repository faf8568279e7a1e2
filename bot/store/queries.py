"""The core's queries. Each uses an index, so its cost does not grow with the history."""

from __future__ import annotations

from bot.domain.conversations import Conversation, ConversationKey, Message
from bot.store import rows
from bot.store.database import Database


def list_unfinished(db: Database, platform: str, process: str | None = None) -> list[int]:
    # The expression in place of the column makes SQLite start from the few unfinished turns, not
    # from all conversations of the platform.
    found = db.execute(
        "SELECT conversation_id FROM turns"
        " JOIN conversations ON conversations.id = conversation_id"
        " WHERE state <> 'done' AND platform || '' = ?"
        " AND (holder IS NULL OR holder = ?) GROUP BY conversation_id ORDER BY min(turns.id)",
        (platform, process),
    )
    return [row["conversation_id"] for row in found]


def is_busy(db: Database, conversation: int) -> bool:
    found = db.execute(
        "SELECT 1 FROM turns WHERE conversation_id = ? AND state <> 'done' LIMIT 1", (conversation,)
    )
    return found.fetchone() is not None


_MESSAGES = (
    "SELECT role, content, author_id, author_name, idx, id, created_at,"
    " EXISTS (SELECT 1 FROM attachments WHERE attachments.message_id = messages.id)"
    " AS has_attachments"
    " FROM messages"
    " WHERE conversation_id = ? AND epoch = ? AND idx >= ? AND idx < ?"
    " AND erased_at IS NULL AND parked IS NULL AND withheld = 0"
)


def history(
    db: Database, conversation: int, epoch: int, before: int, limit: int, start: int = 0
) -> list[Message]:
    found = db.execute(
        f"{_MESSAGES} ORDER BY idx DESC LIMIT ?", (conversation, epoch, start, before, limit)
    )
    return [rows.message_from(row) for row in found]


def history_from(
    db: Database, conversation: int, epoch: int, start: int, before: int, limit: int
) -> list[Message]:
    found = db.execute(
        f"{_MESSAGES} ORDER BY idx LIMIT ?",
        (conversation, epoch, start, before, limit),
    )
    return [rows.message_from(row) for row in found]


def find(db: Database, key: ConversationKey) -> Conversation | None:
    row = rows.find(db, key)
    return None if row is None else rows.conversation_from(row)


def conversation_of(db: Database, source: str) -> Conversation | None:
    row = db.execute(
        "SELECT conversations.* FROM conversations WHERE id = coalesce("
        " (SELECT conversation_id FROM messages WHERE source = :source),"
        " (SELECT conversation_id FROM pages JOIN turns ON turns.id = turn_id"
        "  WHERE source = :source ORDER BY turn_id DESC LIMIT 1))",
        {"source": source},
    ).fetchone()
    return None if row is None else rows.conversation_from(row)


def recent(db: Database, place: ConversationKey, author: str, limit: int) -> list[Conversation]:
    """See `Store.recent`. Scans the channel's conversations, newest first, until it has `limit`
    hits."""
    found = db.execute(
        "SELECT * FROM conversations WHERE platform = ? AND workspace = ? AND channel = ?"
        " AND EXISTS (SELECT 1 FROM messages WHERE conversation_id = conversations.id"
        "  AND author_id = ? AND messages.epoch = conversations.epoch)"
        " ORDER BY updated_at DESC, id DESC LIMIT ?",
        (place.platform, place.workspace, place.channel, author, limit),
    )
    return [rows.conversation_from(row) for row in found]
