"""Measures how late the event loop runs its timers, because a late loop delays everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVERY_SECONDS = 0.5
"""Seconds between two measurements."""


async def measure_lag(report: Callable[[float], None]) -> None:
    """Call `report` with the delay in seconds, twice a second, until cancelled."""
    probe = _Probe(asyncio.get_running_loop(), report)
    try:
        await probe.failed
    finally:
        probe.stop()


class _Probe:
    """A timer that sets itself again: a task that sleeps would wake the loop twice each time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, report: Callable[[float], None]) -> None:
        self._loop, self._report = loop, report
        self.failed: asyncio.Future[None] = loop.create_future()
        self._set()

    def stop(self) -> None:
        """Measure no more."""
        self._timer.cancel()

    def _set(self) -> None:
        self._due = self._loop.time() + EVERY_SECONDS
        self._timer = self._loop.call_at(self._due, self._measure)

    def _measure(self) -> None:
        try:
            self._report(max(0.0, self._loop.time() - self._due))
        except Exception as error:  # noqa: BLE001 - `measure_lag` raises it
            self.failed.set_exception(error)
        else:
            self._set()
