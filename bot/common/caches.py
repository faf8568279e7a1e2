"""Sets that forget: what an adapter did or learned lately."""

from __future__ import annotations

from collections import OrderedDict

from bot.ports.clock import Clock

MOST = 10_000
"""Entries kept, about 1 MB: far more than can be under way at once."""


class Remembered:
    """The newest `most` strings that were added: an echo is known when it comes."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._entries: OrderedDict[str, None] = OrderedDict()

    def add(self, entry: str) -> None:
        """Remember it; the oldest is forgotten when there are too many."""
        self._entries[entry] = None
        self._entries.move_to_end(entry)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def __contains__(self, entry: object) -> bool:
        return entry in self._entries


class Lately:
    """The strings that were added within the last `seconds`: what was refused may be allowed by
    then.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds, self._clock = seconds, clock
        self._until: dict[str, float] = {}

    def add(self, entry: str) -> None:
        """Remember it from now on."""
        now = self._clock.monotonic()
        self._until = {known: until for known, until in self._until.items() if until > now}
        self._until[entry] = now + self._seconds

    def __contains__(self, entry: str) -> bool:
        return self._until.get(entry, 0.0) > self._clock.monotonic()
