"""The rows of attachments: inserts and replaces them with their message, and reads them.

Invariant: an attachment keeps its locator, which may be a signed address, only until it is
downloaded or reaches its final state. A link keeps its address, which is in the message's text
anyway.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence

from bot.domain.attachments import (
    EXTRACT_VERSION,
    Attachment,
    AttachmentKind,
    AttachmentState,
    IncomingAttachment,
    Omission,
)
from bot.domain.conversations import ConversationKey
from bot.domain.records import AttachmentRecord
from bot.store import files, rows
from bot.store.database import Database, Locking, Row, batches, marks, take_locks
from bot.store.values import storable

_OTHER_NUMBERS = 1_000_000  # above every number, so renumbering causes no collision


# ── inserting ─────────────────────────────────────────────────────────────────────────────────
def insert(
    db: Database, now: float, message: int, attachments: Iterable[IncomingAttachment]
) -> None:
    """Insert a message's attachments, in their order."""
    for number, attachment in enumerate(attachments):
        _insert(db, now, message, number, attachment)


def usable_in(kind: str, attachments: Iterable[IncomingAttachment]) -> list[IncomingAttachment]:
    """The attachments that a message of this kind keeps; only questions have links."""
    return [each for each in attachments if kind == "question" or not each.is_link]


def _insert(
    db: Database, now: float, message: int, number: int, attachment: IncomingAttachment
) -> None:
    digest = _store_data(db, now, attachment)
    values = {
        "uid": str(uuid.uuid4()),
        "message_id": message,
        "number": number,
        "identity": identity_of(attachment),
        "name": attachment.name,
        "media_type": attachment.media_type,
        "size": attachment.size if attachment.data is None else len(attachment.data),
        "locator": json.dumps(_locator(attachment, digest)),
        "transcript": attachment.transcript,
        "is_link": attachment.is_link,
        "is_paste": attachment.is_paste,
        "is_voice": attachment.is_voice,
        "digest": digest,
        "state": _state(db, attachment.omission, digest).value,
        "omission": attachment.omission,
        "created_at": now,
    }
    rows.insert_row(db, "attachments", values)


def copy(db: Database, now: float, message: int, source: str) -> None:
    """Copy the files of another message to the message with this source. Links come with its
    text."""
    (new,) = db.execute("SELECT id FROM messages WHERE source = ?", (source,)).fetchone()
    (number,) = db.execute(
        "SELECT coalesce(max(number) + 1, 0) FROM attachments WHERE message_id = ?", (new,)
    ).fetchone()
    found = db.execute(
        "SELECT * FROM attachments WHERE message_id = ? AND is_link = 0 ORDER BY number", (message,)
    ).fetchall()
    take_locks(db, *files.lock_names(row["digest"] for row in found if row["digest"]))
    for after, row in enumerate(found, number):
        own = {"uid": str(uuid.uuid4()), "message_id": new, "number": after, "created_at": now}
        kept = {name: row[name] for name in _COPIED}
        rows.insert_row(db, "attachments", {**kept, **own})


_COPIED = (
    "identity", "name", "media_type", "size", "locator", "transcript", "is_link", "is_paste",
    "is_voice", "digest", "state", "omission",
)  # fmt: skip


def _store_data(db: Database, now: float, attachment: IncomingAttachment) -> str | None:
    """Store the bytes that came with the message, and return their digest."""
    if attachment.data is None or attachment.omission is not None:
        return None
    digest = attachment.digest or files.digest_of(attachment.data)
    files.ensure(db, now, digest, attachment.data)
    return digest


def identity_of(attachment: IncomingAttachment) -> str:
    """The identity by which an edit recognizes the attachment: the platform's id, or a link's
    address.

    Without either, it is derived from what the platform says about the attachment.
    """
    if attachment.is_link:
        return attachment.locator.get("url", attachment.identity)
    if attachment.identity:
        return attachment.identity
    digest = "" if attachment.data is None else attachment.digest
    if attachment.data is not None and not digest:
        digest = files.digest_of(attachment.data)
    return json.dumps([attachment.name, attachment.media_type, attachment.size, digest])


def _locator(attachment: IncomingAttachment, digest: str | None) -> dict[str, str]:
    needed = digest is None and attachment.omission is None
    return dict(attachment.locator) if needed or attachment.is_link else {}


def _state(db: Database, omission: Omission | None, digest: str | None) -> AttachmentState:
    if omission is not None:
        return omission.state
    ready = digest is not None and has_extract(db, digest)
    return AttachmentState.READY if ready else AttachmentState.PENDING


def has_extract(db: Database, digest: str) -> bool:
    """Whether an extract of the current version exists for these bytes."""
    found = db.execute(
        "SELECT 1 FROM extracts WHERE digest = ? AND version = ?", (digest, EXTRACT_VERSION)
    )
    return found.fetchone() is not None


# ── replacing ─────────────────────────────────────────────────────────────────────────────────
def replace(
    db: Database, now: float, message: int, attachments: Sequence[IncomingAttachment]
) -> bool:
    """Replace a message's attachments, keeping the rows of those it already had. Returns whether
    any changed."""
    rest = db.execute("SELECT * FROM attachments WHERE message_id = ?", (message,)).fetchall()
    digests = [*(row["digest"] for row in rest), *(each.digest for each in attachments)]
    take_locks(db, *files.lock_names(filter(None, digests)))
    kept = [_take(rest, attachment) for attachment in attachments]
    for row, attachment in zip(kept, attachments, strict=True):
        if row is not None:
            _refresh(db, row, attachment)
    if not rest and None not in kept:
        return False
    db.executemany("DELETE FROM attachments WHERE id = ?", [(row["id"],) for row in rest])
    db.execute(
        "UPDATE attachments SET number = number + ? WHERE message_id = ?",
        (_OTHER_NUMBERS, message),
    )
    for number, (row, attachment) in enumerate(zip(kept, attachments, strict=True)):
        if row is None:
            _insert(db, now, message, number, attachment)
        else:
            db.execute("UPDATE attachments SET number = ? WHERE id = ?", (number, row["id"]))
    return True


def _take(stored: list[Row], attachment: IncomingAttachment) -> Row | None:
    """Remove this attachment's row from `stored`, and return it."""
    identity = storable(identity_of(attachment))
    for row in stored:
        same = (row["is_link"], row["identity"]) == (attachment.is_link, identity)
        if same and not _differs(row, attachment):
            stored.remove(row)
            return row
    return None


def _differs(row: Row, attachment: IncomingAttachment) -> bool:
    """Whether the platform now describes the attachment in a way that changes what a model gets.

    For example, the file was deleted, or a recording now has a transcript.
    """
    if attachment.omission is not None:
        return bool(row["omission"] != attachment.omission)
    ended = row["state"] not in ("pending", "ready")
    return ended and bool(attachment.transcript) and not row["transcript"]


def _refresh(db: Database, row: Row, attachment: IncomingAttachment) -> None:
    """Update the address and the transcript of an attachment that is not downloaded yet."""
    if row["state"] == "pending":
        locator = json.dumps(_locator(attachment, row["digest"]))
        db.execute(
            "UPDATE attachments SET locator = ?, transcript = ? WHERE id = ?",
            (locator, attachment.transcript or row["transcript"], row["id"]),
        )


def delete(db: Database, message: int) -> None:
    """Delete a message's attachments; the trigger deletes their files."""
    if isinstance(db, Locking) and not _lock_files(db, "message_id = ?", message):
        return
    db.execute("DELETE FROM attachments WHERE message_id = ?", (message,))


def lock_files(db: Database, conversation: int) -> None:
    """Lock all files of a conversation, before several of its messages are erased."""
    if isinstance(db, Locking):
        place = "message_id IN (SELECT id FROM messages WHERE conversation_id = ?)"
        _lock_files(db, place, conversation)


def _lock_files(db: Database, where: str, value: int) -> bool:
    """Take the files' locks before those of the rows, as `save_extract` does. Returns whether any
    attachments were found."""
    found = db.execute(
        f"SELECT DISTINCT digest FROM attachments WHERE {where}",  # noqa: S608 - our words
        (value,),
    ).fetchall()
    take_locks(db, *files.lock_names(row["digest"] for row in found if row["digest"]))
    return bool(found)


# ── queries ───────────────────────────────────────────────────────────────────────────────────
def pending(db: Database, platform: str, limit: int) -> list[Attachment]:
    # The expression in place of the column makes SQLite start from the few pending attachments.
    found = db.execute(
        "SELECT attachments.*, NULL AS characters FROM attachments"
        " JOIN messages ON messages.id = attachments.message_id"
        " JOIN conversations ON conversations.id = conversation_id"
        " WHERE state = 'pending' AND platform || '' = ? ORDER BY attachments.id LIMIT ?",
        (platform, limit),
    )
    return [attachment_from(row) for row in found]


def count(db: Database, messages: Sequence[Row]) -> int:
    """Count the attachments of these messages."""
    return sum(
        db.execute(
            f"SELECT count(*) FROM attachments WHERE message_id IN ({marks(some)})",  # noqa: S608
            [each["id"] for each in some],
        ).fetchone()[0]
        for some in batches(messages)
    )


def of_messages(db: Database, messages: Sequence[int]) -> dict[int, tuple[Attachment, ...]]:
    found = _of_messages(db, RECORDS, messages)
    return {
        message: tuple(attachment_from(row) for row in group) for message, group in found.items()
    }


def records(db: Database, messages: Sequence[int]) -> Mapping[int, tuple[AttachmentRecord, ...]]:
    """The attachments of messages as records, by the row id of the message."""
    found = _of_messages(db, RECORDS, messages)
    return {message: tuple(record_from(row) for row in group) for message, group in found.items()}


RECORDS = (
    "SELECT attachments.*, extracts.kind, extracts.characters FROM attachments"
    " LEFT JOIN extracts ON extracts.digest = attachments.digest"
)


def _of_messages(db: Database, select: str, messages: Sequence[int]) -> dict[int, list[Row]]:
    """The rows of each message, in the order of the messages, then by number."""
    if not messages:
        return {}
    found = db.execute(
        f"{select} WHERE message_id IN ({marks(messages)})",
        tuple(messages),
    )
    groups: dict[int, list[Row]] = {message: [] for message in messages}
    for row in sorted(found, key=lambda row: row["number"]):
        groups[row["message_id"]].append(row)
    return {message: group for message, group in groups.items() if group}


def place(db: Database, attachment: int) -> ConversationKey | None:
    row = db.execute(
        "SELECT conversations.* FROM attachments"
        " JOIN messages ON messages.id = attachments.message_id"
        " JOIN conversations ON conversations.id = conversation_id WHERE attachments.id = ?",
        (attachment,),
    ).fetchone()
    return None if row is None else rows.conversation_from(row).key


def sender(db: Database, attachment: int) -> tuple[ConversationKey, str] | None:
    """See `AttachmentStore.sender`."""
    key = place(db, attachment)
    row = db.execute(
        "SELECT author_id FROM messages"
        " WHERE id = (SELECT message_id FROM attachments WHERE id = ?)",
        (attachment,),
    ).fetchone()
    return None if key is None else (key, row["author_id"] or "")


# ── from rows ─────────────────────────────────────────────────────────────────────────────────
def attachment_from(row: Row) -> Attachment:
    """Convert a row of `attachments` with the `characters` of its extract."""
    return Attachment(
        id=row["id"],
        uid=row["uid"],
        message=row["message_id"],
        number=row["number"],
        name=row["name"],
        media_type=row["media_type"],
        size=row["size"],
        locator=json.loads(row["locator"]),
        state=AttachmentState(row["state"]),
        omission=_omission(row),
        digest=row["digest"],
        transcript=row["transcript"],
        is_link=bool(row["is_link"]),
        is_paste=bool(row["is_paste"]),
        is_voice=bool(row["is_voice"]),
        characters=row["characters"],
    )


def record_from(row: Row) -> AttachmentRecord:
    """Convert a row of RECORDS."""
    return AttachmentRecord(
        uid=row["uid"],
        name=row["name"],
        media_type=row["media_type"],
        size=row["size"],
        state=AttachmentState(row["state"]),
        omission=_omission(row),
        kind=AttachmentKind(row["kind"]) if row["kind"] else None,
        is_link=bool(row["is_link"]),
    )


def _omission(row: Row) -> Omission | None:
    return None if row["omission"] is None else Omission(row["omission"])
