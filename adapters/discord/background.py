"""Background work that must eventually succeed, such as deleting a message.

Each task is retried with a backoff until it succeeds, Discord refuses it, or the adapter stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bot.common.retry import Backoff
from bot.domain.errors import Gone, PlatformError, Refused, Throttled
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

MAX_TASKS = 1_000  # running concurrently, each a few kilobytes


class BackgroundTasks:
    """Runs work in asyncio tasks and retries what fails."""

    def __init__(self, *, clock: Clock, backoff: Backoff) -> None:
        self._clock, self._backoff = clock, backoff
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, what: str, work: Callable[[], Awaitable[object]]) -> bool:
        """Start `work` now and retry it while it fails; `what` names it in the log.

        Returns False if there is already too much unfinished work; then `work` is dropped.
        """
        if len(self._tasks) >= MAX_TASKS:
            log.error("dropped background work: too many tasks", what=what)
            return False
        task = asyncio.create_task(self._retry(what, work), name=f"background: {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def aclose(self) -> None:
        """Cancel unfinished work."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _retry(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        for pause in self._backoff:
            try:
                await work()
                return
            except (Gone, Refused) as error:
                log.warning("background work was refused", what=what, error=str(error))
                return
            except PlatformError as error:
                wait = max(pause, error.retry_after if isinstance(error, Throttled) else 0.0)
                log.warning(
                    "background work failed", what=what, error=str(error), retry_in=round(wait, 1)
                )
            await self._clock.sleep(wait)
