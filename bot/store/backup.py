"""Copies of the database: made while a bot works with it, checked, and put in its place again.

Invariants: a copy appears under its name only when it is whole and checked; the database's own name
always has a whole database, and what was there before a restore is kept.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bot.domain.errors import StoreError, StoreUnavailable
from bot.store.errors import damaged, translated
from bot.store.integrity import found
from bot.store.lock import exclusive
from bot.store.migrate import MIGRATIONS, status

_SIDECARS = ("-wal", "-shm")  # what belongs to a database that was not closed


def backup(path: Path, target: Path, *, overwrite: bool = False) -> int:
    """Copy the database at `path` to the file `target`; its size in bytes.

    Safe while a bot works with it: the copy is the database at one moment. It is one file without
    companions, readable by its owner only. Raises StoreError (`target` exists and may not be
    overwritten, or cannot be written), MigrationError and StoreUnavailable.
    """
    with _files_of(target):
        if not path.is_file():
            raise StoreError(f"There is no database {path}: DATABASE_URL names the one to back up.")
        if target.exists() and (target.samefile(path) or not overwrite):
            raise StoreError(f"{target} exists: name another file, or overwrite it with --force.")
        status(path)  # a foreign file is not backed up as if it were ours
        with _file_beside(target) as fresh:
            _copy(path, fresh)
            if _problem(fresh):
                raise StoreUnavailable(damaged(path))
            size = fresh.stat().st_size
            fresh.replace(target)
            _flush(target.parent)
    return size


def restore(path: Path, source: Path, *, migrations: Path = MIGRATIONS) -> Path | None:
    """Put a copy of the backup `source` where the database `path` is; where the old one is kept.

    None when there was none. Raises StoreError when a bot has the database, or when `source` is no
    whole backup of ours, MigrationError when it is a newer version's; nothing is changed then.
    """
    with _files_of(path), exclusive(path):
        _require_backup(source, path, migrations)
        with _file_beside(path) as fresh:
            _copy(source, fresh)
            if _problem(fresh):
                raise StoreError(f"{source} is damaged: take another backup.")
            _forget_its_time(fresh)
            kept = _keep(path) if path.exists() else None
            fresh.replace(path)
            _flush(path.parent)
    return kept


def _require_backup(source: Path, path: Path, migrations: Path) -> None:
    if not source.is_file():
        raise StoreError(f"There is no file {source}.")
    if path.exists() and source.samefile(path):
        raise StoreError(f"{source} is the database itself: name a backup of it.")
    try:
        applied = status(source, migrations).applied
    except StoreUnavailable as error:
        raise StoreError(f"{source} is damaged, or no database: take another backup.") from error
    if not applied:
        raise StoreError(f"{source} is empty: take another backup.")


@contextmanager
def _files_of(path: Path) -> Iterator[None]:
    """The operating system's errors as ours, by the file that they name."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{error.filename or path}: {error.strerror}.") from error


# ── copies ────────────────────────────────────────────────────────────────────────────────────
@contextmanager
def _file_beside(path: Path) -> Iterator[Path]:
    """A new file for our user only, in the directory of `path`; removed if it is left there."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".new")
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        for suffix in ("", "-journal"):
            Path(name + suffix).unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """SQLite's online backup in one step: it reads one moment, and writers go on meanwhile."""
    # Not read-only: whoever closes a database last tidies up after itself only if it may write.
    uri = f"{source.absolute().as_uri()}?mode=rw"
    with (
        translated(source),
        closing(sqlite3.connect(uri, uri=True, timeout=5.0)) as reading,
        closing(sqlite3.connect(target, isolation_level=None)) as writing,
    ):
        reading.backup(writing)
        # The copy says that it has a write-ahead log; without one it is a file of its own.
        writing.execute("PRAGMA journal_mode = DELETE")
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def _problem(path: Path) -> str:
    """What is wrong with a copy; "" when it is whole."""
    with closing(sqlite3.connect(path)) as db:
        try:
            problem = found(db, "integrity_check")
            broken = db.execute("PRAGMA foreign_key_check").fetchone()
        except sqlite3.DatabaseError as error:
            return str(error)
    return problem or (f"a row of {broken[0]} without what it refers to" if broken else "")


def _forget_its_time(path: Path) -> None:
    """What was asked since the backup has been answered: it must not look missed. And the process
    that was running then did not die.
    """
    with translated(path), closing(sqlite3.connect(path)) as db, db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
        if "watermarks" in tables:
            db.execute("DELETE FROM watermarks")
        if "process" in tables:
            db.execute("UPDATE process SET alive = 0")


# ── the database that is replaced ─────────────────────────────────────────────────────────────
def _keep(path: Path) -> Path:
    """Give the old database another name besides its own, with what belongs to it."""
    _settle(path)
    kept = path.with_name(f"{path.name}.before-{time.strftime('%Y%m%d-%H%M%S')}")
    for suffix in ("", *_SIDECARS):
        if Path(f"{path}{suffix}").exists():
            _link(Path(f"{path}{suffix}"), Path(f"{kept}{suffix}"))
    for suffix in _SIDECARS:  # they would be taken for the new database's
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    return kept


def _settle(path: Path) -> None:
    """Bring the log into the database, if that can be done: a damaged one is kept as it is."""
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error:
        return


def _link(old: Path, new: Path) -> None:
    """A second name; a copy where the file system has no such thing. Never over another file."""
    try:
        new.hardlink_to(old)
    except FileExistsError:
        raise
    except OSError:
        shutil.copy2(old, new)


def _flush(directory: Path) -> None:
    """See that the new name outlives a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
