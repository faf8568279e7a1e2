"""Stores, reads and deletes the bytes of attachments and their extracts.

Invariant: bytes and extracts exist as long as an attachment refers to them.
"""

from __future__ import annotations

import json

from bot.domain.attachments import EXTRACT_VERSION, AttachmentKind, Download, Extract, Omission
from bot.domain.conversations import ImagePart
from bot.domain.records import AttachmentContent, RecordScope
from bot.store import attachment_rows, files, rows
from bot.store.database import Database, Row, take_locks

_PLACED = (
    f"{attachment_rows.RECORDS} JOIN messages ON messages.id = attachments.message_id"
    " JOIN conversations ON conversations.id = conversation_id"
)


# ── transitions ───────────────────────────────────────────────────────────────────────────────
def save_bytes(
    db: Database, now: float, attachment: int, digest: str, download: Download
) -> str | None:
    """See `AttachmentStore.save_bytes`. Also None for an attachment that has been omitted."""
    row = db.execute(
        "SELECT digest FROM attachments WHERE id = ? AND omission IS NULL", (attachment,)
    ).fetchone()
    if row is None:
        return None
    take_locks(db, *files.lock_names(filter(None, (digest, row["digest"]))))
    files.ensure(db, now, digest, download.data)
    db.execute(
        "UPDATE attachments SET digest = :digest, size = :size,"
        " name = CASE WHEN name = '' THEN :name ELSE name END,"
        " media_type = CASE WHEN media_type = '' THEN :media_type ELSE media_type END,"
        " locator = CASE WHEN is_link = 1 THEN locator ELSE '{}' END,"
        " state = :state WHERE id = :id",
        {
            "id": attachment,
            "digest": digest,
            "size": len(download.data),
            "name": download.name,
            "media_type": download.media_type,
            "state": "ready" if attachment_rows.has_extract(db, digest) else "pending",
        },
    )
    return digest


def save_extract(db: Database, digest: str, extract: Extract, first_part: int) -> None:
    """Replace the extract; its images are stored as the file's parts from `first_part` on."""
    file = files.file_id(db, digest)
    if file is None:
        return
    db.execute("DELETE FROM extracts WHERE digest = ?", (digest,))
    rows.insert(db, "extracts", _extract_values(digest, extract))
    for number, image in enumerate(extract.images):
        files.ensure_part(db, file, first_part + number, image.data)
        _insert_image(db, digest, number, first_part + number, image)
    db.execute(
        "UPDATE attachments SET state = 'ready' WHERE digest = ? AND state = 'pending'", (digest,)
    )


def _extract_values(digest: str, extract: Extract) -> dict[str, object]:
    return {
        "digest": digest,
        "version": EXTRACT_VERSION,
        "kind": extract.kind.value,
        "media_type": extract.media_type,
        "language": extract.language,
        "title": extract.title,
        "date": extract.date,
        "notes": json.dumps(extract.notes),
        "characters": len(extract.text),
        "text": extract.text,
    }


def _insert_image(db: Database, digest: str, number: int, part: int, image: ImagePart) -> None:
    values = {
        "digest": digest,
        "number": number,
        "part": part,
        "media_type": image.media_type,
        "width": image.width,
        "height": image.height,
        "label": image.label,
    }
    rows.insert(db, "extract_images", values)


def delete_old_image_chunk(db: Database, digest: str, first_part: int) -> bool:
    """Delete one chunk of an earlier extract's images. Returns whether there was one."""
    file = files.file_id(db, digest)
    return file is not None and files.delete_chunk(db, file, files.FILE + 1, first_part)


def omit(db: Database, attachment: int, omission: Omission) -> None:
    db.execute(
        "UPDATE attachments SET state = ?, omission = ?,"
        " locator = CASE WHEN is_link = 1 THEN locator ELSE '{}' END WHERE id = ?",
        (omission.state.value, omission.value, attachment),
    )


# ── queries ───────────────────────────────────────────────────────────────────────────────────
def read_extract(db: Database, digest: str) -> Extract | None:
    row = db.execute(
        "SELECT * FROM extracts WHERE digest = ? AND version = ?", (digest, EXTRACT_VERSION)
    ).fetchone()
    if row is None:
        return None
    images = db.execute(
        "SELECT extract_images.*, files.id AS file FROM extract_images"
        " JOIN files USING (digest) WHERE digest = ? ORDER BY number",
        (digest,),
    )
    return Extract(
        kind=AttachmentKind(row["kind"]),
        media_type=row["media_type"],
        text=row["text"],
        language=row["language"],
        title=row["title"],
        date=row["date"],
        images=tuple(_image(db, image) for image in images.fetchall()),
        notes=tuple(json.loads(row["notes"])),
    )


def _image(db: Database, row: Row) -> ImagePart:
    data = files.read_part(db, row["file"], row["part"])
    return ImagePart(row["media_type"], data, row["width"], row["height"], row["label"])


def in_scope(db: Database, uid: str, scope: RecordScope) -> AttachmentContent | None:
    """See `Library.attachment`."""
    row = db.execute(
        f"{_PLACED} WHERE attachments.uid = ? AND platform = ? AND workspace = ?"
        " AND (CAST(? AS TEXT) IS NULL OR conversations.channel = ?) AND deleted_at IS NULL",
        (uid, scope.platform, scope.workspace, scope.channel, scope.channel),
    ).fetchone()
    return None if row is None else _content(db, row)


def public(db: Database, uid: str) -> AttachmentContent | None:
    """See `Library.public_attachment`."""
    row = db.execute(
        f"{_PLACED} WHERE attachments.uid = ? AND visibility = 'public' AND deleted_at IS NULL",
        (uid,),
    ).fetchone()
    return None if row is None else _content(db, row)


def shared(db: Database, uid: str, attachment: str, unchanged: str) -> AttachmentContent | None:
    """See `ShareStore.attachment`; `unchanged` is the SQL condition for a shared message."""
    row = db.execute(
        f"{attachment_rows.RECORDS} JOIN messages ON messages.id = attachments.message_id"
        " JOIN share_messages ON share_messages.message_id = messages.id"
        " JOIN shares ON shares.id = share_id"
        f" WHERE attachments.uid = ? AND shares.uid = ? AND {unchanged}",
        (attachment, uid),
    ).fetchone()
    return None if row is None else _content(db, row)


def _content(db: Database, row: Row) -> AttachmentContent:
    record, digest = attachment_rows.record_from(row), row["digest"]
    if digest is None:
        return AttachmentContent(record, None, None)
    return AttachmentContent(record, files.read(db, digest), read_extract(db, digest))
