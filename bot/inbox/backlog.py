"""What stands before a mention and belongs to its question, read from the platform."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from bot.domain.errors import PlatformError
from bot.domain.inbox import Incoming
from bot.inbox.access import AccessGate
from bot.ports.platform import Adapter
from bot.ports.store import Store

log = structlog.stdlib.get_logger(__name__)

BACKLOG_SECONDS = 1.5
"""Limit for reading the messages before a mention, within the 3 s that Slack allows for its
acknowledgement."""


class BacklogReader:
    """Reads the messages whose authors may ask. Without the platform's answer there are none."""

    def __init__(self, *, store: Store, gate: AccessGate, adapters: Mapping[str, Adapter]) -> None:
        self._store, self._gate, self._adapters = store, gate, adapters

    async def read(self, incoming: Incoming) -> Sequence[Incoming]:
        """The messages of a thread before the first mention of the bot in it, or the other bots'
        posts above a mention in a channel.
        """
        has_backlog = incoming.in_old_thread or incoming.stands_alone
        if not (has_backlog and incoming.address.begins):
            return ()
        if await self._store.find(incoming.key) is not None:
            return ()
        try:
            until = asyncio.get_running_loop().time() + BACKLOG_SECONDS
            async with asyncio.timeout_at(until):
                found = await self._adapters[incoming.key.platform].backlog(incoming)
            return await self._gate.select_readable(found, until)
        except (PlatformError, TimeoutError) as error:
            log.warning("the messages before a mention could not be read", error=repr(error))
            return ()
