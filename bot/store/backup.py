"""Backs up the database while the bot uses it, and restores backups.

Invariants: a backup gets its final name only once it is complete and checked. The database's name
always refers to a complete database, and a restore keeps the database that it replaces.
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
from bot.store.erasure_list import ErasureList, apply_missing
from bot.store.errors import damage_message, translate_errors
from bot.store.integrity import first_problem
from bot.store.lock import exclusive_lock
from bot.store.migrate import MIGRATIONS, status

_SIDECARS = ("-wal", "-shm")  # remain if a database was not closed properly


def backup(path: Path, target: Path, *, overwrite: bool = False) -> int:
    """Copy the database at `path` to the file `target`, and return its size in bytes.

    Safe while the bot runs, because the copy is a snapshot. It is a single file that only its owner
    can read. Raises StoreError if `target` exists (without `overwrite`) or cannot be written,
    MigrationError and StoreUnavailable.
    """
    with _translate_os_errors(target):
        if not path.is_file():
            raise StoreError(f"There is no database {path}: DATABASE_URL names the one to back up.")
        if target.exists() and (target.samefile(path) or not overwrite):
            raise StoreError(f"{target} exists: name another file, or overwrite it with --force.")
        status(path)  # raises MigrationError if the database is another program's
        with _temporary_file(target) as fresh:
            _copy(path, fresh)
            if _problem(fresh):
                raise StoreUnavailable(damage_message(path))
            size = fresh.stat().st_size
            fresh.replace(target)
            _flush(target.parent)
    return size


def restore(path: Path, source: Path, *, migrations: Path = MIGRATIONS) -> Path | None:
    """Replace the database at `path` with a copy of the backup `source`.

    Returns the path at which the old database is kept, None if there was none. Raises StoreError if
    the bot is using the database or `source` is not a complete backup, and MigrationError if a
    newer Threadline wrote it. Both leave everything unchanged.
    """
    with _translate_os_errors(path), exclusive_lock(path):
        _require_backup(source, path, migrations)
        with _temporary_file(path) as fresh:
            _copy(source, fresh)
            if _problem(fresh):
                raise StoreError(f"{source} is damaged: take another backup.")
            _forget_past_state(fresh)
            apply_missing(fresh, ErasureList(path), time.time())
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
        raise StoreError(f"{source} is damaged or not a database: take another backup.") from error
    if not applied:
        raise StoreError(f"{source} is empty: take another backup.")


@contextmanager
def _translate_os_errors(path: Path) -> Iterator[None]:
    """Raise StoreError with the file's name instead of OSError."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{error.filename or path}: {error.strerror}.") from error


# ── copies ────────────────────────────────────────────────────────────────────────────────────
@contextmanager
def _temporary_file(path: Path) -> Iterator[Path]:
    """Create a private file in the directory of `path`; delete it on exit unless it was renamed."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".new")
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        for suffix in ("", "-journal"):
            Path(name + suffix).unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Copy a snapshot with SQLite's online backup; writers are not blocked."""
    # Not read-only: the last connection to close must be able to delete the log.
    uri = f"{source.absolute().as_uri()}?mode=rw"
    with (
        translate_errors(source),
        closing(sqlite3.connect(uri, uri=True, timeout=5.0)) as reading,
        closing(sqlite3.connect(target, isolation_level=None)) as writing,
    ):
        reading.backup(writing)
        # The copy's header says WAL mode; changing it makes the copy a single file.
        writing.execute("PRAGMA journal_mode = DELETE")
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def _problem(path: Path) -> str:
    """The first problem found in a copy; "" if there is none."""
    with closing(sqlite3.connect(path)) as db:
        try:
            problem = first_problem(db, "integrity_check")
            broken = db.execute("PRAGMA foreign_key_check").fetchone()
        except sqlite3.DatabaseError as error:
            return str(error)
    return problem or (f"a row of {broken[0]} violates a foreign key" if broken else "")


def _forget_past_state(path: Path) -> None:
    """Drop state that is outdated in a backup.

    Without watermarks, questions answered since the backup do not count as missed. The process that
    ran during the backup did not die. People who have signed out since then stay signed out.
    """
    with translate_errors(path), closing(sqlite3.connect(path)) as db, db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
        if "watermarks" in tables:
            db.execute("DELETE FROM watermarks")
        if "process" in tables:
            db.execute("UPDATE process SET alive = 0")
        if "sessions" in tables:
            db.execute("DELETE FROM sessions")


# ── the database that is replaced ─────────────────────────────────────────────────────────────
def _keep(path: Path) -> Path:
    """Give the old database and its log a second name, and return that name."""
    _checkpoint(path)
    kept = path.with_name(f"{path.name}.before-{time.strftime('%Y%m%d-%H%M%S')}")
    for suffix in ("", *_SIDECARS):
        if Path(f"{path}{suffix}").exists():
            _link(Path(f"{path}{suffix}"), Path(f"{kept}{suffix}"))
    for suffix in _SIDECARS:  # SQLite would apply them to the new database
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    return kept


def _checkpoint(path: Path) -> None:
    """Write the log into the database if possible; keep a damaged database as it is."""
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error:
        return


def _link(old: Path, new: Path) -> None:
    """Add a second name, or copy the file if the file system has no hard links. Never
    overwrites."""
    try:
        new.hardlink_to(old)
    except FileExistsError:
        raise
    except OSError:
        shutil.copy2(old, new)


def _flush(directory: Path) -> None:
    """Make a rename in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
