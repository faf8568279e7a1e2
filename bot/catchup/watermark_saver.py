"""Stores watermarks in batches."""

from __future__ import annotations

import asyncio
import math
from functools import partial

import structlog

from bot.catchup.watermarks import WatermarkTracker
from bot.common.retry import retry_while_unavailable
from bot.domain.errors import StoreUnavailable
from bot.ports.clock import Clock
from bot.ports.history import ChannelRef
from bot.ports.inbox import CatchUpInbox

log = structlog.stdlib.get_logger(__name__)

# Seconds from the first change to the write. A crash loses the watermarks of this time, which costs
# a read or two at the next start; one commit a second costs next to nothing.
SAVE_SECONDS = 1.0


class WatermarkSaver:
    """Loads one platform's watermarks into `tracker`, and stores their changes."""

    def __init__(self, *, platform: str, lag: int, inbox: CatchUpInbox, clock: Clock) -> None:
        self.tracker = WatermarkTracker(platform, lag=lag)
        self._platform, self._inbox, self._clock = platform, inbox, clock
        self._loading, self._loaded_at = asyncio.Lock(), -math.inf
        self._saving: asyncio.Task[None] | None = None

    async def load(self, *, since: float = 0.0) -> None:
        """Load the stored watermarks into the tracker, retrying while the database fails.

        Loads them again if the last load was before the monotonic time `since`, because another
        process has moved them in between.
        """
        async with self._loading:
            if self._loaded_at < since:
                began = self._clock.monotonic()
                read = partial(self._inbox.watermarks, self._platform)
                self.tracker.load(await retry_while_unavailable(read, self._clock.sleep))
                self._loaded_at = began

    def mark_seen(self, ref: ChannelRef, position: int) -> None:
        """Report a message that arrived."""
        self.tracker.mark_seen(ref, position)

    def mark_decided(self, ref: ChannelRef, position: int) -> None:
        """Report a message that was accepted or is irrelevant."""
        self.tracker.mark_decided(ref, position)
        self.save_soon()

    def save_soon(self) -> None:
        """Store changes within `SAVE_SECONDS`."""
        if self.tracker.dirty and (self._saving is None or self._saving.done()):
            self._saving = asyncio.create_task(self._save_while_dirty(), name="save watermarks")

    async def save(self) -> None:
        """Store all changes; those that a failing database rejects stay for the next call."""
        changes = self.tracker.take_changes()
        if not changes:
            return
        try:
            await self._inbox.move_watermarks(changes)
        except StoreUnavailable as error:
            self.tracker.restore_changes(changes)
            log.debug("watermarks could not be stored", error=str(error))

    async def aclose(self) -> None:
        """Store the last changes."""
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.wait((self._saving,))
        await self.save()

    async def _save_while_dirty(self) -> None:
        while self.tracker.dirty:
            await self._clock.sleep(SAVE_SECONDS)
            await self.save()
