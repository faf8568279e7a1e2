"""A database that fails says in one sentence why, and what to do; it goes on when it can again."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.domain.errors import MigrationError, StoreUnavailable
from bot.domain.health import Health
from bot.domain.inbox import Receipt
from bot.store.connection import open_writer
from bot.store.health import TRY_SECONDS
from bot.store.integrity import check_at_start
from bot.store.sqlite import SqliteStore
from tests.support.clock import ManualClock
from tests.support.store_kit import answered, judge, key, look, opened, said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(path, busy_timeout=0.05) as store:
        yield store
    with closing(sqlite3.connect(path)) as db:
        judge(db)


async def pragma(store: SqliteStore, text: str) -> None:
    """Set something on the connection that writes."""
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
    assert await store.find(key()) is not None  # it still reads
    kept = look(path, "SELECT count(*) FROM messages")[0][0]
    assert kept == 1 + len(results) - len(errors)
    await pragma(store, "max_page_count = 1000000")
    for number, result in enumerate(results, start=1):
        again = await store.accept(said(number))
        refused = isinstance(result, BaseException)
        assert again.receipt is (Receipt.QUESTION if refused else Receipt.KNOWN)


async def test_a_locked_database_is_read_and_waits_for_nobody_for_ever(
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


async def test_a_read_only_database_is_said(store: SqliteStore) -> None:
    await store.accept(said(1))
    await pragma(store, "query_only = ON")
    with pytest.raises(StoreUnavailable, match="is read-only: let this user write"):
        await store.accept(said(2))
    assert await store.find(key()) is not None


async def test_a_damaged_page_is_said_by_what_needs_it(path: Path) -> None:
    """It came while the store was open; what does not need it goes on."""
    await _talked(path)
    clock = ManualClock()
    async with SqliteStore.open(path, clock=clock) as store:
        _damage(path)
        assert store.health().ok
        assert await store.find(key()) is not None
        with pytest.raises(StoreUnavailable, match="is damaged: restore a backup with `python -m"):
            await store.history(1, epoch=1, before=60, limit=20)
        with pytest.raises(StoreUnavailable, match="is damaged"):
            await store.accept(said(99))
        clock.jump(2 * TRY_SECONDS)
        await store.record_command("sim/w1/c1/m100")  # that this could be written heals nothing
        assert "is damaged" in store.health().details["trouble"]


async def test_a_damaged_database_is_not_opened(path: Path) -> None:
    """Writing would make it worse; the sentence says what to do, and the lock is free again."""
    await _talked(path)
    _damage(path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="is damaged: restore a backup with `python -m"):
            async with opened(path):
                pass


async def test_looking_for_damage_ends_in_time(path: Path) -> None:
    """A large database is opened all the same; 20 MB take longer than no time at all."""
    async with opened(path) as store:
        await store._write(
            lambda db: (
                db.executemany(
                    "INSERT INTO commands (source, done_at) VALUES (?, 1)",
                    (("x" * 400 + str(n),) for n in range(20_000)),
                ).rowcount
            )
        )
    with capture_logs() as lines:
        check_at_start(path, seconds=0)
        check_at_start(path, seconds=60)
    assert [line["event"] for line in lines] == [
        "the database is too large to be checked at a start; a backup checks it"
    ]


async def _talked(path: Path) -> None:
    async with opened(path) as store:
        for number in range(30):
            await store.accept(said(number, "long " * 400))
            await answered(store, 1)


def _damage(path: Path) -> None:
    """Overwrite the first page of the messages."""
    (root,) = look(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'messages'")[0]
    (size,) = look(path, "PRAGMA page_size")[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


# ── how it is ─────────────────────────────────────────────────────────────────────────────────
async def test_health_says_what_is_wrong_and_notices_by_itself_when_it_is_over(path: Path) -> None:
    """One line in the log for each, however often it failed; the path is for the log only."""
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
            await clock.advance(TRY_SECONDS)
            await asyncio.sleep(0.1)  # on another thread it meets the lock once more
            other.execute("ROLLBACK")
            assert not store.health().ok
            await clock.advance(2 * TRY_SECONDS)
            await _until(lambda: store.health().ok)
        assert [line["event"] for line in lines] == [
            "the database fails",
            "the database works again",
        ]
        assert str(path) in lines[0]["error"]


async def test_a_disk_that_takes_some_things_and_not_others_is_not_well(path: Path) -> None:
    """Until nothing was refused for a while; the log does not go back and forth."""
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
            clock.jump(TRY_SECONDS)
            await store.record_command("z")
            assert store.health().ok
        assert len(lines) == 2


async def test_a_failure_that_lasts_is_said_again_every_minute(path: Path) -> None:
    clock = ManualClock()
    async with SqliteStore.open(path, clock=clock, busy_timeout=0.001) as store:
        with capture_logs() as lines, closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(130):
                with pytest.raises(StoreUnavailable):
                    await store.record_command("x")
                clock.jump(1.0)
        assert [line["seconds"] for line in lines] == [0, 60, 120]


async def test_a_closed_store_is_no_failure_of_the_database(path: Path) -> None:
    async with opened(path) as store:
        pass
    with capture_logs() as lines, pytest.raises(StoreUnavailable, match="is closed"):
        await store.accept(said(1))
    assert lines == []
    assert store.health().ok


@pytest.mark.parametrize("content", [b"Dear diary, " * 100, b"SQLite format 3\0" + b"\1" * 2000])
async def test_what_is_no_database_is_not_opened_and_leaves_nothing_behind(
    path: Path, content: bytes
) -> None:
    await asyncio.to_thread(path.write_bytes, content)
    threads = threading.active_count()
    for _ in range(2):  # the second time would find a lock that was left
        with pytest.raises(StoreUnavailable, match=r"is not an SQLite database|is damaged"):
            async with opened(path):
                pass
    assert await asyncio.to_thread(path.read_bytes) == content
    assert threading.active_count() <= threads + 1  # asyncio's own pool may have grown


async def test_a_database_of_another_program_is_not_opened(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(MigrationError, match="is a database of another program"):
        async with opened(path):
            pass


@pytest.mark.parametrize("name", ["nowhere/store.db", "file/store.db"])
async def test_a_place_where_no_file_can_be_made_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        async with opened(tmp_path / name):
            pass


async def test_a_directory_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        async with opened(tmp_path / "folder"):
            pass


async def test_a_commit_that_fails_leaves_nothing_and_the_next_one_works(
    store: SqliteStore, path: Path
) -> None:
    def dangling(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA defer_foreign_keys = ON")  # so that the COMMIT itself is refused
        db.execute("INSERT INTO pages (turn_id, number, state) VALUES (99, 0, 'intended')")

    results = await asyncio.gather(
        store.accept(said(1)), store._write(dangling), return_exceptions=True
    )
    assert isinstance(results[1], sqlite3.IntegrityError)
    kept = 0 if isinstance(results[0], BaseException) else 1  # it may have had its own commit
    assert look(path, "SELECT count(*) FROM messages") == [(kept,)]
    assert look(path, "SELECT count(*) FROM pages") == [(0,)]
    assert (await store.accept(said(2))).receipt is Receipt.QUESTION


async def test_a_connection_that_fails_in_the_making_is_closed(path: Path) -> None:
    """Its thread would keep the process up, and its descriptor the file."""
    await asyncio.to_thread(path.write_bytes, b"Dear diary, " * 100)
    threads = threading.active_count()
    with pytest.raises(StoreUnavailable, match="is not an SQLite database"):
        async with open_writer(path, busy_timeout=0.05):
            pass
    await _until(lambda: threading.active_count() <= threads)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_mistake_of_ours_is_no_fault_of_the_database(store: SqliteStore) -> None:
    """It must not be retried as if the disk were to blame."""
    with pytest.raises(sqlite3.IntegrityError):
        await store._write(lambda db: db.execute("INSERT INTO commands VALUES (NULL, 1)").rowcount)
    assert (await store.accept(said(1))).receipt is Receipt.QUESTION
