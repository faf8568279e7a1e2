"""The store on PostgreSQL: the operations of SQLite's, by any number of processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from bot.ports.clock import Clock
from bot.store import locks
from bot.store.database import Database
from bot.store.health import HealthMonitor
from bot.store.operations import writes_at
from bot.store.postgres import erasures
from bot.store.postgres.migrations import migrate
from bot.store.postgres.pool import Readers, Writer, open_connections
from bot.store.postgres.privacy import PostgresPrivacy
from bot.store.postgres.server import Server
from bot.store.purge import Purger
from bot.store.store import SqlStore

# Connections of one process: enough for a few hundred turns at once, since a transaction takes
# about a millisecond; PostgreSQL's default is 100 for all processes.
WRITERS, READERS, FILE_READERS = 6, 3, 1


class PostgresStore(SqlStore):
    """Implements `bot.ports.store.Store`. Create it with `open`."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, server: Server, *, clock: Clock, writers: int = WRITERS
    ) -> AsyncIterator[Self]:
        """Migrate the database and connect to it.

        On exit, waits for the operations that have started and disconnects.

        `writers` is how many transactions write at the same time. Raises MigrationError or
        StoreUnavailable.
        """
        await asyncio.to_thread(migrate, server)
        async with (
            open_connections(server, size=writers, role="writer") as writing,
            open_connections(server, size=READERS, role="reader") as reading,
            open_connections(server, size=FILE_READERS, role="files") as reading_files,
        ):
            monitor = HealthMonitor(server.name, clock=clock, probe=_write_something)
            writer = monitor.wrap(Writer(writing), writes=True)
            readers = monitor.wrap(Readers(reading), writes=False)
            purger = Purger(writer=writer, readers=readers)
            privacy = PostgresPrivacy(
                connections=reading_files,
                writer=writer,
                readers=readers,
                clock=clock,
                purger=purger,
            )
            await privacy.apply_missing()
            store = cls(
                writer=writer,
                readers=readers,
                file_reader=monitor.wrap(Readers(reading_files), writes=False),
                clock=clock,
                monitor=monitor,
                purger=purger,
                privacy=privacy,
            )
            async with monitor.probing(writer), store._running():
                yield store

    _accept = writes_at(erasures.accept, lock=locks.by_incoming)


def _write_something(db: Database) -> None:
    """The smallest write that reaches the disk."""
    db.execute("UPDATE process SET alive = alive")
