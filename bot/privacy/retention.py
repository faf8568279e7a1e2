"""Erases, each night, the messages that are older than their place keeps them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo

import structlog

from bot.domain.conversations import ConversationKey
from bot.domain.errors import LostOwnership, StoreUnavailable
from bot.domain.privacy import Erased
from bot.ports.clock import Clock
from bot.ports.privacy import OldConversation, PrivacyStore

log = structlog.stdlib.get_logger(__name__)

NIGHT = 3
"""The hour in the configured time zone at which the pass begins, because few people ask then."""

AFTER_START_SECONDS = 600.0
"""The delay of the first pass after a start: platforms are connected by then. Machines that are off
at night rely on it."""

DAY_SECONDS = 86_400.0
PAGE = 200

Days = Callable[[ConversationKey], Awaitable[int | None]]
"""How many days a channel keeps its messages; 0 means indefinitely, None that it is currently
unknown."""


class RetentionKeeper:
    """Runs the nightly pass. `days` says how long a channel keeps messages; only one process at a
    time is inside `alone`."""

    def __init__(
        self,
        *,
        store: PrivacyStore,
        days: Days,
        clock: Clock,
        zone: tzinfo | None = None,
        alone: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
    ) -> None:
        self._alone = alone
        self._store, self._days, self._clock, self._zone = store, days, clock, zone

    async def run(self) -> None:
        """Erase old data soon after the start and then each night, until cancelled."""
        await self._clock.sleep(AFTER_START_SECONDS)
        while True:
            try:
                async with self._alone():
                    await self.prune()
            except (StoreUnavailable, LostOwnership) as error:
                log.warning("old messages are not erased tonight", error=str(error))
            await self._clock.sleep(seconds_until_night(self._clock.time(), self._zone))

    async def prune(self) -> Erased:
        """Erase everything that is too old now, and overwrite it. Raises StoreUnavailable."""
        now, erased = self._clock.time(), Erased()
        known: dict[ConversationKey, int | None] = {}
        after = 0
        await self._store.give_up_leftovers(now - DAY_SECONDS)
        while page := await self._store.old_conversations(
            before=now - DAY_SECONDS, after=after, limit=PAGE
        ):
            after = page[-1].id
            for conversation in page:
                erased += await self._prune_one(conversation, known, now)
        for channel in await self._store.channels_with_usage():
            if days := await self._days_of(channel, known):
                await self._store.erase_usage(channel, now - days * DAY_SECONDS)
        if erased != Erased():
            await self._store.overwrite()
            log.info("old messages erased", messages=erased.messages, replies=erased.replies)
        unknown = sum(days is None for days in known.values())
        if unknown:
            log.warning("channels without a known age limit are kept", channels=unknown)
        return erased

    async def _prune_one(
        self,
        conversation: OldConversation,
        known: dict[ConversationKey, int | None],
        now: float,
    ) -> Erased:
        days, erased = await self._days_of(replace(conversation.key, thread=""), known), Erased()
        if not days:
            return erased
        while (step := await self._store.erase_step(conversation.id, now - days * DAY_SECONDS)) != (
            Erased()
        ):
            erased += step
        return erased

    async def _days_of(
        self, channel: ConversationKey, known: dict[ConversationKey, int | None]
    ) -> int | None:
        if channel not in known:
            known[channel] = await self._days(channel)
        return known[channel]


def seconds_until_night(now: float, zone: tzinfo | None) -> float:
    """Seconds until the hour of the next pass, at least one."""
    moment = datetime.fromtimestamp(now, UTC).astimezone(zone)
    night = moment.replace(hour=NIGHT, minute=0, second=0, microsecond=0)
    if night <= moment:
        night += timedelta(days=1)
    return max(1.0, night.timestamp() - now)
