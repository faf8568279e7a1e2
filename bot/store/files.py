"""The bytes of attachments: each file once, in chunks, by its SHA-256.

Invariant: a file that an attachment has is complete. A staged file may lack chunks; the
transition that first refers to it writes those that are missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from bot.domain.attachments import IncomingAttachment
from bot.domain.errors import StoreUnavailable
from bot.store.operations import Operations, reads, writes, writes_at

CHUNK_BYTES = 256 * 1024
"""The most that one commit writes of a file, so that other writes do not wait longer than for a
few of their own kind (measured: docs/decisions/2026-11-29-attachments-in-chunks.md)."""

FILE = 0  # the part that is the file itself


def digest_of(data: bytes) -> str:
    """The SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


async def compute_digest(data: bytes) -> str:
    """As `digest_of`, off the event loop if it would hold the loop for long (20 MB: 15-60 ms)."""
    if len(data) <= CHUNK_BYTES:
        return digest_of(data)
    return await asyncio.to_thread(digest_of, data)


async def with_digests(
    attachments: Iterable[IncomingAttachment],
) -> tuple[IncomingAttachment, ...]:
    """The attachments, with the digests of the bytes that they bring."""
    known = []
    for each in attachments:
        if each.data is not None and not each.digest:
            each = replace(each, digest=await compute_digest(each.data))  # noqa: PLW2901
        known.append(each)
    return tuple(known)


def data_of(attachments: Iterable[IncomingAttachment]) -> dict[str, bytes]:
    """The bytes that attachments bring and that will be stored, by digest."""
    return {
        each.digest: each.data
        for each in attachments
        if each.data is not None and each.omission is None
    }


# ── transitions ───────────────────────────────────────────────────────────────────────────────
def ensure(db: sqlite3.Connection, now: float, digest: str, data: bytes) -> None:
    """Make the file complete; its attachment follows in the same transaction."""
    row = db.execute("SELECT is_staged FROM files WHERE digest = ?", (digest,)).fetchone()
    if row is not None and not row["is_staged"]:
        return
    db.execute(
        "INSERT INTO files (digest, size, is_staged, created_at) VALUES (?, ?, 0, ?)"
        " ON CONFLICT (digest) DO UPDATE SET is_staged = 0",
        (digest, len(data), now),
    )
    ensure_part(db, digest, FILE, data)


def ensure_part(db: sqlite3.Connection, digest: str, part: int, data: bytes) -> None:
    """Write the chunks of a part that were not staged."""
    (stored,) = db.execute(
        "SELECT coalesce(sum(length(data)), 0) FROM chunks WHERE digest = ? AND part = ?",
        (digest, part),
    ).fetchone()
    if stored < len(data):
        for number, chunk in enumerate(split(data)):
            _insert_chunk(db, digest, part, number, chunk)


def stage_chunk(
    db: sqlite3.Connection, now: float, digest: str, size: int, number: int, chunk: memoryview
) -> None:
    """Write a chunk of a file that no attachment has yet."""
    db.execute(
        "INSERT OR IGNORE INTO files (digest, size, is_staged, created_at) VALUES (?, ?, 1, ?)",
        (digest, size, now),
    )
    _insert_chunk(db, digest, FILE, number, chunk)


def stage_image_chunk(
    db: sqlite3.Connection, digest: str, part: int, number: int, chunk: memoryview
) -> None:
    """Write a chunk of an image whose extract follows, if the file still exists."""
    if is_stored(db, digest):
        _insert_chunk(db, digest, part, number, chunk)


def unstage(db: sqlite3.Connection, digests: Sequence[str] | None = None) -> None:
    """Delete staged files that no attachment has (None: all, after a dead process)."""
    if digests is None:
        db.execute("DELETE FROM files WHERE is_staged = 1")
        return
    db.executemany(
        "DELETE FROM files WHERE digest = ? AND is_staged = 1", [(digest,) for digest in digests]
    )


def split(data: bytes) -> Iterator[memoryview]:
    """The chunks of `data`, without copying it."""
    view = memoryview(data)
    for start in range(0, len(data), CHUNK_BYTES):
        yield view[start : start + CHUNK_BYTES]


def _insert_chunk(
    db: sqlite3.Connection, digest: str, part: int, number: int, chunk: memoryview
) -> None:
    db.execute(
        "INSERT OR IGNORE INTO chunks (digest, part, number, data) VALUES (?, ?, ?, ?)",
        (digest, part, number, chunk),
    )


# ── queries ───────────────────────────────────────────────────────────────────────────────────
def is_stored(db: sqlite3.Connection, digest: str) -> bool:
    """Whether an attachment has this file."""
    found = db.execute("SELECT 1 FROM files WHERE digest = ? AND is_staged = 0", (digest,))
    return found.fetchone() is not None


def read(db: sqlite3.Connection, digest: str) -> bytes | None:
    """The file's bytes; None if no attachment has it."""
    return read_part(db, digest, FILE) if is_stored(db, digest) else None


def read_part(db: sqlite3.Connection, digest: str, part: int) -> bytes:
    """The bytes of one part of a file."""
    found = db.execute(
        "SELECT data FROM chunks WHERE digest = ? AND part = ? ORDER BY number", (digest, part)
    )
    return b"".join(row["data"] for row in found)


def next_part(db: sqlite3.Connection, digest: str) -> int:
    """The first part number above all parts of the file."""
    (last,) = db.execute("SELECT max(part) FROM chunks WHERE digest = ?", (digest,)).fetchone()
    return int(last or FILE) + 1


# ── staging ───────────────────────────────────────────────────────────────────────────────────
class StagingOperations(Operations):
    """Operations that write large files in small commits, before the transition that needs them."""

    @asynccontextmanager
    async def _staged(self, files: Mapping[str, bytes]) -> AsyncIterator[None]:
        """Stage the large ones of `files`, which are bytes by digest.

        On exit, a file that got no attachment is deleted; after a kill, at the next start. Another
        caller may delete or complete the same file meanwhile: see `ensure`.
        """
        large = {digest: data for digest, data in files.items() if len(data) > CHUNK_BYTES}
        try:
            for digest, data in large.items():
                await self._stage(digest, data)
            yield
        finally:
            if large:
                with suppress(StoreUnavailable):  # a start deletes it
                    await self._unstage(list(large))

    async def _stage(self, digest: str, data: bytes) -> None:
        if not await self._is_stored(digest):
            for number, chunk in enumerate(split(data)):
                await self._stage_chunk(digest, len(data), number, chunk)

    _is_stored = reads(is_stored)
    _stage_chunk = writes_at(stage_chunk)
    _unstage = writes(unstage)
