"""The two ends of a copy between databases: an SQLite file, and a PostgreSQL database.

Invariant: a target's transaction ends with all rows or with none. The target's triggers do not run,
because the rows already contain their effects.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg import sql

from bot.domain.errors import StoreError
from bot.domain.privacy import Erasure
from bot.store import search_documents
from bot.store.erasure_list import ErasureList
from bot.store.errors import translate_errors
from bot.store.lock import exclusive_lock
from bot.store.migrate import migrate, status
from bot.store.postgres import erasures, migrations
from bot.store.postgres.dialect import named_rows, register
from bot.store.postgres.errors import translate_errors as translate_postgres_errors
from bot.store.postgres.server import Server
from bot.store.postgres.session import Session

BATCH = 64
"""Rows in memory at the same time: up to 16 MB, because a chunk of a file has 256 KB."""

LINGER_SECONDS, LOOK_SECONDS = 3.0, 0.1
"""How long PostgreSQL may still list connections of processes that have ended, and the pause
between two checks; usually the connections disappear within milliseconds."""

NOT_COPIED = frozenset(
    {"migrations", "members", "leases", "gaps", "gap_reads", "thread_reads"}
    | {"search_documents", "search_queue"}
)
"""Each database has a separate ledger; leases end with their process; the search index is
rebuilt."""

INDEX = "search_index"
"""SQLite's virtual table, and the prefix of the tables behind it."""

SINGLE_ROWS = frozenset({"process"})  # the schema creates their one row

Columns = Mapping[str, Sequence[str]]
"""The columns of each table, in an order in which no row refers to a later table."""


class Source(Protocol):
    """The source of the rows. All reads see the database at one moment."""

    def newest(self) -> int:
        """The number of the newest migration."""
        ...

    def columns(self) -> Columns:
        """The tables with their columns."""
        ...

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        """All rows of a table, in batches of bounded size."""
        ...

    def last_ids(self) -> Mapping[str, int]:
        """The highest id that each table has assigned, for tables that never reuse one."""
        ...

    def erased(self) -> tuple[str, Sequence[Erasure]]:
        """The salt and the entries of the list of erasures."""
        ...


class Target(Source, Protocol):
    """The destination of the rows. All changes are one transaction."""

    def is_empty(self, table: str) -> bool:
        """Whether a table has no rows."""
        ...

    def suspend_triggers(self, tables: Sequence[str]) -> None:
        """Insert the following rows without running triggers."""
        ...

    def insert(self, table: str, columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
        """Insert the rows."""
        ...

    def set_last_ids(self, last: Mapping[str, int]) -> None:
        """Make sure that no id is assigned twice."""
        ...

    def finish(self, tables: Sequence[str]) -> None:
        """End `suspend_triggers`, have the bot index all texts for the search, and update the query
        planner's statistics."""
        ...

    def set_erased(self, salt: str, entries: Sequence[Erasure]) -> None:
        """Replace the list of erasures."""
        ...


# ── SQLite ────────────────────────────────────────────────────────────────────────────────────
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


# ── PostgreSQL ────────────────────────────────────────────────────────────────────────────────
class PostgresEnd:
    """A PostgreSQL database that no process of the bot is using."""

    def __init__(self, db: psycopg.Connection[Any], server: Server) -> None:
        self._db, self._server = db, server
        self._session = Session(db)

    def newest(self) -> int:
        """See `Source`."""
        (number,) = self._db.execute("SELECT max(number) FROM migrations").fetchall()[0]
        return int(number)

    def columns(self) -> Columns:
        """See `Source`."""
        found = self._db.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"
        )
        names: dict[str, list[str]] = {}
        for table, column in found:
            names.setdefault(table, []).append(column)
        parents: dict[str, set[str]] = {table: set() for table in names if table not in NOT_COPIED}
        for table, parent in self._db.execute(
            "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint"
            " WHERE contype = 'f' AND connamespace = current_schema()::regnamespace"
        ):
            if table in parents:
                parents[table].add(parent)
        return {table: names[table] for table in sorted_by_parents(parents)}

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        """See `Source`."""
        query = sql.SQL("SELECT {} FROM {}").format(_names(columns), sql.Identifier(table))
        with self._db.cursor(name="copy") as cursor:  # on the server, which sends batches
            cursor.execute(query)
            while batch := cursor.fetchmany(BATCH):
                yield from batch

    def last_ids(self) -> Mapping[str, int]:
        """See `Source`."""
        last = {}
        for table, sequence in self._sequences():
            query = f"SELECT last_value, is_called FROM {sequence}"  # noqa: S608 - of the schema
            number, is_used = self._db.execute(query.encode()).fetchall()[0]
            if is_used:
                last[table] = number
        return last

    def _sequences(self) -> Sequence[tuple[str, str]]:
        return self._db.execute(
            "SELECT table_name, pg_get_serial_sequence(table_name, 'id')"
            " FROM information_schema.columns WHERE table_schema = current_schema()"
            " AND column_name = 'id' AND is_identity = 'YES'"
        ).fetchall()

    def erased(self) -> tuple[str, Sequence[Erasure]]:
        """See `Source`."""
        return erasures.salt_and_entries(self._session)

    def is_empty(self, table: str) -> bool:
        """See `Target`."""
        query = sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(table))
        return self._db.execute(query).fetchone() is None

    def suspend_triggers(self, tables: Sequence[str]) -> None:
        """See `Target`."""
        self._alter_triggers(tables, "DISABLE")

    def _alter_triggers(self, tables: Sequence[str], action: str) -> None:
        for table in tables:  # the schema's own triggers only; foreign keys are still checked
            self._db.execute(f"ALTER TABLE {table} {action} TRIGGER USER".encode())

    def insert(self, table: str, columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
        """See `Target`."""
        name = sql.Identifier(table)
        if table in SINGLE_ROWS:
            self._db.execute(sql.SQL("DELETE FROM {}").format(name))
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(name, _names(columns))
        with self._db.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    def set_last_ids(self, last: Mapping[str, int]) -> None:
        """See `Target`."""
        for table, sequence in self._sequences():
            query = f"SELECT coalesce(max(id), 0) FROM {table}"  # noqa: S608 - of the schema
            (highest,) = self._db.execute(query.encode()).fetchall()[0]
            number = max(highest, last.get(table, 0))
            if number:  # SQLite also lists tables that assigned none
                self._db.execute("SELECT setval(%s, %s)", (sequence, number))

    def finish(self, tables: Sequence[str]) -> None:
        """See `Target`. Without this, /readyz would respond too slowly until autovacuum had run."""
        self._alter_triggers(tables, "ENABLE")
        search_documents.index_again(self._session)
        for table in tables:
            self._db.execute(f"ANALYZE {table}".encode())

    def set_erased(self, salt: str, entries: Sequence[Erasure]) -> None:
        """See `Target`."""
        if not erasures.join(self._session, salt, entries):
            raise StoreError(
                f"The database {self._server.name} has the list of erasures of another database."
            )


@contextmanager
def open_postgres(server: Server) -> Iterator[PostgresEnd]:
    """Open a PostgreSQL database with the newest schema, in one transaction.

    Raises StoreError if a process of the bot is connected, StoreUnavailable and MigrationError.
    """
    migrations.migrate(server)
    with (
        translate_postgres_errors(server.name),
        psycopg.connect(server.conninfo, row_factory=named_rows, prepare_threshold=None) as db,
    ):
        register(db)
        _begin_alone(db, server)
        yield PostgresEnd(db, server)


def _begin_alone(db: psycopg.Connection[Any], server: Server) -> None:
    """Begin the transaction at a moment when no process of the bot is connected."""
    until = time.monotonic() + LINGER_SECONDS
    while True:
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        (others,) = db.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'threadline' AND pid <> pg_backend_pid()"
        ).fetchall()[0]
        if not others:
            return
        db.rollback()  # the next transaction sees everything written until then
        if time.monotonic() > until:
            raise StoreError(
                f"The bot uses the database {server.name}: stop all of its processes first."
            )
        time.sleep(LOOK_SECONDS)


# ── shared ────────────────────────────────────────────────────────────────────────────────────
def sorted_by_parents(parents: Mapping[str, set[str]]) -> Sequence[str]:
    """Sort the tables so that each follows the ones its rows refer to."""
    done: dict[str, None] = {}
    while len(done) < len(parents):
        ready = [each for each in sorted(parents) if parents[each] - {each} <= done.keys()]
        done |= dict.fromkeys(ready)
    return list(done)


def _list(columns: Sequence[str]) -> str:
    return ", ".join(columns)


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
