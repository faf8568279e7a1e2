"""Keeps the search index up to date in the background, in small steps.

Invariant: the remaining work is recorded in the database, so a kill loses nothing, and a start
continues.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import structlog

from bot.domain.errors import StoreUnavailable
from bot.ports.clock import Clock
from bot.store import locks, search_documents
from bot.store.database import Database
from bot.store.health import Runner
from bot.store.search_documents import STEP, Waiting
from bot.store.search_index import Index

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

PAUSE_SECONDS = 1.0
"""The pause after a write, so that the texts of a turn are indexed together; searches read them
directly until then."""

_REST = 2.0
"""The pause between two steps while many texts wait, as a multiple of the last step's duration: the
indexer uses at most a third of a core."""

_OVERWRITE_REST, _OVERWRITE_PAUSE = 300.0, 10.0
"""The pause before deleted words are overwritten again: a multiple of the last run's duration, and
at least this many seconds. So it costs a third of a percent, and a small index is cleaned soon."""


class SearchIndexer:
    """The background task. If the database fails, the round ends; the next write begins another
    one."""

    def __init__(self, *, writer: Runner, readers: Runner, clock: Clock, index: Index) -> None:
        self._write, self._read = writer.run, readers.run
        self._clock, self.index = clock, index
        self._waking = asyncio.Event()
        self._overwriting = asyncio.Lock()
        self._overwrite_at = 0.0  # in monotonic seconds

    def wake(self) -> None:
        """Check the queue, because something was written."""
        self._waking.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Index while inside the block."""
        task = asyncio.create_task(self._run(), name="search index")
        self.wake()
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            await self._waking.wait()
            await self._clock.sleep(PAUSE_SECONDS)
            self._waking.clear()
            try:
                await self._round()
            except StoreUnavailable:
                continue  # the health monitor has logged it
            except Exception:
                # A failed round must not end the task, or no later text would be found.
                log.exception("the search index could not be updated; the next write tries again")

    async def _round(self) -> None:
        while True:
            began = self._clock.monotonic()
            if not await self.step():
                break
            await self._clock.sleep(_REST * (self._clock.monotonic() - began))
        if await self._read(search_documents.overwrite_due) is None:
            return
        if self._clock.monotonic() >= self._overwrite_at:
            await self.overwrite()
        else:
            await self._clock.sleep(_OVERWRITE_PAUSE)
            self.wake()

    # ── steps ─────────────────────────────────────────────────────────────────────────────────
    async def finish(self) -> None:
        """Index everything that is waiting now. Raises StoreUnavailable."""
        while await self.step():
            pass

    async def step(self, limit: int = STEP) -> bool:
        """Index some texts, and return whether more may wait. Raises StoreUnavailable."""
        found = await self._read(lambda db: search_documents.waiting(db, limit))
        if not found:
            return False
        documents = await asyncio.to_thread(_documents, found)
        try:
            await self._put(documents)
        except StoreUnavailable:
            raise
        except Exception:
            # One text of the batch is at fault. Indexed alone, it fails without the others.
            log.exception("texts are indexed one by one")
            for key, tokens in documents.items():
                await self._put_alone(key, tokens)
        return True

    async def _put(self, documents: Mapping[tuple[int, int], str | None]) -> None:
        await self._write(
            lambda db: search_documents.put(db, self.index, documents), lock=locks.nothing
        )

    async def _put_alone(self, key: tuple[int, int], tokens: str | None) -> None:
        """Index one text. If the index rejects it, searches will not find it, but it does not block
        others."""
        try:
            await self._put({key: tokens})
        except StoreUnavailable:
            raise
        except Exception:
            # A text that fails must not affect the others.
            log.exception("a text cannot be searched", document=key[0])
            await self._put({key: None})

    async def overwrite(self) -> None:
        """Overwrite words that were deleted from the index. Raises StoreUnavailable."""
        async with self._overwriting:
            version = await self._read(search_documents.overwrite_due)
            if version is None:
                return
            began, is_first = self._clock.monotonic(), True
            while await self._overwrite_step(is_first):
                is_first = False
            length = self._clock.monotonic() - began
            self._overwrite_at = began + max(_OVERWRITE_PAUSE, _OVERWRITE_REST * length)
            await self._write(
                lambda db: search_documents.overwritten(db, version), lock=locks.nothing
            )

    async def _overwrite_step(self, is_first: bool) -> bool:
        def step(db: Database) -> bool:
            return self.index.overwrite_step(db, is_first=is_first)

        return await self._write(step, lock=locks.nothing)


def _documents(found: Sequence[Waiting]) -> dict[tuple[int, int], str | None]:
    return {(each.document, each.version): search_documents.document_of(each) for each in found}


class WakingRunner:
    """A runner that makes the indexer check the queue after each write."""

    def __init__(self, writer: Runner, wake: Callable[[], None]) -> None:
        self._writer, self._wake = writer, wake

    async def run(
        self, function: Callable[[Database], T], /, *, lock: locks.Locks = locks.everything
    ) -> T:
        """Run the function; see `Runner`."""
        try:
            return await self._writer.run(function, lock=lock)
        finally:
            self._wake()
