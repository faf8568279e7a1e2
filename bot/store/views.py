"""The library's queries: records with public ids; each list uses an index."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.conversations import TEAM, ConversationKey, Role
from bot.domain.records import ConversationRecord, RecordScope, ThreadEntry, ThreadRecord
from bot.store import rows
from bot.store.database import Database, Row
from bot.store.message_views import first_question, from_rows

# A concluded turn is not busy: the reply is complete, and only its last edit is still on its way.
_BUSY = (
    "EXISTS (SELECT 1 FROM turns WHERE conversation_id = conversations.id"
    " AND state <> 'done' AND state <> 'concluded') AS busy"
)
_CONVERSATION = f"SELECT conversations.*, {_BUSY} FROM conversations"  # noqa: S608 - our words
_LAST = (
    "SELECT role || ':' || substr(content, 1, 300) FROM messages"
    " WHERE conversation_id = conversations.id AND erased_at IS NULL AND parked IS NULL"
    " AND idx IS"
)
MOST_PEOPLE = 100
"""The most askers that the record of a thread in a shared channel lists. Others only learn of its
answers while they have the thread open."""

# A question that waits for its turn is newer than everything that has an index.
ENTRY = (
    f"SELECT conversations.*, {_BUSY}, coalesce("  # noqa: S608 - our words
    f"({_LAST} NULL ORDER BY position DESC, id DESC LIMIT 1),"
    f" ({_LAST} NOT NULL ORDER BY idx DESC LIMIT 1)) AS last FROM conversations"
)
_BEFORE = (
    " AND id < coalesce((SELECT id FROM conversations WHERE uid = :before), 4611686018427387904)"
    " ORDER BY id DESC LIMIT :limit"
)


# ── conversations ─────────────────────────────────────────────────────────────────────────────
def find(db: Database, uid: str, scope: RecordScope) -> ConversationRecord | None:
    row = db.execute(
        f"{_CONVERSATION} WHERE uid = ? AND platform = ? AND workspace = ?"
        " AND (CAST(? AS TEXT) IS NULL OR channel = ?) AND deleted_at IS NULL",
        (uid, scope.platform, scope.workspace, scope.channel, scope.channel),
    ).fetchone()
    return None if row is None else _record(row)


def by_key(db: Database, key: ConversationKey) -> ConversationRecord | None:
    """The conversation with this key."""
    row = db.execute(
        f"{_CONVERSATION} WHERE platform = ? AND workspace = ? AND channel = ? AND thread = ?",
        (key.platform, key.workspace, key.channel, key.thread),
    ).fetchone()
    return None if row is None else _record(row)


def public(db: Database, uid: str) -> ConversationRecord | None:
    row = db.execute(
        f"{_CONVERSATION} WHERE uid = ? AND visibility = 'public' AND deleted_at IS NULL", (uid,)
    ).fetchone()
    return None if row is None else _record(row)


def conversations(
    db: Database,
    scope: RecordScope,
    before: str | None,
    limit: int,
    archived: bool | None = None,
) -> list[ConversationRecord]:
    only = "" if archived is None else f"AND archived = {int(archived)}"
    return [_record(row) for row in _of_scope(db, _CONVERSATION, scope, before, limit, only)]


def public_conversations(
    db: Database, platform: str, before: str | None, limit: int
) -> list[ConversationRecord]:
    found = db.execute(
        f"{_CONVERSATION} WHERE platform = :platform AND visibility = 'public'"
        f" AND deleted_at IS NULL {_BEFORE}",
        {"platform": platform, "before": before, "limit": limit},
    )
    return [_record(row) for row in found]


def _of_scope(
    db: Database, select: str, scope: RecordScope, before: str | None, limit: int, more: str
) -> list[Row]:
    channel = "" if scope.channel is None else "AND channel = :channel"
    return db.execute(
        f"{select} WHERE platform = :platform AND workspace = :workspace"
        f" {channel} AND deleted_at IS NULL {more} {_BEFORE}",
        {
            "platform": scope.platform,
            "workspace": scope.workspace,
            "channel": scope.channel,
            "before": before,
            "limit": limit,
        },
    ).fetchall()


# ── threads ───────────────────────────────────────────────────────────────────────────────────
def threads(db: Database, scope: RecordScope, before: str | None, limit: int) -> list[ThreadRecord]:
    said = (
        "AND EXISTS (SELECT 1 FROM messages"
        " WHERE conversation_id = conversations.id AND parked IS NULL)"
    )
    listed = _of_scope(db, ENTRY, scope, before, limit, said)
    found = [(row, first_question(db, row["id"])) for row in listed]
    return _with_roots(db, [(row, root) for row, root in found if root is not None])


def thread(db: Database, uid: str, scope: RecordScope) -> ThreadRecord | None:
    row = db.execute(
        f"{ENTRY} WHERE uid = ? AND platform = ? AND workspace = ? AND deleted_at IS NULL",
        (uid, scope.platform, scope.workspace),
    ).fetchone()
    root = None if row is None else first_question(db, row["id"])
    return None if root is None else _with_roots(db, [(row, root)])[0]


def _with_roots(db: Database, found: Sequence[tuple[Row, Row]]) -> list[ThreadRecord]:
    """Build the threads from conversations and their first questions."""
    roots = from_rows(db, [root for _, root in found])
    return [
        ThreadRecord(entry_from(row), root, _later(db, row["id"]), _people(db, row))
        for (row, _), root in zip(found, roots, strict=True)
    ]


def _people(db: Database, conversation: Row) -> tuple[str, ...]:
    """The people who asked in a shared channel's conversation, except in deleted questions."""
    if conversation["workspace"] != TEAM:
        return ()
    found = db.execute(
        "SELECT DISTINCT author_id FROM messages WHERE conversation_id = ? AND kind = 'question'"
        " AND parked IS NULL AND erased_at IS NULL AND author_id IS NOT NULL"
        " ORDER BY author_id LIMIT ?",
        (conversation["id"], MOST_PEOPLE),
    )
    return tuple(row["author_id"] for row in found.fetchall())


def _later(db: Database, conversation: int) -> int:
    """The number of messages after the first question."""
    (asked,) = db.execute(
        "SELECT count(*) FROM messages WHERE conversation_id = ? AND kind = 'question'"
        " AND parked IS NULL",
        (conversation,),
    ).fetchone()
    (answered,) = db.execute(
        "SELECT count(*) FROM turns WHERE conversation_id = ? AND outcome IS NOT NULL"
        " AND parked IS NULL",
        (conversation,),
    ).fetchone()
    return int(asked - 1 + answered)


# ── from rows ─────────────────────────────────────────────────────────────────────────────────
def _record(row: Row) -> ConversationRecord:
    return ConversationRecord(
        row["uid"],
        rows.conversation_from(row),
        busy=bool(row["busy"]),
        pinned=bool(row["on_top"]),
        archived=bool(row["archived"]),
    )


def entry_from(row: Row) -> ThreadEntry:
    """Convert a row of ENTRY."""
    role, _, last = (row["last"] or "").partition(":")
    answered_at = row["answered_at"]
    return ThreadEntry(
        record=_record(row),
        active_at=row["active_at"] or row["created_at"],
        answered_at=answered_at,
        unread=answered_at is not None and answered_at > row["read_at"],
        last_role=Role(role) if role else None,
        last=last,
    )
