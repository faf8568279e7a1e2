"""The SQLite end of a copy between databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bot.domain.errors import StoreError
from bot.domain.privacy import Erasure
from bot.store import search_documents
from bot.store.erasure_list import ErasureList
from bot.store.errors import translate_errors
from bot.store.lock import exclusive_lock
from bot.store.migrate import migrate, status
from bot.store.postgres.copy_ends import BATCH, NOT_COPIED, SINGLE_ROWS, Columns, sorted_by_parents

INDEX = "search_index"
"""SQLite's virtual table, and the prefix of the tables behind it."""


class SqliteEnd:
    """An SQLite file that no process has open."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db, self._path = db, path
        self._triggers: list[str] = []

    def newest(self) -> int:
        """See `Source`."""
        return len(status(self._path).applied)

    def columns(self) -> Columns:
        """See `Source`."""
        found = self._db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        tables = [
            name for (name,) in found if name not in NOT_COPIED and not name.startswith(INDEX)
        ]
        parents = {
            table: {row[2] for row in self._db.execute(f"PRAGMA foreign_key_list({table})")}
            for table in tables
        }
        return {
            table: [row[1] for row in self._db.execute(f"PRAGMA table_info({table})")]
            for table in sorted_by_parents(parents)
        }

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        """See `Source`."""
        cursor = self._db.execute(f"SELECT {_list(columns)} FROM {table}")  # noqa: S608 - names
        while batch := cursor.fetchmany(BATCH):
            yield from batch

    def last_ids(self) -> Mapping[str, int]:
        """See `Source`."""
        return dict(self._db.execute("SELECT name, seq FROM sqlite_sequence").fetchall())

    def erased(self) -> tuple[str, Sequence[Erasure]]:
        """See `Source`."""
        known = ErasureList(self._path)
        return known.salt, known.entries()

    def is_empty(self, table: str) -> bool:
        """See `Target`."""
        return self._db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None  # noqa: S608

    def suspend_triggers(self, _tables: Sequence[str]) -> None:
        """See `Target`."""
        found = self._db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        for name, statement in found.fetchall():
            self._triggers.append(statement)
            self._db.execute(f"DROP TRIGGER {name}")

    def insert(self, table: str, columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
        """See `Target`."""
        if table in SINGLE_ROWS:
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of the schema
        marks = ", ".join("?" * len(columns))
        self._db.executemany(f"INSERT INTO {table} ({_list(columns)}) VALUES ({marks})", rows)  # noqa: S608

    def set_last_ids(self, last: Mapping[str, int]) -> None:
        """See `Target`."""
        for table, number in self.last_ids().items():  # of tables with rows
            self._db.execute(
                "UPDATE sqlite_sequence SET seq = ? WHERE name = ?",
                (max(number, last.get(table, 0)), table),
            )

    def finish(self, _tables: Sequence[str]) -> None:
        """See `Target`. SQLite's plans need no statistics."""
        for statement in self._triggers:
            self._db.execute(statement)
        search_documents.index_again(self._db)

    def set_erased(self, salt: str, entries: Sequence[Erasure]) -> None:
        """See `Target`."""
        known = ErasureList(self._path)
        if known.salt not in ("", salt):
            raise StoreError(f"{known.path} is the list of erasures of another database.")
        if entries:
            known.mirror(salt, entries)


@contextmanager
def open_file(path: Path) -> Iterator[SqliteEnd]:
    """Open an SQLite file with the newest schema exclusively, in one transaction.

    Raises InUse, StoreUnavailable and MigrationError. Deletes a newly created file if the
    transaction fails.
    """
    is_new = not path.exists()
    with translate_errors(path), exclusive_lock(path):
        migrate(path)
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("BEGIN IMMEDIATE")
                yield SqliteEnd(db, path)
                db.execute("COMMIT")
        except BaseException:
            if is_new:
                path.unlink()
            raise


def _list(columns: Sequence[str]) -> str:
    return ", ".join(columns)
