"""Translates SQLite's errors into StoreUnavailable, with a sentence for the operator."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from bot.domain.errors import StoreUnavailable

# Primary result codes (https://www.sqlite.org/rescode.html); the extended ones share the low byte.
_SENTENCES = MappingProxyType(
    {
        sqlite3.SQLITE_BUSY: "is locked by another program: close what else has it open.",
        sqlite3.SQLITE_LOCKED: "is locked by another program: close what else has it open.",
        sqlite3.SQLITE_FULL: "cannot grow, the disk is full: free some space.",
        sqlite3.SQLITE_READONLY: "is read-only: let this user write the file and its directory.",
        sqlite3.SQLITE_PERM: "may not be opened: let this user write the file and its directory.",
        sqlite3.SQLITE_CANTOPEN: (
            "cannot be opened: its directory must exist, and this user must be able to write there."
        ),
        sqlite3.SQLITE_CORRUPT: (
            "is damaged: restore a backup with `python -m bot restore FILE`; it keeps this file."
        ),
        sqlite3.SQLITE_NOTADB: "is not an SQLite database: name another file in DATABASE_URL.",
        sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error.",
    }
)


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; SQLITE_ERROR if the error has none."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def unavailable(path: Path, error: sqlite3.Error) -> StoreUnavailable:
    """Translate the error. The message names the file and, if known, what to do."""
    sentence = _SENTENCES.get(primary_code(error), f"failed: {error}.")
    return StoreUnavailable(f"The database {path} {sentence}", code=primary_code(error))


def moved(path: Path) -> StoreUnavailable:
    """The error for a database whose file was deleted or replaced by another one."""
    return StoreUnavailable(
        f"The database {path} was deleted or replaced while Threadline runs: put the file back, or "
        "restart Threadline to use what is there now.",
        code=sqlite3.SQLITE_READONLY,
    )


def inode_of(path: Path) -> int | None:
    """The number of the file at `path`; None if there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def damage_message(path: Path) -> str:
    """The message for a database in which a check found damage."""
    return f"The database {path} {_SENTENCES[sqlite3.SQLITE_CORRUPT]}"


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raise StoreUnavailable instead of SQLite's errors.

    A violated constraint or misuse of the library is a bug in Threadline, so those errors pass
    unchanged.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.Error as exc:
        raise unavailable(path, exc) from exc
