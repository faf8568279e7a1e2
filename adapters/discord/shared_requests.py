"""Shares one request among all callers that ask for the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, TypeVar

from bot.domain.errors import PlatformError, Unsettled

T = TypeVar("T")


class SharedRequests:
    """Runs one request at a time for each key; a caller that gives up does not cancel it."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, key: Hashable, request: Callable[[], Awaitable[T]]) -> T:
        """The result of the request for `key`, which may have begun earlier.

        Raises what the request raises, and Unsettled if it is cancelled by `aclose`.
        """
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.ensure_future(_await(request))
            task.add_done_callback(lambda done: self._end(key, done))
        try:
            result: T = await asyncio.shield(task)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if task.cancelled() and (current is None or not current.cancelling()):
                raise Unsettled("the adapter stops") from None
            raise
        return result

    def _end(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # retrieved: all callers may have given up

    async def aclose(self) -> None:
        """End all requests."""
        running = [*self._running.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _await(request: Callable[[], Awaitable[T]]) -> T:
    return await request()


async def answers_of(asked: Iterable[Awaitable[T]]) -> tuple[list[T], PlatformError | None]:
    """The answers that arrived, and one of the errors that prevented others."""
    found: list[T] = []
    error: PlatformError | None = None
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, PlatformError):
            error = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found.append(answer)
    return found, error
