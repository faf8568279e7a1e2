"""A failing database reports why, and what to do, in one sentence; and it recovers."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.domain.errors import MigrationError, StoreUnavailable
from bot.domain.health import Health
from bot.domain.inbox import Receipt
from bot.store.connection import open_writer
from bot.store.health import PROBE_SECONDS
from bot.store.integrity import check_at_start
from bot.store.sqlite import SqliteStore
from tests.support.clock import ManualClock
from tests.support.store_kit import answer_next, check_invariants, key, look, opened, said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(path, busy_timeout=0.05) as store:
        yield store
    with closing(sqlite3.connect(path)) as db:
        check_invariants(db)


async def pragma(store: SqliteStore, text: str) -> None:
    """Run a PRAGMA on the writing connection."""
    await store._write(lambda db: db.execute(f"PRAGMA {text}").fetchall())


async def test_a_full_disk_loses_nothing_that_was_acknowledged(
    store: SqliteStore, path: Path
) -> None:
    await store.accept(said(0))
    pages = look(path, "PRAGMA page_count")[0][0]
    await pragma(store, f"max_page_count = {pages + 8}")
    results = await asyncio.gather(
        *(store.accept(said(n, "long " * 500)) for n in range(1, 40)), return_exceptions=True
    )
    errors = [result for result in results if isinstance(result, BaseException)]
    assert errors
    for error in errors:
        assert isinstance(error, StoreUnavailable)
        assert str(error) == f"The database {path} cannot grow, the disk is full: free some space."
    assert await store.find(key()) is not None  # reading still works
    kept = look(path, "SELECT count(*) FROM messages")[0][0]
    assert kept == 1 + len(results) - len(errors)
    await pragma(store, "max_page_count = 1000000")
    for number, result in enumerate(results, start=1):
        again = await store.accept(said(number))
        refused = isinstance(result, BaseException)
        assert again.receipt is (Receipt.QUESTION if refused else Receipt.KNOWN)


async def test_a_locked_database_can_be_read_and_a_write_fails_after_a_timeout(
    store: SqliteStore, path: Path
) -> None:
    await store.accept(said(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="is locked by another program"):
            await store.accept(said(2))
        assert await store.find(key()) is not None
        other.execute("ROLLBACK")
    assert (await store.accept(said(2))).receipt is Receipt.QUESTION


async def test_a_read_only_database_is_reported(store: SqliteStore) -> None:
    await store.accept(said(1))
    await pragma(store, "query_only = ON")
    with pytest.raises(StoreUnavailable, match="is read-only: let this user write"):
        await store.accept(said(2))
    assert await store.find(key()) is not None


async def test_a_damaged_page_is_reported_by_the_operations_that_need_it(path: Path) -> None:
    """The damage happens while the store is open; operations on other pages still work."""
    await _fill(path)
    clock = ManualClock()
    async with SqliteStore.open(path, clock=clock) as store:
        _damage(path)
        assert store.health().ok
        assert await store.find(key()) is not None
        with pytest.raises(StoreUnavailable, match="is damaged: restore a backup with `python -m"):
            await store.history(1, epoch=1, before=60, limit=20)
        with pytest.raises(StoreUnavailable, match="is damaged"):
            await store.accept(said(99))
        clock.jump(2 * PROBE_SECONDS)
        await store.record_command(
            "sim/w1/c1/m100"
        )  # a successful write does not mean that the damage is gone
        assert "is damaged" in store.health().details["trouble"]


async def test_a_damaged_database_is_not_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing to it would make things worse. The error says what to do, and releases the lock."""
    patient = partial(check_at_start, seconds=3_600)  # a busy machine may exceed the usual limit
    monkeypatch.setattr("bot.store.sqlite.check_at_start", patient)
    await _fill(path)
    _damage(path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="is damaged: restore a backup with `python -m"):
            async with opened(path):
                pass


TOO_LARGE = "the database is too large to check at start; backups check it completely"


async def test_the_check_for_damage_has_a_time_limit(path: Path) -> None:
    """A database that takes longer is opened anyway; zero seconds are always exceeded."""
    async with opened(path):
        pass
    with capture_logs() as lines:
        check_at_start(path, seconds=0)
        check_at_start(path, seconds=3_600)
    assert [line["event"] for line in lines] == [TOO_LARGE]


async def test_the_check_for_damage_ends_in_the_middle_of_a_table(path: Path) -> None:
    """Each of the table's constraints writes out 20 MB; together they would take a minute."""
    async with opened(path) as store:
        await pragma(store, "ignore_check_constraints = 1")
        await store._write(
            lambda db: db.execute(
                "CREATE TABLE slow (size INTEGER CHECK (length(hex(zeroblob(size))) > 0))"
            )
        )
        await store._write(
            lambda db: db.executemany("INSERT INTO slow VALUES (?)", [(10_000_000,)] * 4_000)
        )
    with capture_logs() as lines:
        check_at_start(path, seconds=0.1)
    assert [line["event"] for line in lines] == [TOO_LARGE]


async def _fill(path: Path) -> None:
    async with opened(path) as store:
        for number in range(30):
            await store.accept(said(number, "long " * 400))
            await answer_next(store, 1)


def _damage(path: Path) -> None:
    """Overwrite the first page of the messages."""
    (root,) = look(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'messages'")[0]
    (size,) = look(path, "PRAGMA page_size")[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


# ── health ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_nothing_is_acknowledged_once_the_file_was_deleted_or_replaced(
    path: Path, how: str
) -> None:
    """It would be lost at the next start. A file that is put back is used again."""
    aside = path.with_suffix(".aside")
    async with opened(path) as store:
        await store.accept(said(1))
        await asyncio.to_thread(path.rename, aside)
        if how == "replaced":
            shutil.copy(aside, path)
        for number in (2, 3):
            with pytest.raises(StoreUnavailable, match="was deleted or replaced"):
                await store.accept(said(number))
        assert "was deleted or replaced" in store.health().details["trouble"]
        await asyncio.to_thread(aside.replace, path)
        assert (await store.accept(said(4))).receipt is Receipt.QUESTION
    assert look(path, "SELECT message_id FROM messages ORDER BY id") == [("m1",), ("m4",)]


async def test_health_names_the_failure_and_notices_its_end_without_traffic(path: Path) -> None:
    """Each is logged once, however often operations fail; only the log has the path."""
    clock = ManualClock()
    async with SqliteStore.open(path, clock=clock, busy_timeout=0.02) as store:
        assert store.health() == Health(ok=True)
        with capture_logs() as lines, closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for number in range(5):
                with pytest.raises(StoreUnavailable):
                    await store.accept(said(number))
            trouble = "The database is locked by another program: close what else has it open."
            assert store.health() == Health(ok=False, details={"trouble": trouble})
            await clock.advance(PROBE_SECONDS)
            await asyncio.sleep(0.1)  # on another thread, it waits for the lock once more
            other.execute("ROLLBACK")
            assert not store.health().ok
            await clock.advance(2 * PROBE_SECONDS)
            await _until(lambda: store.health().ok)
        assert [line["event"] for line in lines] == [
            "the database fails",
            "the database works again",
        ]
        assert str(path) in lines[0]["error"]


async def test_a_disk_that_accepts_only_some_writes_counts_as_failing(path: Path) -> None:
    """The state recovers only after a while without failed writes, so that the log does not
    alternate."""
    clock = ManualClock()
    async with SqliteStore.open(path, clock=clock, busy_timeout=0.001) as store:
        with capture_logs() as lines:
            for number in range(5):
                with closing(sqlite3.connect(path, isolation_level=None)) as other:
                    other.execute("BEGIN IMMEDIATE")
                    with pytest.raises(StoreUnavailable):
                        await store.record_command("x")
                await store.record_command(f"y{number}")
                assert not store.health().ok
                clock.jump(1.0)
            clock.jump(PROBE_SECONDS)
            await store.record_command("z")
            assert store.health().ok
        assert len(lines) == 2


async def test_a_lasting_failure_is_logged_every_minute(path: Path) -> None:
    clock = ManualClock()
    async with SqliteStore.open(path, clock=clock, busy_timeout=0.001) as store:
        with capture_logs() as lines, closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(130):
                with pytest.raises(StoreUnavailable):
                    await store.record_command("x")
                clock.jump(1.0)
        assert [line["seconds"] for line in lines] == [0, 60, 120]


async def test_a_closed_store_does_not_count_as_a_database_failure(path: Path) -> None:
    async with opened(path) as store:
        pass
    with capture_logs() as lines, pytest.raises(StoreUnavailable, match="is closed"):
        await store.accept(said(1))
    assert lines == []
    assert store.health().ok


@pytest.mark.parametrize("content", [b"Dear diary, " * 100, b"SQLite format 3\0" + b"\1" * 2000])
async def test_a_file_that_is_not_a_database_is_refused_and_leaves_nothing_open(
    path: Path, content: bytes
) -> None:
    await asyncio.to_thread(path.write_bytes, content)
    threads = threading.active_count()
    for _ in range(2):  # a leaked lock would make the second attempt fail
        with pytest.raises(StoreUnavailable, match=r"is not an SQLite database|is damaged"):
            async with opened(path):
                pass
    assert await asyncio.to_thread(path.read_bytes) == content
    assert threading.active_count() <= threads + 1  # asyncio's thread pool may have grown


async def test_another_programs_database_is_not_opened(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(MigrationError, match="is another program's database"):
        async with opened(path):
            pass


@pytest.mark.parametrize("name", ["nowhere/store.db", "file/store.db"])
async def test_a_path_where_no_file_can_be_created_is_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        async with opened(tmp_path / name):
            pass


async def test_a_directory_is_not_accepted_as_a_database(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        async with opened(tmp_path / "folder"):
            pass


async def test_a_commit_that_fails_leaves_nothing_and_the_next_one_works(
    store: SqliteStore, path: Path
) -> None:
    def dangling(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA defer_foreign_keys = ON")  # makes the COMMIT itself fail
        db.execute("INSERT INTO pages (turn_id, number, state) VALUES (99, 0, 'intended')")

    results = await asyncio.gather(
        store.accept(said(1)), store._write(dangling), return_exceptions=True
    )
    assert isinstance(results[1], sqlite3.IntegrityError)
    kept = 0 if isinstance(results[0], BaseException) else 1  # it may have been in another commit
    assert look(path, "SELECT count(*) FROM messages") == [(kept,)]
    assert look(path, "SELECT count(*) FROM pages") == [(0,)]
    assert (await store.accept(said(2))).receipt is Receipt.QUESTION


async def test_a_connection_that_fails_while_opening_is_closed(path: Path) -> None:
    """An open connection's thread would keep the process alive, and its descriptor the file
    open."""
    await asyncio.to_thread(path.write_bytes, b"Dear diary, " * 100)
    threads = threading.active_count()
    with pytest.raises(StoreUnavailable, match="is not an SQLite database"):
        async with open_writer(path, busy_timeout=0.05):
            pass
    await _until(lambda: threading.active_count() <= threads)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_bug_does_not_count_as_a_database_failure(store: SqliteStore) -> None:
    """A bug must not be retried like a disk failure."""
    with pytest.raises(sqlite3.IntegrityError):
        await store._write(lambda db: db.execute("INSERT INTO commands VALUES (NULL, 1)").rowcount)
    assert (await store.accept(said(1))).receipt is Receipt.QUESTION
