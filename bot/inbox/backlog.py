"""Reads the earlier messages that belong to a mention's question from the platform."""

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
"""Seconds to read the messages before a mention: Slack expects its acknowledgement within 3 s."""


class BacklogReader:
    """Reads earlier messages by people who may ask; none if the platform does not answer."""

    def __init__(self, *, store: Store, gate: AccessGate, adapters: Mapping[str, Adapter]) -> None:
        self._store, self._gate, self._adapters = store, gate, adapters

    async def read(self, incoming: Incoming) -> Sequence[Incoming]:
        """Read the messages that belong to the question in `incoming`.

        In a thread, these are the messages before the first mention of the bot; in a channel, the
        posts by other bots directly above the mention.
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
