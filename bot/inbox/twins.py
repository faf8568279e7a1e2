"""Messages that the platform announces twice: Slack sends a mention as `message` and `app_mention`.

Invariant: only what this process has stored a moment ago counts as stored. A message that is read
again, after an outage for example, is always looked up: a replica may have lost it.
"""

from __future__ import annotations

from collections.abc import Callable

from cachetools import TTLCache

from bot.domain.inbox import Accepted, Incoming, Receipt
from bot.inbox.order import Place

TWIN_SECONDS, MAX_TWINS = 10.0, 10_000

_STORED = frozenset({Receipt.QUESTION, Receipt.HISTORY, Receipt.KNOWN})


class Twins:
    """The sources that arrived in the last seconds, and whether each is stored."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._stored: TTLCache[str, bool] = TTLCache(MAX_TWINS, TWIN_SECONDS, now)

    async def is_stored(self, incoming: Incoming, place: Place) -> bool:
        """Whether the message's twin is stored; waits for one that is on its way."""
        if incoming.source not in self._stored:
            self._stored[incoming.source] = False
            return False
        await place.wait()
        return self._stored.get(incoming.source, False)

    def received(self, incoming: Incoming, accepted: Accepted) -> None:
        """Record what became of the message."""
        if accepted.receipt in _STORED:
            self._stored[incoming.source] = True
