"""Finds the files in a message that mentions the bot.

Slack announces such a message twice: as `message`, with its files, and as `app_mention`, which may
come first and may lack `files`. An app that gets no `message` events from the channel must read the
message itself. The event is acknowledged only afterwards, so both waits take a fraction of the
three seconds that Slack allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from cachetools import LRUCache

from adapters.slack import payloads
from adapters.slack.payloads import Payload
from bot.domain.errors import PlatformError

log = structlog.stdlib.get_logger(__name__)

MAX_MESSAGES = 1_000
"""How many messages to remember: far more than arrive between a message's two events."""

TWIN_SECONDS = 0.2
"""How long to wait for the other event of a message: Slack sends both together."""

READ_SECONDS = 0.8
"""How long reading a message may take, including the wait for the rate limit."""

_Key = tuple[str, str]  # a channel and a ts


class MentionFiles:
    """Finds files; `read` fetches a message, or returns None if it is gone."""

    def __init__(self, read: Callable[[Payload], Awaitable[Payload | None]]) -> None:
        self._read = read
        self._files: LRUCache[_Key, Sequence[Payload]] = LRUCache(MAX_MESSAGES)
        self._arrivals: dict[_Key, asyncio.Event] = {}
        self._unknown: LRUCache[_Key, bool] = LRUCache(MAX_MESSAGES)

    def note(self, channel: str, ts: str, message: Payload) -> None:
        """Remember the files of a `message` event."""
        self._files[channel, ts] = payloads.items(message, "files")
        if (arrival := self._arrivals.pop((channel, ts), None)) is not None:
            arrival.set()

    async def find(self, channel: str, ts: str, mention: Payload) -> Sequence[Payload]:
        """The files in the message that an `app_mention` announces; none if they stay unknown."""
        if isinstance(mention.get("files"), list):
            return payloads.items(mention, "files")
        key = (channel, ts)
        if key not in self._files:
            await self._wait_for_twin(key)
        if key not in self._files:
            await self._read_files(key, mention)
        return self._files.get(key, ())

    def is_unknown(self, channel: str, ts: str) -> bool:
        """Whether the message was passed on without its files, because reading them failed."""
        return (channel, ts) in self._unknown

    def settle(self, channel: str, ts: str) -> None:
        """Record that the message's files have since been reported."""
        self._unknown.pop((channel, ts), None)

    async def _wait_for_twin(self, key: _Key) -> None:
        arrival = self._arrivals.setdefault(key, asyncio.Event())
        try:
            async with asyncio.timeout(TWIN_SECONDS):
                await arrival.wait()
        except TimeoutError:
            self._arrivals.pop(key, None)

    async def _read_files(self, key: _Key, mention: Payload) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                message = await self._read(mention)
        except (PlatformError, TimeoutError) as error:
            log.warning("a message's files are unknown", ts=key[1], error=repr(error))
            self._unknown[key] = True
        else:
            self._files.setdefault(key, payloads.items(message or {}, "files"))
