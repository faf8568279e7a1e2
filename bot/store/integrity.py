"""Looking for damage: at a start for as long as a start may take, in a copy to the end."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import structlog

from bot.domain.errors import StoreUnavailable
from bot.store.errors import damaged, primary_code, translated

log = structlog.stdlib.get_logger(__name__)

START_SECONDS = 0.15
"""About 50 MB that are in memory, measured; a start should take no longer than 0.3 s besides its
imports. Larger databases are checked to the end by every backup."""


def check_at_start(path: Path, *, seconds: float = START_SECONDS) -> None:
    """Raise StoreUnavailable when the database is damaged, as far as that is seen in `seconds`.

    A file that does not exist, or is blank, is well.
    """
    if not (path.is_file() and path.stat().st_size):
        return
    with translated(path), closing(_connect(path)) as db:
        try:
            with _interrupted_after(db, seconds):
                problem = found(db, "quick_check")
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_INTERRUPT:
                raise
            log.info("the database is too large to be checked at a start; a backup checks it")
            return
    if problem:
        log.error("the database is damaged", problem=problem)
        raise StoreUnavailable(damaged(path))


@contextmanager
def _interrupted_after(db: sqlite3.Connection, seconds: float) -> Iterator[None]:
    done = threading.Event()

    def interrupt() -> None:
        pause = seconds
        while not done.wait(pause):
            db.interrupt()  # again and again: it does nothing to a statement that has not begun
            pause = 0.005

    thread = threading.Thread(target=interrupt, name="check limit")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()  # it must not meet a closed connection


def found(db: sqlite3.Connection, check: str) -> str:
    """What `PRAGMA check` finds first, in one line; "" when nothing is wrong."""
    (answer,) = db.execute(f"PRAGMA {check}(1)").fetchone()
    return "" if answer == "ok" else " ".join(str(answer).split())


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"  # never makes a file
    return sqlite3.connect(uri, uri=True, timeout=5.0, check_same_thread=False)
