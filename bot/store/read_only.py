"""Opens a database for reading only, beside a running bot, for commands."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bot.domain.errors import StoreUnavailable
from bot.store.errors import translate_errors

BUSY_SECONDS = 5.0
"""How long to wait for another program's lock."""


@contextmanager
def open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """The database at `path`; raises StoreUnavailable if there is none, and while it is read."""
    if not path.is_file():
        raise StoreUnavailable(f"There is no database at {path}: DATABASE_URL names it.")
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with (
        translate_errors(path),
        closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as db,
    ):
        db.row_factory = sqlite3.Row
        yield db
