"""Leftovers on the platforms: see `bot.catchup.leftovers`."""

from __future__ import annotations

from bot.domain.leftovers import Leftover, LeftoverKind
from bot.store.database import Database

MAX_READ = 1_000
"""The most rows per read; the rest follows once these are removed."""


def add(db: Database, now: float, leftover: Leftover) -> None:
    """See `Store.add_leftover`."""
    db.execute(
        "INSERT INTO leftovers (conversation_id, kind, channel, name, created_at)"
        " SELECT id, ?, ?, ?, ? FROM conversations WHERE id = ?"
        " ON CONFLICT (conversation_id, kind, channel, name) DO NOTHING",
        (leftover.kind.value, leftover.channel, leftover.name, now, leftover.conversation),
    )


def read(db: Database, platform: str) -> list[Leftover]:
    """See `Store.leftovers`."""
    found = db.execute(
        "SELECT coalesce(conversation_id, 0), kind, leftovers.channel, leftovers.name,"
        " coalesce(leftovers.workspace, conversations.workspace), leftovers.created_at"
        " FROM leftovers LEFT JOIN conversations ON conversations.id = conversation_id"
        " WHERE coalesce(leftovers.platform, conversations.platform) = ?"
        " ORDER BY leftovers.created_at LIMIT ?",
        (platform, MAX_READ),
    )
    return [
        Leftover(conversation, LeftoverKind(kind), channel, name, workspace, created_at)
        for conversation, kind, channel, name, workspace, created_at in found
    ]


def of_conversation(db: Database, conversation: int) -> list[Leftover]:
    """See `Store.leftovers_of`."""
    found = db.execute(
        "SELECT kind, channel, name FROM leftovers WHERE conversation_id = ?", (conversation,)
    )
    return [
        Leftover(conversation, LeftoverKind(kind), channel, name) for kind, channel, name in found
    ]


def remove(db: Database, leftover: Leftover) -> None:
    """See `Store.remove_leftover`."""
    db.execute(  # also if the conversation was erased in the meantime
        "DELETE FROM leftovers WHERE coalesce(conversation_id, ?) = ? AND kind = ? AND channel = ?"
        " AND name = ?",
        (*(leftover.conversation,) * 2, leftover.kind.value, leftover.channel, leftover.name),
    )


def give_up(db: Database, before: float) -> None:
    """See `PrivacyStore.give_up_leftovers`."""
    db.execute("DELETE FROM leftovers WHERE conversation_id IS NULL AND created_at < ?", (before,))
