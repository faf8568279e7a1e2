"""Deletes the chunks of deleted files in the background, in small commits.

Invariant: a store that is closed normally has none left; after a kill, the next start deletes them.
`secure_delete` overwrites every chunk, so deleting 20 MB in one commit would delay all other
writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from bot.domain.errors import StoreUnavailable
from bot.store import files, locks
from bot.store.health import Runner

log = structlog.stdlib.get_logger(__name__)


class Purger:
    """The background task. If the database fails, the round ends; `wake` begins another one."""

    def __init__(self, *, writer: Runner, readers: Runner) -> None:
        self._write, self._read = writer.run, readers.run
        self._waking = asyncio.Event()
        self._closing = False

    def wake(self) -> None:
        """Check for deleted files soon."""
        self._waking.set()

    async def finish(self) -> None:
        """Delete everything that is left now. Raises StoreUnavailable."""
        while await self._read(files.has_discarded):
            await self._write(files.purge_chunk, lock=locks.by_purge)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Purge while inside the block; on exit, wait until nothing is left."""
        task = asyncio.create_task(self._run(), name="purge of deleted files")
        self.wake()
        try:
            yield
        finally:
            self._closing = True
            self.wake()
            await task

    async def _run(self) -> None:
        closing = False
        while not closing:
            await self._waking.wait()
            self._waking.clear()
            closing = self._closing  # read before the last round, which sees all deletions
            try:
                await self.finish()
            except StoreUnavailable:
                continue  # the health monitor has logged it
            except Exception:
                # A failed round must not end the task, or no later file would be deleted.
                log.exception("deleted files could not be purged; the next deletion tries again")
