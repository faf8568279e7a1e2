# ruff: noqa: S608 - every fragment is a constant of this module
"""Periods in which a process may have lost events, kept until they are read again.

Invariant: a gap stays until each reader has read it after it settled, or for KEPT_SECONDS. All
times come from the database's clock. On SQLite there are no gaps: a single process's watermark
passes no message that it did not handle.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Gap, ThreadRead
from bot.ports.cluster import SETTLE_SECONDS
from bot.store.database import Database

KEPT_SECONDS = 86_400.0
"""A gap is dropped after a day even if a reader could not read all of it: messages that old are not
worth the requests."""

_NOW = "extract(epoch FROM clock_timestamp())::double precision"


def record(db: Database, since: float) -> None:
    """Record that a process may have lost events from `since` (Unix seconds of the database) until
    now."""
    db.execute(f"DELETE FROM gaps WHERE settles_at < {_NOW} - ?", (KEPT_SECONDS,))
    db.execute(f"DELETE FROM thread_reads WHERE read_at < {_NOW} - ?", (KEPT_SECONDS,))
    db.execute(
        f"INSERT INTO gaps (id, since, settles_at) VALUES (?, ?, {_NOW} + ?)",
        (uuid.uuid4().hex, since, SETTLE_SECONDS),
    )


def read(db: Database, reader: str) -> list[Gap]:
    """See `Store.gaps`."""
    found = db.execute(
        f"SELECT id, since, settles_at <= {_NOW} AS is_settled FROM gaps"
        " WHERE NOT EXISTS (SELECT 1 FROM gap_reads WHERE gap = gaps.id AND reader = ?)",
        (reader,),
    )
    return [Gap(row["id"], row["since"], bool(row["is_settled"])) for row in found]


def finish(db: Database, reader: str, gaps: Sequence[str]) -> None:
    """See `Store.finish_gaps`."""
    for gap in sorted(gaps):  # every process uses the same order, because these rows have no lock
        db.execute(
            "INSERT INTO gap_reads (gap, reader) SELECT id, ? FROM gaps WHERE id = ?"
            " ON CONFLICT (gap, reader) DO NOTHING",
            (reader, gap),
        )


def thread_reads(db: Database, platform: str, workspace: str) -> list[ThreadRead]:
    """See `Store.thread_reads`."""
    found = db.execute(
        "SELECT channel, since, reached FROM thread_reads WHERE platform = ? AND workspace = ?",
        (platform, workspace),
    )
    return [ThreadRead(workspace, *row) for row in found]


def record_thread_read(db: Database, platform: str, read: ThreadRead) -> None:
    """See `Store.record_thread_read`."""
    db.execute(
        "INSERT INTO thread_reads (platform, workspace, channel, since, reached, read_at)"
        f" VALUES (?, ?, ?, ?, ?, {_NOW}) ON CONFLICT (platform, workspace, channel) DO UPDATE"
        " SET since = excluded.since, reached = excluded.reached, read_at = excluded.read_at"
        " WHERE thread_reads.reached <= excluded.reached",
        (platform, read.workspace, read.channel, read.since, read.reached),
    )


def count_known_replies(db: Database, place: ConversationKey) -> dict[str, int]:
    """See `Store.count_known_replies`."""
    found = db.execute(
        "SELECT thread, (SELECT count(*) FROM messages WHERE conversation_id = conversations.id"
        "  AND message_id <> conversations.thread AND erased_at IS NULL)"
        " + (SELECT count(*) FROM pages JOIN turns ON turns.id = pages.turn_id"
        "  WHERE turns.conversation_id = conversations.id AND pages.message_id IS NOT NULL)"
        " FROM conversations WHERE platform = ? AND workspace = ? AND channel = ?"
        " AND updated_at > ?",
        (place.platform, place.workspace, place.channel, time.time() - KEPT_SECONDS),
    )
    return {thread: int(count) for thread, count in found}
