"""Measures how late the event loop runs its timers, which everything in the process waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVERY_SECONDS = 0.5
"""Between two measurements: they cost an idle process nothing that can be measured."""


async def measure_lag(report: Callable[[float], None]) -> None:
    """Call `report` with the delay in seconds, twice a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY_SECONDS
        await asyncio.sleep(EVERY_SECONDS)
        report(max(0.0, loop.time() - due))
