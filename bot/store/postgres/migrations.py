"""Applies the schema's migrations to PostgreSQL: the same numbers as SQLite's, from 0013 on.

Invariant: a migration and its row in the ledger are one transaction, and only one process migrates
at a time. Processes of the previous release may still run: see docs/postgresql.md.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import psycopg

from bot.domain.errors import MigrationError
from bot.store.migrate import MIGRATIONS, Migration, MigrationStatus, load, verify
from bot.store.postgres.errors import translate_errors
from bot.store.postgres.server import Server

POSTGRES_MIGRATIONS = MIGRATIONS / "postgres"
FIRST = 13
"""The first migration creates what SQLite's migrations up to this number create."""

# "Thrd" and a number that differs from the store's lock.
_LOCK = "SELECT pg_advisory_xact_lock(1416131172, 2)"
_LOCK_SECONDS = 60.0  # how long to wait for another process's migration
_LEDGER = """
CREATE TABLE migrations (
    number     BIGINT PRIMARY KEY,
    name       TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    applied_at DOUBLE PRECISION NOT NULL
)
"""
Connection = psycopg.Connection[Any]


def migrate(server: Server) -> list[str]:
    """Bring the database up to date, and return the names of the applied migrations.

    Safe to call from several processes. Raises MigrationError, which says what to do, or
    StoreUnavailable; both leave the database as the last complete migration left it.
    """
    files = load(POSTGRES_MIGRATIONS, first=FIRST)
    with translate_errors(server.name), _connect(server) as db:
        _require_utf8(db, server)
        with db.transaction():
            _begin(db)
            pending = files[_verified(db, server, files) :]
        return [step.name for step in pending if _apply(db, server, files, step)]


def status(server: Server) -> MigrationStatus:
    """The database's applied and missing migrations. Changes nothing; raises the same errors as
    `migrate`."""
    files = load(POSTGRES_MIGRATIONS, first=FIRST)
    with translate_errors(server.name), _connect(server) as db:
        _require_utf8(db, server)
        done = _verified(db, server, files)
    return MigrationStatus(
        tuple(step.name for step in files[:done]), tuple(step.name for step in files[done:])
    )


def _connect(server: Server) -> Connection:
    """Connect without prepared statements, which other clients would get behind a pooler.

    Each statement sees what others have committed, whatever the database's default is: otherwise a
    process that waited for another one's migration would not see it.
    """
    db = psycopg.connect(server.conninfo, prepare_threshold=None)
    db.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    return db


def _require_utf8(db: Connection, server: Server) -> None:
    """Raise MigrationError unless the database can store every text that people write."""
    encoding = db.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise MigrationError(
            f"The database {server.name} has the encoding {encoding}: create one with ENCODING "
            "'UTF8' (TEMPLATE template0), and name it in DATABASE_URL."
        )


def _begin(db: Connection) -> None:
    db.execute("SET LOCAL statement_timeout = 0")  # an index on a large table takes long
    db.execute(f"SET LOCAL lock_timeout = {_LOCK_SECONDS * 1_000:.0f}")
    db.execute(_LOCK)


def _apply(db: Connection, server: Server, files: Sequence[Migration], step: Migration) -> bool:
    """Apply one migration unless it was already applied. Returns whether it was applied now."""
    with db.transaction():
        _begin(db)
        if _verified(db, server, files) >= files.index(step) + 1:
            return False
        if step is files[0]:
            _refuse_foreign(db, server)
            db.execute(_LEDGER)
        _run(db, step)
    return True


def _run(db: Connection, step: Migration) -> None:
    try:
        db.execute(step.sql.encode())  # several statements, without parameters
    except (psycopg.ProgrammingError, psycopg.IntegrityError, psycopg.DataError) as exc:
        raise MigrationError(
            f"{step.name} failed, and nothing was changed: {exc}. Report it, and keep using the "
            "previous version."
        ) from exc
    db.execute(
        "INSERT INTO migrations (number, name, sha256, applied_at) VALUES (%s, %s, %s, %s)",
        (step.number, step.name, step.sha256, time.time()),
    )


def _refuse_foreign(db: Connection, server: Server) -> None:
    """Raise MigrationError unless the schema is empty."""
    row = db.execute(
        "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE nspname = current_schema() AND relkind IN ('r', 'p', 'v', 'm') LIMIT 1"
    ).fetchone()
    if row is not None:
        raise MigrationError(
            f"The database {server.name} has another program's table {row[0]}: create a database "
            "for Threadline, and name it in DATABASE_URL."
        )


def _verified(db: Connection, server: Server, files: Sequence[Migration]) -> int:
    (known,) = db.execute("SELECT to_regclass('migrations')").fetchone()  # type: ignore[misc]
    if known is None:
        return 0
    rows = db.execute("SELECT number, name, sha256 FROM migrations ORDER BY number").fetchall()
    return verify(rows, files, name=f"The database {server.name}")
