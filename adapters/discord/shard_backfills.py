"""One backfill for each shard that this process serves: only this process reads its guilds'
gaps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from adapters.discord.backfill import DiscordBackfill
from adapters.discord.rest import RestApi
from bot.catchup.watermark_saver import WatermarkSaver

log = structlog.stdlib.get_logger(__name__)

SAVE_SECONDS = 0.75
"""How long moving a shard may wait for its watermarks to be saved: saving only avoids repeated
reads."""


class ShardBackfills:
    """`make` returns a new backfill for a shard."""

    def __init__(
        self, *, rest: RestApi, saver: WatermarkSaver, make: Callable[[int], DiscordBackfill]
    ) -> None:
        self._rest, self._saver, self._make = rest, saver, make
        self._backfills: dict[int, DiscordBackfill] = {}

    def gained(self, shard: int) -> None:
        """Prepare for a shard of this process."""
        self._backfills[shard] = self._make(shard)

    def of(self, workspace: object) -> DiscordBackfill | None:
        """The backfill of a guild or of direct messages; None if another process has the shard."""
        return self._backfills.get(self._rest.shard_of(workspace))

    async def start_session(self, shard: int) -> None:
        """Catch up on what happened before the shard's new session."""
        if found := self._backfills.get(shard):
            await found.start_session()

    async def release(self, shards: Sequence[int]) -> None:
        """Save the shards' watermarks and forget them: other processes advance them from now on."""
        for shard in shards:
            if found := self._backfills.pop(shard, None):
                await found.aclose()
        try:
            async with asyncio.timeout(SAVE_SECONDS):
                await self._saver.save()
        except TimeoutError:
            log.warning("the watermarks of shards could not be stored in time", shards=shards)
        self._saver.tracker.forget(lambda workspace: self._rest.shard_of(workspace) in shards)

    async def aclose(self) -> None:
        """Stop all reads."""
        for found in self._backfills.values():
            await found.aclose()
