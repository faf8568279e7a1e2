"""The store on one SQLite file.

Invariant: only one process has the file open (ensured by a file lock), and one thread writes to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Self

from bot.ports.clock import Clock
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.store.connected import Connected
from bot.store.connection import open_readers, open_writer
from bot.store.erasure_list import ErasureList, apply_missing
from bot.store.health import HealthMonitor
from bot.store.integrity import check_at_start
from bot.store.lock import exclusive_lock
from bot.store.migrate import MIGRATIONS, migrate
from bot.store.privacy import SqlitePrivacy
from bot.store.search_fts5 import Fts5
from bot.store.store import SqlStore
from bot.store.workload import file_size

_READERS = 2  # a slow query leaves the other free; more would only compete for the same cores


class SqliteStore(SqlStore):
    """Implements `bot.ports.store.Store`. Create it with `open`."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock,
        migrations: Path = MIGRATIONS,
        busy_timeout: float = 5.0,
        observer: Observer = NO_OBSERVER,
    ) -> AsyncIterator[Self]:
        """Lock the file, check it for damage, migrate it and connect to it.

        On exit, waits for the operations that have started, disconnects and unlocks.

        `migrations` is the directory of the SQL files. `busy_timeout` is how many seconds to wait
        for another program's lock (a backup, a shell). `observer` learns of each call. Raises InUse
        if another process has the database, MigrationError, StoreUnavailable, or StoreError if the
        list of erasures cannot be read.
        """
        with exclusive_lock(path):
            await asyncio.to_thread(check_at_start, path)
            await asyncio.to_thread(migrate, path, migrations)
            await asyncio.to_thread(apply_missing, path, ErasureList(path), clock.time())
            async with (
                open_writer(path, busy_timeout=busy_timeout) as writing,
                open_readers(path, count=_READERS, busy_timeout=busy_timeout) as reading,
                open_readers(path, count=1, busy_timeout=busy_timeout) as reading_files,
            ):
                connected = Connected.create(
                    writer=writing,
                    readers=reading,
                    file_reader=reading_files,
                    index=Fts5(),
                    monitor=HealthMonitor(path, clock=clock, observer=observer),
                    clock=clock,
                )
                privacy = SqlitePrivacy(connected, path=path)
                store = cls(connected, privacy=privacy, size=partial(file_size, path))
                async with connected.probing(), store._running():
                    yield store
