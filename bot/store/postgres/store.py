"""The store on PostgreSQL: the operations of SQLite's, by any number of processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from bot.domain.cluster import Look
from bot.ports.clock import Clock
from bot.store import leases, locks
from bot.store.database import Database
from bot.store.health import HealthMonitor
from bot.store.operations import reads, writes, writes_at
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
        cls, server: Server, *, clock: Clock, writers: int = WRITERS, process: str | None = None
    ) -> AsyncIterator[Self]:
        """Migrate the database and connect to it.

        On exit, waits for the operations that have started and disconnects.

        `writers` is how many transactions write at the same time. `process` is the id with which
        this process holds turns; None if no other one uses the database. Raises MigrationError or
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
                process=process,
            )
            async with monitor.probing(writer), store._running():
                yield store

    # ── for bot.ports.cluster.LeaseStore ──────────────────────────────────────────────────────
    async def look(self, platforms: Sequence[str], limit: int) -> Look:
        """See the port."""
        return await self._look(platforms, self._id, limit)

    async def reap(self) -> Sequence[int]:
        """See the port."""
        return await self._reap()

    async def release(self) -> None:
        """See the port."""
        await self._release(self._id)

    @property
    def _id(self) -> str:
        if self.process is None:
            raise RuntimeError("the store was opened without a process's id")
        return self.process

    _look = reads(leases.look)
    _reap = writes(leases.reap)
    _release = writes(leases.release)
    _accept = writes_at(erasures.accept, lock=locks.by_incoming)


def _write_something(db: Database) -> None:
    """The smallest write that reaches the disk."""
    db.execute("UPDATE process SET alive = alive")
