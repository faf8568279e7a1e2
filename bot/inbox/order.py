"""Keeps the messages of a conversation in the order in which they arrived.

Invariant: no message is stored, and no command message executed, before the earlier messages of its
conversation. Their checks run concurrently, so a message waits only as long as the slowest check,
not as long as all of them together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from bot.domain.conversations import ConversationKey

ORDER_SECONDS = 10.0
"""The longest wait for earlier messages, in seconds; each message's checks have shorter limits."""


class Place:
    """The place of one message in the order; `earlier` is the place before it."""

    def __init__(self, earlier: Place | None = None) -> None:
        self._earlier, self._left = earlier, asyncio.Event()

    async def wait(self) -> bool:
        """Wait for all earlier messages; return whether there were any."""
        waited = False
        try:
            async with asyncio.timeout(ORDER_SECONDS):
                while (earlier := self.unfinished()) is not None:
                    waited = True
                    await earlier._left.wait()
        except TimeoutError:
            pass  # storing the earlier message takes too long: give up the order
        return waited

    def leave(self) -> None:
        """Report that the message is stored or never will be."""
        self._left.set()

    def unfinished(self) -> Place | None:
        """The last earlier message that is not stored yet."""
        while self._earlier is not None and self._earlier._left.is_set():
            self._earlier = self._earlier._earlier
        return self._earlier


class ArrivalOrder:
    """The messages of each conversation that have arrived and are not stored yet."""

    def __init__(self) -> None:
        self._last: dict[ConversationKey, Place] = {}

    @contextmanager
    def enter(self, key: ConversationKey) -> Iterator[Place]:
        """Take the place after all messages that have arrived in the conversation so far."""
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
        """Wait until all messages that have arrived in the conversation so far are stored."""
        await Place(self._last.get(key)).wait()
