"""The bytes of attachments: written and overwritten in small commits, through all failures."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.attachments import (
    Attachment,
    AttachmentKind,
    AttachmentState,
    Download,
    Extract,
    IncomingAttachment,
)
from bot.domain.conversations import ImagePart
from bot.domain.errors import StoreUnavailable
from bot.domain.records import RecordScope
from bot.store import edits, files
from bot.store.backup import backup, restore
from bot.store.sqlite import SqliteStore
from tests.support.store_kit import check_invariants, key, look, opened, said, until

PLACE = RecordScope("sim", "w1")
BIG = os.urandom(4 * 2**20)
DIGEST = files.digest_of(BIG)
FILE = IncomingAttachment(name="big.bin", locator={"url": "u"}, identity="F1")
EXTRACT = Extract(
    kind=AttachmentKind.IMAGE,
    media_type="image/png",
    images=(ImagePart("image/png", BIG[:700_000], 9, 9), ImagePart("image/png", b"small", 1, 1)),
)
TABLES = ("attachments", "files", "chunks", "discarded_files", "extracts", "extract_images")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(path, busy_timeout=0.05) as store:
        yield store
    with closing(sqlite3.connect(path)) as db:
        check_invariants(db)


async def attach(store: SqliteStore, number: int = 1) -> Attachment:
    """The attachment of a new message `number`, which begins a conversation."""
    await store.accept(said(number, where=key(f"t{number}"), attachments=[FILE]))
    return (await store.attachments().pending("sim", limit=99))[-1]


def rows(path: Path, *tables: str) -> list[int]:
    return [look(path, f"SELECT count(*) FROM {table}")[0][0] for table in tables]


# ── small commits ─────────────────────────────────────────────────────────────────────────────
async def test_other_writes_continue_while_a_large_file_is_written_or_deleted(
    store: SqliteStore, path: Path
) -> None:
    """Each of them waits for one chunk at most, of which there are sixteen."""
    attachment = await attach(store)

    async def others_until(name: str, done: Callable[[], bool]) -> int:
        count = 0
        while not done():
            await store.record_command(f"{name}/{count}")
            count += 1
        return count

    saving = asyncio.create_task(store.attachments().save_bytes(attachment.id, Download(BIG)))
    assert await others_until("save", saving.done) > 8
    assert await store.attachments().read_bytes(DIGEST) == BIG
    await store.erase(said(1).source, with_reply=False)
    assert rows(path, "chunks")[0] > 0  # the deletion itself waits for no chunk
    assert await others_until("erase", lambda: rows(path, "discarded_files") == [0]) > 8
    assert rows(path, "chunks") == [0]


async def test_a_question_with_large_files_is_one_transaction_all_the_same(
    store: SqliteStore, path: Path
) -> None:
    """The files are written in advance; the message, its turn and its attachments appear
    together."""
    sent = [IncomingAttachment(name=f"{n}", data=BIG[n:]) for n in range(3)]
    task = asyncio.create_task(store.accept(said(1, attachments=sent)))
    tables = ("messages", "turns", "attachments")
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    seen: set[tuple[int, ...]] = set()
    while not task.done():
        seen.update(look(path, f"SELECT {counts}"))
        await asyncio.sleep(0)
    assert seen <= {(0, 0, 0), (1, 1, 3)}
    assert rows(path, "messages", "attachments", "files", "discarded_files") == [1, 3, 3, 0]
    assert look(path, "SELECT count(*) FROM files WHERE is_staged = 1") == [(0,)]


async def test_the_same_file_at_the_same_time_is_stored_once(
    store: SqliteStore, path: Path
) -> None:
    """One of the messages may be deleted while another conversation begins with the same file."""
    attachments = [await attach(store, number) for number in (1, 2, 3)]
    port = store.attachments()
    results = await asyncio.gather(
        *(port.save_bytes(attachment.id, Download(BIG)) for attachment in attachments),
        store.erase(said(1).source, with_reply=False),
        store.accept(
            said(9, where=key("t9"), attachments=[IncomingAttachment(name="x", data=BIG)])
        ),
        store.erase(said(2).source, with_reply=False),
    )
    assert results[2] == DIGEST
    await until(lambda: rows(path, "files", "chunks", "discarded_files") == [1, 16, 0])
    assert await port.read_bytes(DIGEST) == BIG


async def test_two_extracts_at_the_same_time_do_not_mix(store: SqliteStore, path: Path) -> None:
    attachment = await attach(store)
    await store.attachments().save_bytes(attachment.id, Download(b"x"))
    digest = files.digest_of(b"x")
    other = Extract(
        kind=AttachmentKind.IMAGE,
        media_type="image/png",
        images=(ImagePart("image/png", BIG[:900_000], 3, 3),),
    )
    await asyncio.gather(
        *(store.attachments().save_extract(digest, extract) for extract in (EXTRACT, other))
    )
    assert await store.attachments().read_extract(digest) == other
    assert look(path, "SELECT count(DISTINCT part) FROM chunks") == [(2,)]


# ── failures ──────────────────────────────────────────────────────────────────────────────────
async def test_on_a_full_disk_a_file_is_stored_completely_or_not_at_all(
    store: SqliteStore, path: Path
) -> None:
    attachment = await attach(store)
    port = store.attachments()
    small = (await attach(store, 2)).id
    await port.save_bytes(small, Download(b"small"))
    pages = look(path, "PRAGMA page_count")[0][0]
    await store._write(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 200}").fetchall())
    large = replace(EXTRACT, images=(ImagePart("image/png", BIG, 1, 1),))
    message = said(3, attachments=[IncomingAttachment(name="x", data=BIG)])
    steps = [
        lambda: port.save_bytes(attachment.id, Download(BIG)),
        lambda: store.accept(message),
        lambda: store.edit(said(1).source, "why?", 9.0, message.attachments),
        lambda: port.save_extract(files.digest_of(b"small"), large),
    ]
    for step in steps:
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            await step()
    assert [each.state for each in await port.pending("sim", limit=9)] == [
        AttachmentState.PENDING
    ] * 2
    assert look(path, "SELECT size FROM files") == [(5,)]
    await store._write(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchall())
    for step in steps:
        await step()
    assert await port.read_bytes(DIGEST) == BIG
    assert await port.read_extract(files.digest_of(b"small")) == large
    assert look(path, "SELECT count(*) FROM files WHERE is_staged = 1") == [(0,)]


async def test_a_locked_database_fails_every_write_and_no_read(
    store: SqliteStore, path: Path
) -> None:
    attachment = await attach(store)
    port = store.attachments()
    await port.save_bytes(attachment.id, Download(b"x"))
    digest = files.digest_of(b"x")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for write in (
            port.save_bytes(attachment.id, Download(BIG)),
            port.save_bytes(attachment.id, Download(b"y")),
            port.save_extract(digest, EXTRACT),
        ):
            with pytest.raises(StoreUnavailable, match="is locked by another program"):
                await write
        assert await port.read_bytes(digest) == b"x"
        assert await port.read_extract(digest) is None
        assert len(await port.pending("sim", limit=9)) == 1
        other.execute("ROLLBACK")
    await port.save_extract(digest, EXTRACT)
    assert await port.read_extract(digest) == EXTRACT


async def test_a_cancelled_download_leaves_nothing(store: SqliteStore, path: Path) -> None:
    attachment = await attach(store)
    task = asyncio.create_task(store.attachments().save_bytes(attachment.id, Download(BIG)))
    await until(lambda: rows(path, "files") == [1] or task.done())
    task.cancel()
    await asyncio.wait([task])
    if task.cancelled():  # on a fast enough machine
        await until(lambda: rows(path, "files", "chunks", "discarded_files") == [0, 0, 0])
    assert await store.attachments().save_bytes(attachment.id, Download(BIG)) == DIGEST


async def test_a_start_deletes_what_a_dead_process_left(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It deletes a file that was being written, and one whose message was deleted just before the
    end."""
    broken = tmp_path / "broken.db"
    with monkeypatch.context() as patch:
        patch.setattr(files, "has_discarded", lambda _db: False)  # the purge does not begin
        await _leave_files(path, broken)
    assert rows(broken, *TABLES[:4]) == [0, 1, 17, 1]
    with closing(sqlite3.connect(broken)) as db:
        check_invariants(db)
    async with opened(broken):
        pass
    assert rows(broken, *TABLES) == [0] * 6


async def _leave_files(path: Path, broken: Path) -> None:
    """Copy the database to `broken` as it is just before a process dies."""
    async with opened(path) as store:
        attachment = await attach(store)
        await store.attachments().save_bytes(attachment.id, Download(BIG))
        await store._write(lambda db: edits.erase(db, 1.0, said(1).source, with_reply=False))
        await store._write(
            lambda db: files.stage_chunk(db, 1.0, "ab", 900_000, 0, memoryview(BIG)[:9])
        )
        await asyncio.to_thread(backup, path, broken)


async def test_damaged_bytes_do_not_stop_a_start_and_a_backup_finds_them(
    path: Path, tmp_path: Path
) -> None:
    """Everything else can still be used; only reading that file fails."""
    async with opened(path) as store:
        attachment = await attach(store)
        await store.attachments().save_bytes(attachment.id, Download(BIG))
    _damage_chunks(path)
    async with opened(path) as store:
        with pytest.raises(StoreUnavailable, match="is damaged: restore a backup"):
            await store.attachments().read_bytes(DIGEST)
        await store.accept(said(2))
    with pytest.raises(StoreUnavailable, match="is damaged: restore a backup"):
        await asyncio.to_thread(backup, path, tmp_path / "copy.db")


def _damage_chunks(path: Path) -> None:
    (root,) = look(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'chunks'")[0]
    (size,) = look(path, "PRAGMA page_size")[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


# ── backups ───────────────────────────────────────────────────────────────────────────────────
async def test_a_backup_has_the_files_and_a_restore_brings_them_back(
    path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    async with opened(path) as store:
        attachment = await attach(store)
        await store.attachments().save_bytes(attachment.id, Download(BIG))
        await store.attachments().save_extract(DIGEST, EXTRACT)
        (before,) = await store.library().latest(1, limit=9)
        await asyncio.to_thread(backup, path, copy)
        await store.erase(said(1).source, with_reply=False)
    await asyncio.to_thread(restore, path, copy)
    async with opened(path) as store:
        assert await store.library().latest(1, limit=9) == [before]
        assert before.attachments[0].kind is AttachmentKind.IMAGE
        content = await store.library().attachment(before.attachments[0].uid, PLACE)
        assert content is not None
        assert (content.data, content.extract) == (BIG, EXTRACT)
        await store.erase(said(1).source, with_reply=False)
    assert rows(path, *TABLES) == [0] * 6
    for file in (path, Path(f"{path}-wal")):
        assert not file.exists() or BIG[-64:] not in await asyncio.to_thread(file.read_bytes)
