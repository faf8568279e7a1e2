"""Background work that must be done in the end, such as removing a message.

Tried with growing pauses until it works, can never work, or the adapter stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bot.domain.errors import Gone, PlatformError, Refused, Throttled
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

MOST = 1_000  # at once, each some kilobytes


class Upkeep:
    """Carries out work in tasks of its own; pauses grow from `pause` to `longest` seconds."""

    def __init__(self, *, clock: Clock, pause: float, longest: float) -> None:
        self._clock, self._pause, self._longest = clock, pause, longest
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do it now, and again as long as it fails; `what` is for the log."""
        if len(self._tasks) >= MOST:
            log.error("given up: too much is to be done", what=what)
            return
        task = asyncio.create_task(self._do(what, work), name=f"upkeep: {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Give up unfinished work."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _do(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        pause = self._pause
        while True:
            try:
                await work()
                return
            except (Gone, Refused) as error:
                log.warning("Discord will not do it", what=what, error=str(error))
                return
            except PlatformError as error:
                wait = max(pause, error.retry_after if isinstance(error, Throttled) else 0.0)
                log.warning("not done yet", what=what, error=str(error), again_in=round(wait, 1))
            await self._clock.sleep(wait)
            pause = min(2 * pause, self._longest)
