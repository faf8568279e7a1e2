"""Rate-limited notices to people whose message could not be stored."""

from __future__ import annotations

from collections.abc import Callable

from bot.domain.inbox import Incoming

PERSON_SECONDS, MESSAGE_SECONDS = 60.0, 600.0
"""A person is told at most once in so many seconds, and once of one message: Slack delivers it
again after one minute and after five."""


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
