"""Queues requests that wait for the part of a budget that other requests have reserved."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable
from contextlib import suppress

from bot.domain.spending import BudgetLine

HELD_SECONDS = 5.0
"""The longest wait before checking again, because the budget's period may have ended."""


class RoomQueue:
    """The waiting requests of each line, in order."""

    def __init__(self) -> None:
        self._waiters: defaultdict[tuple[str, str], deque[asyncio.Future[None]]] = defaultdict(
            deque
        )

    async def wait(self, line: BudgetLine) -> None:
        """Wait for `wake`, or for `HELD_SECONDS`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters[_name(line)]
        waiters.append(waiter)
        try:
            async with asyncio.timeout(HELD_SECONDS):
                await waiter
        except TimeoutError:
            pass
        finally:
            with suppress(ValueError):
                waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(_name(line), None)

    def wake(self, lines: Iterable[BudgetLine]) -> None:
        """Let the first waiting request of each line check again."""
        for line in lines:
            waiters = self._waiters.get(_name(line), ())
            first = next((waiter for waiter in waiters if not waiter.done()), None)
            if first is not None:
                first.set_result(None)


def _name(line: BudgetLine) -> tuple[str, str]:
    return line.budget.name, line.account
