"""The PostgreSQL end of a copy between databases."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from bot.domain.errors import StoreError
from bot.domain.privacy import Erasure
from bot.store import search_documents
from bot.store.postgres import erasures, migrations
from bot.store.postgres.copy_ends import BATCH, NOT_COPIED, SINGLE_ROWS, Columns, sorted_by_parents
from bot.store.postgres.dialect import named_rows, register
from bot.store.postgres.errors import translate_errors
from bot.store.postgres.server import Server
from bot.store.postgres.session import Session

LINGER_SECONDS, LOOK_SECONDS = 3.0, 0.1
"""How long PostgreSQL may still list connections of processes that have ended, and the pause
between two checks; usually the connections disappear within milliseconds."""


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
        translate_errors(server.name),
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


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
