"""Checks for damage: with a time limit at a start, without one in backups."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import structlog

from bot.domain.errors import StoreUnavailable
from bot.store.errors import damage_message, primary_code, translate_errors

log = structlog.stdlib.get_logger(__name__)

START_SECONDS = 0.15
"""Enough for about 50 MB without the bytes of attachments, in the page cache (measured); a start,
not counting imports, should take at most 0.3 s. Backups always check the whole database, whatever
its size."""


def check_at_start(path: Path, *, seconds: float = START_SECONDS) -> None:
    """Raise StoreUnavailable if a check of at most `seconds` finds damage.

    A missing or empty file is not damaged. The bytes of attachments and the search index are not
    checked: they make up most of a database, and no other table depends on them.
    """
    if not (path.is_file() and path.stat().st_size):
        return
    with translate_errors(path), closing(_connect(path)) as db:
        try:
            with _interrupt_after(db, seconds):
                problem = _problem_outside_files(db, until=time.monotonic() + seconds)
        except (TimeoutError, sqlite3.OperationalError) as error:
            if not _is_timeout(error):
                raise
            log.info("the database is too large to check at start; backups check it completely")
            return
    if problem:
        log.error("the database is damaged", problem=problem)
        raise StoreUnavailable(damage_message(path))


def _problem_outside_files(db: sqlite3.Connection, *, until: float) -> str:
    """The first problem in the schema and most tables; "" if there is none.

    Raises TimeoutError if a table's check would start at or after `until`, in monotonic seconds: on
    a busy machine, the interrupting thread may not run between two short checks.
    """
    found = db.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'chunks'"
        " AND name NOT LIKE 'search_%'"
    )
    for table in ("sqlite_schema", *(name for (name,) in found.fetchall())):
        if time.monotonic() >= until:
            raise TimeoutError
        (answer,) = db.execute(f"PRAGMA quick_check({table})").fetchone()
        if answer != "ok":
            return " ".join(str(answer).split())
    return ""


def _is_timeout(error: Exception) -> bool:
    """Whether time ran out before or during a table's check."""
    if isinstance(error, sqlite3.Error):
        return primary_code(error) == sqlite3.SQLITE_INTERRUPT
    return isinstance(error, TimeoutError)


@contextmanager
def _interrupt_after(db: sqlite3.Connection, seconds: float) -> Iterator[None]:
    done = threading.Event()

    def interrupt() -> None:
        pause = seconds
        while not done.wait(pause):
            db.interrupt()  # repeatedly: it has no effect before the statement starts
            pause = 0.005

    thread = threading.Thread(target=interrupt, name="check limit")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()  # before the connection closes


def first_problem(db: sqlite3.Connection, check: str) -> str:
    """The first problem that PRAGMA `check` finds, on one line; "" if there is none."""
    (answer,) = db.execute(f"PRAGMA {check}(1)").fetchone()
    return "" if answer == "ok" else " ".join(str(answer).split())


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"  # does not create a file
    return sqlite3.connect(uri, uri=True, timeout=5.0, check_same_thread=False)
