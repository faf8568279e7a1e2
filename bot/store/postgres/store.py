"""The store on PostgreSQL: the same operations as on SQLite, for any number of processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bot.domain.cluster import Look
from bot.ports.clock import Clock
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.store import leases, locks
from bot.store.connected import Connected
from bot.store.database import Database
from bot.store.health import HealthMonitor
from bot.store.operations import reads, writes, writes_at
from bot.store.postgres import erasures
from bot.store.postgres.migrations import migrate
from bot.store.postgres.pool import DEFAULT_LIMITS, Connections, Limits, open_connections
from bot.store.postgres.privacy import PostgresPrivacy
from bot.store.postgres.search import Gin
from bot.store.postgres.server import Server
from bot.store.postgres.transactions import Readers, Writer
from bot.store.store import SqlStore

CONNECTIONS = 10
"""The connections of one process: enough for a few hundred concurrent turns, because a transaction
takes a few milliseconds. PostgreSQL's default is 100 for all processes."""

_FILE_READERS = 1
_WARM = 2  # a new connection takes PostgreSQL as long as all transactions of a question
_READERS_PART = 3  # one of three connections reads


class PostgresStore(SqlStore):
    """Implements `bot.ports.store.Store`. Create it with `open` or `attach`."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        server: Server,
        *,
        clock: Clock,
        connections: int = CONNECTIONS,
        erasure_list: Path | None = None,
        limits: Limits = DEFAULT_LIMITS,
        observer: Observer = NO_OBSERVER,
        process: str | None = None,
    ) -> AsyncIterator[Self]:
        """Migrate the database and connect to it as a process of the bot.

        On exit, waits for the operations that have started and disconnects.

        `connections` is the most connections to open; `observer` learns of each call.
        `erasure_list` is the file with a copy of the list of erasures. `process` is the id with
        which this process holds turns; None if no other process uses the database. Raises
        MigrationError, StoreUnavailable, or StoreError if that file cannot be used.
        """
        await asyncio.to_thread(migrate, server)
        connected = cls._connect(
            server, clock, connections, erasure_list, limits, observer, process
        )
        async with connected as store, store._running():
            yield store

    @classmethod
    @asynccontextmanager
    async def attach(
        cls, server: Server, *, clock: Clock, erasure_list: Path | None = None
    ) -> AsyncIterator[Self]:
        """Like `open`, for a command that runs beside the processes of the bot."""
        await asyncio.to_thread(migrate, server)
        connected = cls._connect(server, clock, _READERS_PART, erasure_list)
        async with connected as store, store._purger.running():
            yield store

    @classmethod
    @asynccontextmanager
    async def _connect(
        cls,
        server: Server,
        clock: Clock,
        connections: int,
        erasure_list: Path | None,
        limits: Limits = DEFAULT_LIMITS,
        observer: Observer = NO_OBSERVER,
        process: str | None = None,
    ) -> AsyncIterator[Self]:
        async with _open_pools(server, connections, limits) as pools:
            if process is not None:
                await pools.warm()
            connected = Connected.create(
                writer=Writer(pools.writing),
                readers=Readers(pools.reading),
                file_reader=Readers(pools.reading_files),
                index=Gin(),
                monitor=HealthMonitor(
                    server.name, clock=clock, probe=_write_something, observer=observer
                ),
                clock=clock,
            )
            privacy = PostgresPrivacy(connected, vacuuming=pools.vacuuming, copy=erasure_list)
            await privacy.apply_missing()
            store = cls(connected, privacy=privacy, process=process, size=database_size)
            async with connected.probing():
                yield store

    # ── for bot.ports.cluster.LeaseStore ──────────────────────────────────────────────────────
    async def look(self, platforms: Sequence[str], limit: int) -> Look:
        """See the port."""
        return await self._look(platforms, self._id, limit)

    async def reap(self, seen_at: float | None = None) -> Sequence[int]:
        """See the port."""
        return await self._reap(seen_at)

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


@dataclass(frozen=True, slots=True)
class _Pools:
    """The connections of one process, by purpose."""

    writing: Connections
    reading: Connections
    reading_files: Connections
    vacuuming: Connections

    async def warm(self) -> None:
        """Connect as often as one question needs connections at the same time."""
        await asyncio.gather(self.writing.warm(_WARM), self.reading.warm(_WARM))


@asynccontextmanager
async def _open_pools(server: Server, connections: int, limits: Limits) -> AsyncIterator[_Pools]:
    """Open up to `connections` connections, and one for VACUUM."""
    readers = max(1, (connections - _FILE_READERS) // _READERS_PART)
    writers = max(1, connections - _FILE_READERS - readers)
    async with (
        open_connections(server, size=writers, role="writer", limits=limits) as writing,
        open_connections(server, size=readers, role="reader", limits=limits) as reading,
        open_connections(server, size=_FILE_READERS, role="files", limits=limits) as files,
        open_connections(server, size=1, role="vacuum", limits=limits) as vacuuming,
    ):
        yield _Pools(writing, reading, files, vacuuming)


def database_size(db: Database) -> int:
    """The size of the database in bytes, without the server's log."""
    (size,) = db.execute("SELECT pg_database_size(current_database())").fetchall()[0]
    return int(size)


def _write_something(db: Database) -> None:
    """The smallest write that reaches the disk."""
    db.execute("UPDATE process SET alive = alive")
