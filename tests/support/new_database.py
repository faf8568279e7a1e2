"""New SQLite databases with the newest schema: copies of one that was migrated.

Migrating a new file takes 40 ms of CPU time, most of the cost of a store test. Tests of `migrate`
call it (tests/unit/test_store_migrate*.py), and so do bots that start from scratch.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import tempfile
from pathlib import Path

from bot.store.migrate import migrate


@functools.cache
def migrated() -> bytes:
    """The bytes of a new database file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.db"
        migrate(path)
        return path.read_bytes()


def create(path: Path) -> None:
    """Create a database that only its owner may read. Raises FileExistsError or another OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(migrated())


def in_memory() -> sqlite3.Connection:
    """An empty in-memory database, for calling transitions as plain functions."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.row_factory = sqlite3.Row
    db.deserialize(migrated())
    db.execute("PRAGMA foreign_keys = ON")
    return db
