"""What is to be done about a database that fails for a while: go on trying, and tell people.

Invariant: nothing that was acknowledged is given up because the database fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from bot.domain import Incoming
from bot.errors import StoreUnavailable

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between tries; the last one goes on."""

PERSON_SECONDS, MESSAGE_SECONDS = 60.0, 600.0
"""A person is told at most once in so many seconds, and once of one message: Slack delivers it
again after one minute and after five."""


async def until_stored(
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


class Apologies:
    """Whom to tell that their message could not be stored; `now` counts in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._people: dict[str, float] = {}  # when each was told, in the order of time
        self._messages: dict[str, float] = {}

    def due(self, incoming: Incoming) -> bool:
        """Whether to tell its author now; whoever gets a yes tells them."""
        now, person = self._now(), f"{incoming.key.platform}/{incoming.author.id}"
        _forget(self._people, until=now - PERSON_SECONDS)
        _forget(self._messages, until=now - MESSAGE_SECONDS)
        if person in self._people or incoming.source in self._messages:
            return False
        self._people[person] = self._messages[incoming.source] = now
        return True


def _forget(told: dict[str, float], *, until: float) -> None:
    while told and (oldest := next(iter(told))) and told[oldest] <= until:
        del told[oldest]
