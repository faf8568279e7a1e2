"""A set that forgets: what an adapter did lately, so that its echo is known when it comes."""

from __future__ import annotations

from collections import OrderedDict

MOST = 10_000
"""Entries kept, about 1 MB: far more than can be under way at once."""


class Remembered:
    """The newest `most` strings that were added."""

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
