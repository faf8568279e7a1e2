"""Rate-limited notices to people whose message could not be stored."""

from __future__ import annotations

from collections.abc import Callable

from cachetools import TTLCache

from bot.domain.inbox import Incoming

PERSON_SECONDS, MESSAGE_SECONDS = 60.0, 600.0
"""Seconds between two notices to one person, and about one message: Slack redelivers a message
after one minute and after five."""

MAX_ENTRIES = 10_000
"""Bounds the memory: far more people than write while the database fails."""


class StorageNotices:
    """Decides who gets a notice; `now` returns monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._people: TTLCache[str, bool] = TTLCache(MAX_ENTRIES, PERSON_SECONDS, now)
        self._messages: TTLCache[str, bool] = TTLCache(MAX_ENTRIES, MESSAGE_SECONDS, now)

    def is_due(self, incoming: Incoming) -> bool:
        """Whether to notify the author now. True counts as a sent notice."""
        person = f"{incoming.key.platform}/{incoming.author.id}"
        if person in self._people or incoming.source in self._messages:
            return False
        self._people[person] = self._messages[incoming.source] = True
        return True
