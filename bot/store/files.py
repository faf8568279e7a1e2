"""The bytes of attachments: each distinct file is stored once, in chunks, by its SHA-256.

Invariants: a file that an attachment refers to is complete. A staged file may lack chunks; the
transition that first refers to it writes the missing ones. Deleting a file discards its chunks,
which are then deleted one by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from bot.store.database import Database, take_locks

CHUNK_BYTES = 256 * 1024
"""The most bytes of a file that one commit writes, so that other writes only wait about as long as
for a few of their own kind (measured: docs/decisions/2026-11-29-attachments-in-chunks.md)."""

STAGED_SECONDS = 86_400.0
"""A file staged by another process for longer than this belongs to a dead one; staging takes
seconds."""

FILE = 0  # the part that holds the file
END = 2**62  # above every part


def digest_of(data: bytes) -> str:
    """Compute the SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


# ── transitions ───────────────────────────────────────────────────────────────────────────────
def take_lock(db: Database, digest: str) -> None:
    """Keep other transactions from adding or removing the file. The triggers of a deletion take
    this lock, too."""
    take_locks(db, lock_name(digest))


def lock_name(digest: str) -> str:
    """The name of the file's lock, one of 256: PostgreSQL has room for a limited number of locks,
    and a conversation may have thousands of files."""
    return f"file/{digest[:2]}"


def lock_names(digests: Iterable[str]) -> list[str]:
    """The names of the files' locks, in the order in which every transaction takes them."""
    return sorted({lock_name(digest) for digest in digests})


def ensure(db: Database, now: float, digest: str, data: bytes) -> None:
    """Complete the file; its attachment follows in the same transaction."""
    take_lock(db, digest)
    if file_id(db, digest) is not None:
        return
    (file,) = db.execute(
        "INSERT INTO files (digest, size, is_staged, created_at) VALUES (?, ?, 0, ?)"
        " ON CONFLICT (digest) DO UPDATE SET is_staged = 0 RETURNING id",
        (digest, len(data), now),
    ).fetchall()[0]
    ensure_part(db, file, FILE, data)


def ensure_part(db: Database, file: int, part: int, data: bytes) -> None:
    """Write the chunks of a part that were not staged."""
    (stored,) = db.execute(
        "SELECT CAST(coalesce(sum(length(data)), 0) AS BIGINT) FROM chunks"
        " WHERE file_id = ? AND part = ?",
        (file, part),
    ).fetchone()
    if stored < len(data):
        for number, chunk in enumerate(split(data)):
            _insert_chunk(db, file, part, number, chunk)


def stage_chunk(
    db: Database, now: float, digest: str, size: int, number: int, chunk: memoryview
) -> None:
    """Write a chunk of a file that no attachment refers to yet."""
    (file,) = db.execute(
        "INSERT INTO files (digest, size, is_staged, created_at) VALUES (?, ?, 1, ?)"
        " ON CONFLICT (digest) DO UPDATE SET digest = excluded.digest RETURNING id",
        (digest, size, now),
    ).fetchall()[0]
    _insert_chunk(db, file, FILE, number, chunk)


def stage_image_chunk(db: Database, digest: str, part: int, number: int, chunk: memoryview) -> None:
    """If an attachment still has the file, write a chunk of an image; its extract follows."""
    file = file_id(db, digest)
    if file is not None:
        _insert_chunk(db, file, part, number, chunk)


def unstage(db: Database, digests: Sequence[str]) -> None:
    """Delete these files if they are still staged."""
    db.executemany(
        "DELETE FROM files WHERE digest = ? AND is_staged = 1", [(digest,) for digest in digests]
    )


def unstage_all(db: Database, *, before: float | None = None) -> None:
    """Delete the files that dead processes staged; with `before`, only those staged before then."""
    if before is None:
        db.execute("DELETE FROM files WHERE is_staged = 1")
    else:
        db.execute("DELETE FROM files WHERE is_staged = 1 AND created_at < ?", (before,))


def purge_chunk(db: Database) -> None:
    """Delete one chunk of discarded files."""
    found = db.execute("SELECT file_id FROM discarded_files LIMIT 1").fetchone()
    if found is not None and not delete_chunk(db, found["file_id"], FILE, END):
        db.execute("DELETE FROM discarded_files WHERE file_id = ?", (found["file_id"],))


def delete_chunk(db: Database, file: int, first: int, end: int) -> bool:
    """Delete one chunk of the file's parts in the range from `first` to below `end`. Returns
    whether there was one."""
    deleted = db.execute(
        "DELETE FROM chunks WHERE (file_id, part, number) = (SELECT file_id, part, number"
        " FROM chunks WHERE file_id = ? AND part >= ? AND part < ? LIMIT 1)",
        (file, first, end),
    )
    return deleted.rowcount > 0


def split(data: bytes) -> Iterator[memoryview]:
    """Split `data` into chunks without copying it."""
    view = memoryview(data)
    for start in range(0, len(data), CHUNK_BYTES):
        yield view[start : start + CHUNK_BYTES]


def _insert_chunk(db: Database, file: int, part: int, number: int, chunk: memoryview) -> None:
    db.execute(
        "INSERT INTO chunks (file_id, part, number, data) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (file_id, part, number) DO NOTHING",
        (file, part, number, chunk),
    )


# ── queries ───────────────────────────────────────────────────────────────────────────────────
def file_id(db: Database, digest: str) -> int | None:
    """The row id of a file that an attachment refers to."""
    row = db.execute(
        "SELECT id FROM files WHERE digest = ? AND is_staged = 0", (digest,)
    ).fetchone()
    return None if row is None else int(row["id"])


def read(db: Database, digest: str) -> bytes | None:
    """Read the file's bytes; None if no attachment refers to it."""
    file = file_id(db, digest)
    return None if file is None else read_part(db, file, FILE)


def read_part(db: Database, file: int, part: int) -> bytes:
    """Read the bytes of one part of a file."""
    found = db.execute(
        "SELECT data FROM chunks WHERE file_id = ? AND part = ? ORDER BY number", (file, part)
    )
    return b"".join(row["data"] for row in found)


def next_part(db: Database, digest: str) -> int:
    """The first part number above all parts of the file."""
    (last,) = db.execute(
        "SELECT max(part) FROM chunks WHERE file_id = ?", (file_id(db, digest),)
    ).fetchone()
    return int(last or FILE) + 1


def has_discarded(db: Database) -> bool:
    """Whether chunks of deleted files remain."""
    return db.execute("SELECT 1 FROM discarded_files LIMIT 1").fetchone() is not None
