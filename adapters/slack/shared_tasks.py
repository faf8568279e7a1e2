"""Waits for tasks that several callers share."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from bot.domain.errors import Unsettled

T = TypeVar("T")


async def result_of(task: asyncio.Task[T]) -> T:
    """Await the result of `task`, which continues if the caller is cancelled.

    Raises Unsettled if the task ended with its workspace's session. The caller's turn may continue
    in another session, so it must not mistake this for the
    cancellation of the turn.
    """
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        caller = asyncio.current_task()
        if task.cancelled() and caller is not None and not caller.cancelling():
            raise Unsettled("it ended with its workspace's session") from None
        raise
