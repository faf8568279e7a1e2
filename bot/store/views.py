"""The library's queries: records with public ids; each list uses an index."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.conversations import TEAM, ConversationKey, Role
from bot.domain.records import (
    AttachmentRecord,
    ConversationRecord,
    MessageRecord,
    RecordScope,
    ReplyRecord,
    ThreadEntry,
    ThreadRecord,
)
from bot.domain.turns import Outcome
from bot.store import attachment_rows, rows, versions
from bot.store.database import Database, Row, marks

# A concluded turn is not busy: the reply is complete, only its last edit is on its way.
_BUSY = (
    "EXISTS (SELECT 1 FROM turns WHERE conversation_id = conversations.id"
    " AND state <> 'done' AND state <> 'concluded') AS busy"
)
_CONVERSATION = f"SELECT conversations.*, {_BUSY} FROM conversations"  # noqa: S608 - our words
_LAST_INDEX = 2**62
_LAST = (
    "SELECT role || ':' || substr(content, 1, 300) FROM messages"
    " WHERE conversation_id = conversations.id AND erased_at IS NULL AND parked IS NULL"
    " AND idx IS"
)
MOST_PEOPLE = 100
"""How many of those who asked in a thread of a shared channel its record names; the rest hear of
its answers only while they have it open."""

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
# Of all requests since the turn was last reopened; NULL if a price is not known.
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
    found = [(row, _root(db, row["id"])) for row in listed]
    return _with_roots(db, [(row, root) for row, root in found if root is not None])


def thread(db: Database, uid: str, scope: RecordScope) -> ThreadRecord | None:
    row = db.execute(
        f"{ENTRY} WHERE uid = ? AND platform = ? AND workspace = ? AND deleted_at IS NULL",
        (uid, scope.platform, scope.workspace),
    ).fetchone()
    root = None if row is None else _root(db, row["id"])
    return None if root is None else _with_roots(db, [(row, root)])[0]


def _root(db: Database, conversation: int) -> Row | None:
    """The row of the conversation's first question."""
    row: Row | None = db.execute(
        f"{_MESSAGE} WHERE messages.conversation_id = ? AND kind = 'question'"
        " AND messages.parked IS NULL ORDER BY idx IS NULL, idx, position LIMIT 1",
        (conversation,),
    ).fetchone()
    return row


def _with_roots(db: Database, found: Sequence[tuple[Row, Row]]) -> list[ThreadRecord]:
    """The threads of conversations and their first questions."""
    roots = _messages(db, [root for _, root in found])
    return [
        ThreadRecord(entry_from(row), root, _later(db, row["id"]), _people(db, row))
        for (row, _), root in zip(found, roots, strict=True)
    ]


def _people(db: Database, conversation: Row) -> tuple[str, ...]:
    """Who asked in a conversation of a channel that is shared, unless the question is deleted."""
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


# ── messages and replies ──────────────────────────────────────────────────────────────────────
def messages(db: Database, conversation: int, after: int, limit: int) -> list[MessageRecord]:
    found = db.execute(
        f"{_MESSAGE} WHERE messages.conversation_id = ? AND idx > ? AND erased_at IS NULL"
        " AND messages.parked IS NULL ORDER BY idx LIMIT ?",
        (conversation, after, limit),
    ).fetchall()
    if len(found) < limit:
        found += _unbound(db, conversation)[: limit - len(found)]
    return _messages(db, found)


def latest(
    db: Database, conversation: int, limit: int, until: int | None = None
) -> list[MessageRecord]:
    found = db.execute(
        f"{_MESSAGE} WHERE messages.conversation_id = ? AND idx <= ?"
        " AND erased_at IS NULL AND messages.parked IS NULL ORDER BY idx DESC LIMIT ?",
        (conversation, _LAST_INDEX if until is None else until, limit),
    ).fetchall()
    waiting = _unbound(db, conversation) if until is None else []
    return _messages(db, [*reversed(found), *waiting])


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
    """See `ShareStore.messages`; `unchanged` is the condition that such a message meets."""
    found = db.execute(
        f"{_MESSAGE} JOIN share_messages ON share_messages.message_id = messages.id"
        " JOIN shares ON shares.id = share_id"
        f" WHERE shares.uid = ? AND idx > ? AND {unchanged} ORDER BY idx LIMIT ?",
        (uid, after, limit),
    ).fetchall()
    return _messages(db, found)


def _unbound(db: Database, conversation: int) -> list[Row]:
    return db.execute(
        f"{_MESSAGE} WHERE messages.conversation_id = ? AND idx IS NULL AND erased_at IS NULL"
        " ORDER BY position, messages.id",
        (conversation,),
    ).fetchall()


def find_message(db: Database, source: str) -> MessageRecord | None:
    row = db.execute(f"{_MESSAGE} WHERE source = ?", (source,)).fetchone()
    return None if row is None else _messages(db, [row])[0]


def record_of(db: Database, conversation: int, uid: str) -> MessageRecord | None:
    """See `Library.message`."""
    row = db.execute(
        f"{_MESSAGE} WHERE uid = ? AND messages.conversation_id = ? AND erased_at IS NULL",
        (uid, conversation),
    ).fetchone()
    return None if row is None else _messages(db, [row])[0]


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
    return _messages(db, found)


def message(db: Database, number: int) -> MessageRecord | None:
    """The message with this row id; None if it was deleted in the meantime."""
    row = db.execute(f"{_MESSAGE} WHERE messages.id = ?", (number,)).fetchone()
    return None if row is None else _messages(db, [row])[0]


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
def _record(row: Row) -> ConversationRecord:
    return ConversationRecord(
        row["uid"],
        rows.conversation_from(row),
        busy=bool(row["busy"]),
        pinned=bool(row["on_top"]),
        archived=bool(row["archived"]),
    )


def entry_from(row: Row) -> ThreadEntry:
    """From a row of ENTRY."""
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


def _messages(db: Database, found: Sequence[Row]) -> list[MessageRecord]:
    """The messages with their attachments, which one statement reads."""
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
