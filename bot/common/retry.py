"""Retry policy: growing pauses, and retries while the database is temporarily unavailable.

Invariant: an acknowledged message is never dropped because the database fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import structlog

from bot.domain.errors import StoreUnavailable

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts, in seconds: the first is `first`, and each one doubles up to
    `longest`."""

    first: float
    longest: float

    def after(self, failures: int) -> float:
        """The pause after `failures` consecutive failures (at least 1)."""
        doublings = min(failures - 1, 30)  # keeps the power within the range of a float
        return min(self.first * 2.0 ** max(doublings, 0), self.longest)

    def __iter__(self) -> Iterator[float]:
        """Yield the pauses of one series of attempts, without end."""
        return map(self.after, itertools.count(1))


DATABASE = Backoff(first=0.25, longest=8.0)


async def retry_while_unavailable(
    operation: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[None]]
) -> T:
    """Return the result of `operation`, retrying as long as it raises StoreUnavailable.

    There is no limit: callers cancel it. The store logs each outage once.
    """
    pauses = iter(DATABASE)
    while True:
        try:
            return await operation()
        except StoreUnavailable as error:
            log.debug("retrying the database", error=str(error))
        await sleep(next(pauses))
