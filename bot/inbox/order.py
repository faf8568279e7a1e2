"""Keeps the messages of a conversation in the order in which they arrived.

Invariant: no message is stored, and no command in words executed, before the messages of its
conversation that arrived earlier. The checks of each run at the same time, so waiting lasts as
long as the slowest check, not as long as all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from bot.domain.conversations import ConversationKey

ORDER_SECONDS = 10.0
"""The longest wait for earlier messages: the time limits of one message's checks are shorter."""


class Place:
    """The place of one message; `earlier` is the place before it."""

    def __init__(self, earlier: Place | None = None) -> None:
        self._earlier, self._left = earlier, asyncio.Event()

    async def wait(self) -> bool:
        """Wait for all earlier messages; whether there were any."""
        waited = False
        try:
            async with asyncio.timeout(ORDER_SECONDS):
                while (earlier := self.unfinished()) is not None:
                    waited = True
                    await earlier._left.wait()
        except TimeoutError:
            pass  # its storing is what takes so long: the database waits for no one's order
        return waited

    def leave(self) -> None:
        """The message is stored, or never will be."""
        self._left.set()

    def unfinished(self) -> Place | None:
        """The last earlier message that is still on its way."""
        while self._earlier is not None and self._earlier._left.is_set():
            self._earlier = self._earlier._earlier
        return self._earlier


class ArrivalOrder:
    """The messages of each conversation that are on their way into the store."""

    def __init__(self) -> None:
        self._last: dict[ConversationKey, Place] = {}

    @contextmanager
    def enter(self, key: ConversationKey) -> Iterator[Place]:
        """Take the place after all messages that have arrived in the conversation."""
        place = self._last[key] = Place(self._last.get(key))
        try:
            yield place
        finally:
            place.leave()
            if self._last.get(key) is place:
                del self._last[key]
                if (earlier := place.unfinished()) is not None:
                    self._last[key] = earlier

    async def settle(self, key: ConversationKey) -> None:
        """Wait until the messages that have arrived in the conversation are stored."""
        await Place(self._last.get(key)).wait()
