"""Backups and restores: complete while the bot writes, and never destructive."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from bot.domain.errors import MigrationError, StoreError, StoreUnavailable
from bot.domain.inbox import Address, Receipt, Watermark
from bot.store.backup import backup, restore
from bot.store.migrate import MIGRATIONS
from tests.support.store_kit import answer_next, check_invariants, look, opened, said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "threadline.db"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "backups" / "copy.db"


@pytest.fixture(autouse=True)
def _folder(copy: Path) -> None:
    copy.parent.mkdir()


def talk(path: Path, *numbers: int) -> None:
    asyncio.run(_chat(path, *numbers))


async def _chat(path: Path, *numbers: int) -> None:
    async with opened(path) as store:
        for number in numbers:
            accepted = await store.accept(said(number, f"question {number}"))
            await answer_next(store, accepted.conversation)


def questions(path: Path) -> list[str]:
    return [
        text
        for (text,) in look(
            path, "SELECT content FROM messages WHERE kind = 'question' ORDER BY id"
        )
    ]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# ── backup ────────────────────────────────────────────────────────────────────────────────────
def test_a_backup_is_one_checked_file_that_only_its_owner_can_read(path: Path, copy: Path) -> None:
    talk(path, 1, 2)
    size = backup(path, copy)
    assert size == copy.stat().st_size
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert names(copy.parent) == ["copy.db"]
    assert questions(copy) == ["question 1", "question 2"]
    assert names(copy.parent) == ["copy.db"], "reading it left something beside it"
    with closing(sqlite3.connect(copy)) as db:
        check_invariants(db)


def test_a_backup_of_a_closed_database_leaves_no_other_files(path: Path, copy: Path) -> None:
    """Files created by another user would lock the bot out of its database."""
    talk(path, 1)
    before = names(path.parent)
    backup(path, copy)
    assert names(path.parent) == before


async def test_a_backup_while_the_bot_writes_is_complete_and_blocks_no_writer(
    path: Path, copy: Path
) -> None:
    """The backup has everything acknowledged before it began."""
    async with opened(path) as store:
        stop = asyncio.Event()
        accepted: list[int] = []

        async def write() -> None:
            while not stop.is_set():
                number = len(accepted) + 1
                await store.accept(said(number, "long " * 200))
                accepted.append(number)

        writing = asyncio.create_task(write())
        try:
            for round_ in range(5):
                before = len(accepted)
                while len(accepted) < before + 20:
                    await asyncio.sleep(0.001)
                acknowledged = len(accepted)
                await asyncio.to_thread(backup, path, copy, overwrite=True)
                with closing(sqlite3.connect(copy)) as db:
                    check_invariants(db)
                assert len(questions(copy)) >= acknowledged, round_
        finally:
            stop.set()
            await writing
        assert len(accepted) > 100
    assert names(copy.parent) == ["copy.db"]


def test_an_existing_file_is_overwritten_only_on_request(path: Path, copy: Path) -> None:
    talk(path, 1)
    copy.write_text("precious")
    with pytest.raises(StoreError, match="exists: name another file, or overwrite it with --force"):
        backup(path, copy)
    assert copy.read_text() == "precious"
    backup(path, copy, overwrite=True)
    assert questions(copy) == ["question 1"]


def test_a_database_is_never_backed_up_onto_itself(path: Path, tmp_path: Path) -> None:
    talk(path, 1)
    other = tmp_path / "other-name.db"
    other.symlink_to(path)
    for target in (path, other):
        with pytest.raises(StoreError, match="exists"):
            backup(path, target, overwrite=True)
    assert questions(path) == ["question 1"]


def test_a_failed_backup_says_why_and_leaves_no_file(
    path: Path, copy: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="There is no database"):
        backup(path, copy)
    talk(path, 1)
    with pytest.raises(StoreError, match=r"nowhere.*No such file or directory"):
        backup(path, tmp_path / "nowhere" / "copy.db")
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(MigrationError, match="is another program's database"):
        backup(tmp_path / "theirs.db", copy)
    assert names(copy.parent) == []


def test_a_backup_detects_damage_and_keeps_no_damaged_copy(path: Path, copy: Path) -> None:
    """A damaged copy must not replace the last good backup."""
    talk(path, 1)
    backup(path, copy)
    talk(path, 2)
    (root,) = look(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'pages'")[0]
    (size,) = look(path, "PRAGMA page_size")[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    with pytest.raises(StoreUnavailable, match=r"threadline\.db is damaged: restore a backup"):
        backup(path, copy, overwrite=True)
    assert questions(copy) == ["question 1"]
    assert names(copy.parent) == ["copy.db"]


# ── restore ───────────────────────────────────────────────────────────────────────────────────
def test_a_restore_keeps_the_replaced_database(path: Path, copy: Path) -> None:
    talk(path, 1)
    backup(path, copy)
    talk(path, 2)
    kept = restore(path, copy)
    assert kept is not None
    assert kept.parent == path.parent and kept.name.startswith("threadline.db.before-")
    assert questions(path) == ["question 1"]
    assert questions(kept) == ["question 1", "question 2"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    asyncio.run(_go_on(path))
    with closing(sqlite3.connect(path)) as db:
        check_invariants(db)


def test_questions_after_the_backup_do_not_count_as_missed_after_a_restore(
    path: Path, copy: Path
) -> None:
    """They have been answered; without watermarks, a start does not look for missed messages."""
    asyncio.run(_store_watermark(path))
    backup(path, copy)
    assert look(copy, "SELECT count(*) FROM watermarks") == [(1,)]
    restore(path, copy)
    assert look(path, "SELECT count(*) FROM watermarks") == [(0,)]


async def _store_watermark(path: Path) -> None:
    async with opened(path) as store:
        await store.move_watermarks([Watermark("sim", "w1", "", 7)])


def test_a_restore_without_an_existing_database(path: Path, copy: Path, tmp_path: Path) -> None:
    """This is the case on a new machine."""
    talk(path, 1)
    backup(path, copy)
    elsewhere = tmp_path / "new.db"
    assert restore(elsewhere, copy) is None
    assert questions(elsewhere) == ["question 1"]


def test_a_restore_keeps_the_log_of_a_killed_bot_with_its_database(
    path: Path, copy: Path, tmp_path: Path
) -> None:
    """SQLite would apply the write-ahead log to the restored database."""
    talk(path, 1)
    backup(path, copy)
    killed = tmp_path / "killed.db"
    asyncio.run(_copy_killed(path, killed))
    with closing(sqlite3.connect(killed)) as shell:  # it blocks the checkpoint of the log
        shell.execute("BEGIN")
        shell.execute("SELECT count(*) FROM messages").fetchone()
        kept = restore(killed, copy)
        assert kept is not None
        assert Path(f"{kept}-wal").stat().st_size > 0
        assert not Path(f"{killed}-wal").exists()
    assert questions(killed) == ["question 1"]
    assert questions(kept) == ["question 1", "question 2"]


async def test_a_restore_is_refused_while_the_bot_is_running(path: Path, copy: Path) -> None:
    await _chat(path, 1)
    backup(path, copy)
    async with opened(path) as store:
        with pytest.raises(StoreError, match=r"in use by another Threadline \(process \d+\)"):
            restore(path, copy)
        await store.accept(said(2, "question 2"))
    assert questions(path) == ["question 1", "question 2"]


def test_an_incomplete_backup_is_refused_and_changes_nothing(
    path: Path, copy: Path, tmp_path: Path
) -> None:
    talk(path, 1)
    backup(path, copy)
    bad = {
        "cut.db": copy.read_bytes()[: copy.stat().st_size // 2],
        "text.db": b"Dear diary, " * 1000,
        "blank.db": b"",
        "flipped.db": bytearray(copy.read_bytes()),
    }
    (root,) = look(copy, "SELECT rootpage FROM sqlite_schema WHERE name = 'messages'")[0]
    (size,) = look(copy, "PRAGMA page_size")[0]
    bad["flipped.db"][(root - 1) * size : root * size] = b"\xff" * size  # type: ignore[index]
    for name, content in bad.items():
        source = tmp_path / "backups" / name
        source.write_bytes(content)
        with pytest.raises(StoreError, match="take another backup"):
            restore(path, source)
    with pytest.raises(StoreError, match="There is no file"):
        restore(path, tmp_path / "nowhere.db")
    with pytest.raises(StoreError, match="is the database itself"):
        restore(path, path)
    assert questions(path) == ["question 1"]
    assert [name for name in names(path.parent) if "before" in name or "new" in name] == []


def test_a_newer_versions_backup_is_refused_and_an_older_one_is_migrated_at_start(
    path: Path, copy: Path, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    older.mkdir()
    for file in sorted(MIGRATIONS.glob("*.sql"))[:-1]:
        (older / file.name).write_bytes(file.read_bytes())
    talk(path, 1)
    backup(path, copy)
    with pytest.raises(MigrationError, match="was written by a newer Threadline"):
        restore(path, copy, migrations=older)
    asyncio.run(_create(tmp_path / "old.db", older))
    backup(tmp_path / "old.db", copy, overwrite=True)
    restore(path, copy)
    asyncio.run(_create(path, MIGRATIONS))
    assert questions(path) == []


async def _create(path: Path, migrations: Path) -> None:
    async with opened(path, migrations=migrations):
        pass


async def _go_on(path: Path) -> None:
    async with opened(path) as store:
        assert (await store.accept(said(1))).receipt is Receipt.KNOWN
        assert (await store.accept(said(3, address=Address.FOLLOW_UP))).receipt is Receipt.QUESTION


async def _copy_killed(path: Path, target: Path) -> None:
    """Copy a killed bot's database to `target`."""
    async with opened(path) as store:
        await store.accept(said(2, "question 2"))
        await asyncio.to_thread(_as_killed, path, target)


def _as_killed(path: Path, target: Path) -> None:
    """Copy the files of an open database, as a SIGKILL would leave them."""
    for suffix in ("", "-wal"):
        Path(f"{target}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    assert Path(f"{target}-wal").stat().st_size > 0
