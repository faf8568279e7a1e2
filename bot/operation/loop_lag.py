"""Measures how late the event loop runs its timers, because a late loop delays everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVERY_SECONDS = 0.5
"""Seconds between two measurements; their cost in an idle process is too small to measure."""


async def measure_lag(report: Callable[[float], None]) -> None:
    """Call `report` with the delay in seconds, twice a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY_SECONDS
        await asyncio.sleep(EVERY_SECONDS)
        report(max(0.0, loop.time() - due))
