"""Links to conversations, and people's default models.

Invariant: a link has ids of messages and no text. No query here returns a message that was erased,
or that changed after it was shared.
"""

from __future__ import annotations

import secrets

from bot.domain.conversations import ConversationKey
from bot.domain.records import AttachmentContent, MessageRecord
from bot.domain.sharing import Share
from bot.store import attachment_contents, locks, message_views, rows
from bot.store.database import Database, Row
from bot.store.operations import Operations, reads, writes, writes_at
from bot.store.staging import FileOperations, reads_files

UID_BYTES = 32
"""The random bytes of an address, which make it unguessable."""

EVER = float("inf")
_PAGE = 1_000  # messages that one statement of `share` adds

# A link's messages, if they are still as they were when shared. A rewritten reply has a new row.
_UNCHANGED = (
    "messages.erased_at IS NULL AND messages.withheld = 0"
    " AND (messages.edited_at IS NULL OR messages.edited_at <= shares.shared_at)"
)
_SHOWN = (
    "SELECT count(*) FROM share_messages JOIN messages"  # noqa: S608
    " ON messages.id = share_messages.message_id"
    f" WHERE share_id = shares.id AND {_UNCHANGED}"
)
# People see messages that the link lacks, or the link has messages of a branch that is no longer
# shown.
_NEWER = (
    "EXISTS (SELECT 1 FROM messages WHERE messages.conversation_id = shares.conversation_id"
    " AND idx IS NOT NULL AND erased_at IS NULL AND withheld = 0"
    " AND (parked IS NULL) <> EXISTS"
    " (SELECT 1 FROM share_messages AS known WHERE known.share_id = shares.id"
    " AND known.message_id = messages.id))"
)
_SHARE = (
    "SELECT shares.*, conversations.uid AS conversation, name, platform, workspace, channel,"  # noqa: S608
    f" thread, ({_SHOWN}) AS shown, {_NEWER} AS newer"
    " FROM shares JOIN conversations ON conversations.id = conversation_id"
)
_OF_KEY = " WHERE platform = ? AND workspace = ? AND channel = ? AND thread = ?"


# ── transitions ───────────────────────────────────────────────────────────────────────────────
def share(db: Database, now: float, key: ConversationKey, person: str) -> Share | None:
    """See `ShareStore.share`."""
    conversation = rows.find(db, key)
    if conversation is None:
        return None
    row = db.execute(
        "INSERT INTO shares (uid, conversation_id, shared_by, messages, created_at, shared_at)"
        " VALUES (:uid, :conversation, :person, 0, :now, :now)"
        " ON CONFLICT (conversation_id) DO UPDATE SET shared_at = :now RETURNING id",
        {
            "uid": secrets.token_urlsafe(UID_BYTES),
            "conversation": conversation["id"],
            "person": person,
            "now": now,
        },
    ).fetchall()[0]
    count = _choose_messages(db, row["id"], conversation["id"])
    if not count:
        db.execute("DELETE FROM shares WHERE id = ?", (row["id"],))
        return None
    db.execute("UPDATE shares SET messages = ? WHERE id = ?", (count, row["id"]))
    return of_conversation(db, key)


def _choose_messages(db: Database, identity: int, conversation: int) -> int:
    """Make the link show the messages that people see now. Returns their number."""
    db.execute("DELETE FROM share_messages WHERE share_id = ?", (identity,))
    after, count = -1, 0
    while found := message_views.message_ids(db, conversation, after, _PAGE):
        db.executemany(
            "INSERT INTO share_messages (share_id, message_id) VALUES (?, ?)",
            [(identity, number) for number, _ in found],
        )
        after, count = found[-1][1], count + len(found)
    return count


def revoke(db: Database, key: ConversationKey) -> Share | None:
    """See `ShareStore.revoke`."""
    known = of_conversation(db, key)
    if known is not None:
        db.execute("DELETE FROM shares WHERE uid = ?", (known.uid,))
    return known


def forget(db: Database, conversation: int, before: float = EVER) -> None:
    """Delete a conversation's instructions and link if they are older than `before`.

    Everything that a link shows is at least as old as the link.
    """
    db.execute(
        "UPDATE conversations SET instructions = '', instructions_at = NULL"
        " WHERE id = ? AND instructions_at < ?",
        (conversation, before),
    )
    db.execute(
        "DELETE FROM shares WHERE conversation_id = ? AND shared_at < ?", (conversation, before)
    )


# ── queries ───────────────────────────────────────────────────────────────────────────────────
def of_conversation(db: Database, key: ConversationKey) -> Share | None:
    """See `ShareStore.of_conversation`."""
    row = db.execute(
        f"{_SHARE}{_OF_KEY}", (key.platform, key.workspace, key.channel, key.thread)
    ).fetchone()
    return None if row is None else _share(row)


def of_person(db: Database, platform: str, person: str, *, limit: int) -> list[Share]:
    """See `ShareStore.of_person`."""
    found = db.execute(
        f"{_SHARE} WHERE shared_by = ? AND platform = ? AND deleted_at IS NULL"
        " ORDER BY shares.id DESC LIMIT ?",
        (person, platform, limit),
    )
    return [_share(row) for row in found.fetchall()]


def find(db: Database, uid: str) -> tuple[Share, ConversationKey] | None:
    """See `ShareStore.find`."""
    row = db.execute(f"{_SHARE} WHERE shares.uid = ? AND deleted_at IS NULL", (uid,)).fetchone()
    if row is None:
        return None
    key = ConversationKey(row["platform"], row["workspace"], row["channel"], row["thread"])
    return _share(row), key


def messages(db: Database, uid: str, *, after: int, limit: int) -> list[MessageRecord]:
    """See `ShareStore.messages`."""
    return message_views.shared_messages(db, uid, _UNCHANGED, after, limit)


def attachment(db: Database, uid: str, attachment: str) -> AttachmentContent | None:
    """See `ShareStore.attachment`."""
    return attachment_contents.shared(db, uid, attachment, _UNCHANGED)


def _share(row: Row) -> Share:
    return Share(
        uid=row["uid"],
        conversation=row["conversation"],
        name=row["name"],
        shared_by=row["shared_by"],
        created_at=row["created_at"],
        shared_at=row["shared_at"],
        messages=row["messages"],
        shown=row["shown"],
        has_news=bool(row["newer"]) or row["shown"] < row["messages"],
    )


# ── default models ────────────────────────────────────────────────────────────────────────────
def default_model(db: Database, platform: str, person: str) -> str | None:
    """See `DefaultModels.default_model`."""
    row = db.execute(
        "SELECT model FROM personal_defaults WHERE platform = ? AND person = ?", (platform, person)
    ).fetchone()
    return None if row is None else str(row["model"])


def set_default_model(
    db: Database, now: float, platform: str, person: str, model: str | None
) -> None:
    """See `DefaultModels.set_default_model`."""
    if model is None:
        db.execute(
            "DELETE FROM personal_defaults WHERE platform = ? AND person = ?", (platform, person)
        )
        return
    db.execute(
        "INSERT INTO personal_defaults (platform, person, model, set_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (platform, person) DO UPDATE SET model = excluded.model,"
        " set_at = excluded.set_at",
        (platform, person, model, now),
    )


class SqlShares(FileOperations):
    """Implements `bot.ports.sharing.ShareStore`."""

    share = writes_at(share, lock=locks.by_key)
    revoke = writes(revoke, lock=locks.by_key)
    of_conversation = reads(of_conversation)
    of_person = reads(of_person)
    find = reads(find)
    messages = reads(messages)
    attachment = reads_files(attachment)


class SqlDefaultModels(Operations):
    """Implements `bot.ports.sharing.DefaultModels`."""

    default_model = reads(default_model)
    set_default_model = writes_at(set_default_model, lock=locks.nothing)
