"""A bug in one round of a store's background tasks does not end the task."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from structlog.testing import capture_logs

from bot.domain.errors import StoreUnavailable
from bot.store.database import Database
from bot.store.health import PROBE_SECONDS, HealthMonitor
from bot.store.locks import Locks, everything
from bot.store.purge import Purger
from tests.support.clock import ManualClock, settle
from tests.support.store_kit import until

T = TypeVar("T")


class FailingRunner:
    """Fails with a bug `bugs` times; then its functions see no rows."""

    def __init__(self, bugs: int) -> None:
        self.bugs, self.calls = bugs, 0

    async def run(self, function: Callable[[Database], T], /, *, lock: Locks = everything) -> T:
        self.calls += 1
        if self.bugs:
            self.bugs -= 1
            raise LookupError("a bug")
        db = sqlite3.connect(":memory:")
        db.execute("CREATE TABLE discarded_files (file_id)")
        try:
            return function(db)
        finally:
            db.close()


async def test_the_purger_works_after_a_bug() -> None:
    runner = FailingRunner(bugs=1)
    purger = Purger(writer=runner, readers=runner)
    with capture_logs() as logs:
        async with purger.running():
            await until(lambda: runner.calls == 1)
            purger.wake()
            await until(lambda: runner.calls == 2)
    assert [each["log_level"] for each in logs] == ["error"]


async def test_the_end_of_a_failure_is_noticed_after_a_bug_in_a_probe() -> None:
    clock, runner = ManualClock(), FailingRunner(bugs=1)
    monitor = HealthMonitor("db", clock=clock, probe=lambda db: db.execute("SELECT 1"))
    async with monitor.probing(monitor.wrap(runner, writes=True)):
        monitor.failed(StoreUnavailable("The database db fails.", code=1))
        assert not monitor.health().ok
        for _ in range(3):
            await settle()
            await clock.advance(PROBE_SECONDS)
        await settle()
        assert monitor.health().ok
    assert runner.calls >= 2
