"""How the database is: a failure is said once, again every minute, and once more when it is over.

While it fails, a small write is tried every few seconds, so that the end of the failure is noticed
although nobody asks anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from bot.domain.errors import StoreUnavailable
from bot.domain.health import Health
from bot.ports.clock import Clock
from bot.store.errors import primary_code

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

TRY_SECONDS = 3.0  # between tries whether it works again; so long it must not have failed
REMIND_SECONDS = 60.0  # between lines in the log while it fails

# A page that is damaged stays so: that other pages can be written says nothing about it.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Runner(Protocol):
    """Runs a function on a connection: the writer, or the readers."""

    async def run(self, function: Callable[[sqlite3.Connection], T], /) -> T:
        """Its result. Raises what it raises, or StoreUnavailable."""
        ...


class Watch:
    """What was seen of the database at `path`."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._failing = asyncio.Event()
        self._trouble = ""
        self._damaged = False
        self._since = self._last = self._reminded = 0.0

    def health(self) -> Health:
        """Whether it works now, for /healthz; without the path, which is nobody's business."""
        if not self._trouble:
            return Health(ok=True)
        return Health(ok=False, details={"trouble": self._trouble.replace(f" {self._path}", "")})

    def failed(self, error: StoreUnavailable) -> None:
        """It refused something."""
        if not isinstance(error.__cause__, sqlite3.Error):
            return  # we have closed it
        now = self._clock.monotonic()
        if not self._trouble:
            self._since, self._reminded = now, now - REMIND_SECONDS
        if now - self._reminded >= REMIND_SECONDS:
            self._reminded = now
            log.error("the database fails", error=str(error), seconds=round(now - self._since))
        self._last = now
        self._damaged = self._damaged or primary_code(error.__cause__) in _DAMAGED
        self._trouble = str(error)
        self._failing.set()

    def worked(self) -> None:
        """Something was written; a disk that is nearly full takes some things and not others."""
        if not self._trouble or self._damaged:
            return
        if self._clock.monotonic() - self._last >= TRY_SECONDS:
            seconds = round(self._clock.monotonic() - self._since)
            log.info("the database works again", seconds=seconds)
            self._trouble = ""
            self._failing.clear()

    def over(self, runner: Runner, *, writes: bool) -> Watched:
        """The same runner, watched."""
        return Watched(runner, self, writes=writes)

    @asynccontextmanager
    async def trying(self, writer: Watched) -> AsyncIterator[None]:
        """Within it the end of a failure is looked for."""
        task = asyncio.create_task(self._try(writer), name="database watch")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _try(self, writer: Watched) -> None:
        while True:
            await self._failing.wait()
            await self._clock.sleep(TRY_SECONDS)
            with contextlib.suppress(StoreUnavailable):
                await writer.run(_write_something)


class Watched:
    """A runner whose failures the watch is told of, and its successes where it writes."""

    def __init__(self, runner: Runner, watch: Watch, *, writes: bool) -> None:
        self._runner, self._watch, self._writes = runner, watch, writes

    async def run(self, function: Callable[[sqlite3.Connection], T], /) -> T:
        """See `Runner`."""
        try:
            result = await self._runner.run(function)
        except StoreUnavailable as error:
            self._watch.failed(error)
            raise
        if self._writes:
            self._watch.worked()
        return result


def _write_something(db: sqlite3.Connection) -> None:
    """The smallest change that reaches the disk: a number in the header that nothing else uses."""
    db.execute("PRAGMA user_version = 0")
