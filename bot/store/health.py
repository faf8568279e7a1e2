"""Monitors whether the database works; logs the start of a failure, reminders, and its end.

During a failure, a small write every few seconds detects its end.
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
from bot.domain.operation import StoreCall
from bot.ports.clock import Clock
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.store.database import Database
from bot.store.locks import Locks, everything

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

PROBE_SECONDS = 3.0  # between probes; a failure ends when the last one is this long ago
REMIND_SECONDS = 60.0  # between log lines during a failure

# Damage lasts until a restart: even if other pages can still be written, that proves nothing.
# PostgreSQL's codes are those in bot.store.postgres.errors, which is not imported for SQLite.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, "XX001", "XX002")


def write_user_version(db: Database) -> None:
    """The smallest write that reaches the disk: a header field that Threadline does not use."""
    db.execute("PRAGMA user_version = 0")


class Runner(Protocol):
    """Runs a function on a database connection."""

    async def run(self, function: Callable[[Database], T], /, *, lock: Locks = everything) -> T:
        """Return the function's result. Raises the function's errors, or StoreUnavailable.

        `lock` names the locks that the function needs if it writes.
        """
        ...


class HealthMonitor:
    """The state of a database, derived from failed and successful operations.

    `name` identifies the database in its errors: a path or an address. `probe` is the smallest
    write. `observer` learns how long each operation took.
    """

    def __init__(
        self,
        name: Path | str,
        *,
        clock: Clock,
        probe: Callable[[Database], None] = write_user_version,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._name, self._clock, self._write_something = name, clock, probe
        self._observer = observer
        self._failing = asyncio.Event()
        self._problem = ""
        self._damaged = False
        self._since = self._last = self._reminded = 0.0

    def health(self) -> Health:
        """Whether the database currently works, for /healthz; does not reveal its location."""
        if not self._problem:
            return Health(ok=True)
        return Health(ok=False, details={"trouble": self._problem.replace(f" {self._name}", "")})

    def failed(self, error: StoreUnavailable) -> None:
        """Note that an operation failed."""
        if error.code is None:
            return  # the connection is closed
        now = self._clock.monotonic()
        if not self._problem:
            self._since, self._reminded = now, now - REMIND_SECONDS
        if now - self._reminded >= REMIND_SECONDS:
            self._reminded = now
            log.error("the database fails", error=str(error), seconds=round(now - self._since))
        self._last = now
        self._damaged = self._damaged or error.code in _DAMAGED
        self._problem = str(error)
        self._failing.set()

    def worked(self) -> None:
        """Note that a write succeeded. On a nearly full disk others may still fail, so one is not
        enough."""
        if not self._problem or self._damaged:
            return
        if self._clock.monotonic() - self._last >= PROBE_SECONDS:
            seconds = round(self._clock.monotonic() - self._since)
            log.info("the database works again", seconds=seconds)
            self._problem = ""
            self._failing.clear()

    def timed(self, call: StoreCall, since: float, *, failed: bool) -> None:
        """Report the duration of an operation that began at `since`, in monotonic seconds."""
        self._observer.store_called(call, self._clock.monotonic() - since, failed=failed)

    def wrap(self, runner: Runner, *, writes: bool) -> MonitoredRunner:
        """Wrap `runner` so that it reports to this monitor."""
        return MonitoredRunner(runner, self, self._clock, writes=writes)

    @asynccontextmanager
    async def probing(self, writer: MonitoredRunner) -> AsyncIterator[None]:
        """Probe the database during failures while inside the block."""
        task = asyncio.create_task(self._probe(writer), name="database probe")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _probe(self, writer: MonitoredRunner) -> None:
        while True:
            await self._failing.wait()
            await self._clock.sleep(PROBE_SECONDS)
            try:
                await writer.run(self._write_something)
            except StoreUnavailable:
                continue
            except Exception:
                # A failed probe must not end the task, or an idle bot would never notice the end.
                log.exception("the database could not be probed")


class MonitoredRunner:
    """Reports a runner's failures to the monitor, and its successes if it `writes`."""

    def __init__(
        self, runner: Runner, monitor: HealthMonitor, clock: Clock, *, writes: bool
    ) -> None:
        self._runner, self._monitor, self._writes = runner, monitor, writes
        self._clock, self._call = clock, StoreCall.WRITE if writes else StoreCall.READ

    async def run(self, function: Callable[[Database], T], /, *, lock: Locks = everything) -> T:
        """Run the function; see `Runner`."""
        began = self._clock.monotonic()
        try:
            result = await self._runner.run(function, lock=lock)
        except StoreUnavailable as error:
            self._monitor.failed(error)
            self._monitor.timed(self._call, began, failed=True)
            raise
        self._monitor.timed(self._call, began, failed=False)
        if self._writes:
            self._monitor.worked()
        return result
