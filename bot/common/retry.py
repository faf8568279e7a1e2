"""What is to be done about a database that fails for a while: go on trying, and tell people.

Invariant: nothing that was acknowledged is given up because the database fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from bot.domain.errors import StoreUnavailable

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between tries; the last one goes on."""


async def retry_while_unavailable(
    what: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[None]]
) -> T:
    """The result of `what`, tried again for as long as the database fails.

    For what must not be lost with the attempt at a turn; whoever wants it to end cancels it. The
    store itself tells the log of the failure, once for all.
    """
    for tries in itertools.count():
        try:
            return await what()
        except StoreUnavailable as error:
            log.debug("trying the database again", error=str(error), tries=tries)
        await sleep(PAUSES[min(tries, len(PAUSES) - 1)])
    raise AssertionError("unreachable")
