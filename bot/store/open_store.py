"""Opens the database that DATABASE_URL names: an SQLite file, or PostgreSQL.

Modules that depend on PostgreSQL are imported only when needed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AsyncExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
    suppress,
)
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from bot.common.local_cluster import LocalCluster
from bot.common.retry import DATABASE
from bot.config.settings import Settings
from bot.domain.errors import SettingsError, StoreUnavailable
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster, LeaseStore
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.store import migrate
from bot.store.connection import StoringConnection
from bot.store.database import Database
from bot.store.errors import translate_errors
from bot.store.installations import InstallationsBeside
from bot.store.sqlite import SqliteStore
from bot.store.store import SqlStore
from bot.store.workload import file_size

START_SECONDS = 60.0
"""How long a start waits for a PostgreSQL server that restarts, cannot be reached yet, or still has
the connections of processes that are being replaced."""

# Codes, or their classes: no connection, too many, and shutting down, starting or recovering.
_PASSING = ("08", "53300", "57")

log = structlog.stdlib.get_logger(__name__)

if TYPE_CHECKING:
    from bot.store.postgres.server import Server
    from bot.store.postgres.store import PostgresStore


def server_of(settings: Settings) -> Server:
    """The PostgreSQL server. Raises SettingsError."""
    from psycopg import ProgrammingError

    from bot.store.postgres.server import Server

    try:
        return Server.parse(settings.database_url, prepares=settings.database_prepared_statements)
    except ProgrammingError:  # its message may repeat the password
        raise SettingsError(
            "DATABASE_URL", "write postgresql://user:password@host:5432/database"
        ) from None


def name_of(settings: Settings) -> str:
    """How sentences refer to the database: the file, or the address without the password."""
    return server_of(settings).name if settings.uses_postgres else str(settings.database_path)


# ── the store ─────────────────────────────────────────────────────────────────────────────────
@asynccontextmanager
async def open_store(
    settings: Settings, clock: Clock, *, observer: Observer = NO_OBSERVER
) -> AsyncIterator[tuple[SqlStore, Cluster, LeaseStore | None]]:
    """Open the store for the bot, and join the processes that share it.

    The third value is None if no other process can share the database. `observer` learns of each
    call. Raises what the store's `open` raises, and SettingsError.
    """
    if settings.uses_postgres:
        async with _open_postgres(settings, clock, observer) as (shared, cluster):
            yield shared, cluster, shared
    else:
        file = settings.database_path
        async with SqliteStore.open(file, clock=clock, observer=observer) as store:
            yield store, LocalCluster(), None


@asynccontextmanager
async def _open_postgres(
    settings: Settings, clock: Clock, observer: Observer
) -> AsyncIterator[tuple[PostgresStore, Cluster]]:
    opened = await _once_reachable(lambda: _join(settings, clock, observer), clock)
    async with opened.stack:
        try:
            yield opened.store, opened.cluster
        finally:  # before this process reports that it leaves
            with suppress(StoreUnavailable):
                await opened.store.release()


@dataclass(frozen=True, slots=True)
class _Opened:
    """The store and the processes that share it, until `stack` closes."""

    store: PostgresStore
    cluster: Cluster
    stack: AsyncExitStack


async def _join(settings: Settings, clock: Clock, observer: Observer) -> _Opened:
    from bot.store.cluster.cluster import PostgresCluster
    from bot.store.postgres.store import PostgresStore

    server = server_of(settings)
    cluster = PostgresCluster(server.conninfo, settings.database_listen_url or "")
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            PostgresStore.open(
                server,
                clock=clock,
                connections=settings.database_connections,
                erasure_list=settings.erasure_list,
                process=cluster.process,
                observer=observer,
            )
        )
        await stack.enter_async_context(cluster.join())
        return _Opened(store, cluster, stack.pop_all())


async def _once_reachable(operation: Callable[[], Awaitable[_Opened]], clock: Clock) -> _Opened:
    """Return the result of `operation`; a server that takes no connection gets `START_SECONDS`.

    Raises StoreUnavailable after that, and immediately for any other cause.
    """
    until, pauses = clock.monotonic() + START_SECONDS, iter(DATABASE)
    while True:
        try:
            return await operation()
        except StoreUnavailable as error:
            pause = next(pauses)
            if not str(error.code).startswith(_PASSING) or clock.monotonic() + pause > until:
                raise
            log.warning("waiting for the database", error=str(error), seconds=pause)
        await clock.sleep(pause)


@asynccontextmanager
async def open_for_operator(settings: Settings, clock: Clock) -> AsyncIterator[SqlStore]:
    """Open the store for a command: on PostgreSQL even while the bot runs, on SQLite only without
    it.

    The command does not count as a process of the bot: it neither detects nor leaves a dead one.
    Raises the same errors as `open_store`.
    """
    if settings.uses_postgres:
        from bot.store.postgres.store import PostgresStore

        async with PostgresStore.attach(
            server_of(settings), clock=clock, erasure_list=settings.erasure_list
        ) as store:
            yield store
    else:
        async with SqliteStore.open(settings.database_path, clock=clock) as store:
            yield store


# ── statements, also while the bot runs ──────────────────────────────────────────────────
@contextmanager
def open_to_read(settings: Settings) -> Iterator[Database]:
    """Open the database for reading; each statement sees the newest state. Raises
    StoreUnavailable."""
    if settings.uses_postgres:
        from bot.store.postgres.pool import connect_once

        with connect_once(server_of(settings)) as db:
            yield db
    else:
        with _open_file(settings.database_path.absolute(), "ro") as db:
            yield db


@contextmanager
def open_to_append(settings: Settings) -> Iterator[Database]:
    """Open the database for one short write, for which the bot's next commit waits. Raises
    StoreUnavailable."""
    if settings.uses_postgres:
        from bot.store.postgres.pool import connect_once

        with connect_once(server_of(settings)) as db:
            yield db
    else:
        with _open_file(settings.database_path.absolute(), "rw") as db:
            yield db


@contextmanager
def _open_file(path: Path, mode: str) -> Iterator[Database]:
    if not path.is_file():
        raise StoreUnavailable(
            f"There is no database {path}: `threadline run` creates it where DATABASE_URL says."
        )
    uri = f"{path.as_uri()}?mode={mode}"
    with (
        translate_errors(path),
        closing(
            sqlite3.connect(
                uri, uri=True, timeout=5.0, isolation_level=None, factory=StoringConnection
            )
        ) as db,
    ):
        db.row_factory = sqlite3.Row
        yield db


def size_of(settings: Settings, db: Database) -> int:
    """The size of the database in bytes."""
    if settings.uses_postgres:
        from bot.store.postgres.store import database_size

        return database_size(db)
    return file_size(settings.database_path, db)


# ── the schema ────────────────────────────────────────────────────────────────────────────────
def migrate_database(settings: Settings) -> list[str]:
    """Bring the schema up to date; returns the names of the applied migrations.

    Raises MigrationError and StoreUnavailable.
    """
    if settings.uses_postgres:
        from bot.store.postgres import migrations

        return migrations.migrate(server_of(settings))
    return migrate.migrate(settings.database_path)


def migration_status(settings: Settings) -> migrate.MigrationStatus:
    """The applied and missing migrations. Changes nothing; raises the same errors as
    `migrate_database`."""
    if settings.uses_postgres:
        from bot.store.postgres import migrations

        return migrations.status(server_of(settings))
    return migrate.status(settings.database_path)


def installations_beside(settings: Settings) -> InstallationsBeside:
    """Access to the installations for commands, even while the bot runs."""
    return InstallationsBeside(
        reading=partial(open_to_read, settings), writing=partial(open_to_append, settings)
    )
