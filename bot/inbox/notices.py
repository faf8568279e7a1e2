"""Rate-limited notices to people whose message could not be stored."""

from __future__ import annotations

from collections.abc import Callable

from cachetools import TTLCache

from bot.domain.inbox import Incoming

PERSON_SECONDS, MESSAGE_SECONDS = 60.0, 600.0
"""At most one notice per person in a minute, and one per message in ten: Slack delivers a message
again after one minute and after five."""

MAX_ENTRIES = 10_000
"""Far more people than write while the database fails; it bounds the memory."""


class StorageNotices:
    """Decides who gets a notice. `now` returns monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._people: TTLCache[str, bool] = TTLCache(MAX_ENTRIES, PERSON_SECONDS, now)
        self._messages: TTLCache[str, bool] = TTLCache(MAX_ENTRIES, MESSAGE_SECONDS, now)

    def is_due(self, incoming: Incoming) -> bool:
        """Whether to notify the author now; True counts as a notice."""
        person = f"{incoming.key.platform}/{incoming.author.id}"
        if person in self._people or incoming.source in self._messages:
            return False
        self._people[person] = self._messages[incoming.source] = True
        return True
