"""Background work outside acknowledgements: greetings and private replies."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from bot.domain.errors import PlatformError

log = structlog.stdlib.get_logger(__name__)

BACKGROUND_SECONDS = 30.0
"""The timeout of one task."""


class BackgroundTasks:
    """Runs tasks and logs their failures; people can ask again for what a failed task would have
    shown."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return bool(self._tasks)

    async def aclose(self) -> None:
        """Cancel the work."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Start `work`, for at most `BACKGROUND_SECONDS`."""
        task = asyncio.create_task(self._run_with_timeout(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_with_timeout(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(BACKGROUND_SECONDS):
                await work
        except (PlatformError, TimeoutError) as error:
            log.warning("could not show a reply or a greeting", error=repr(error))
