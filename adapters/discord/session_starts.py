"""Decides when a shard may begin a session, given Discord's pause between sessions and daily limit.

Invariant: two shards in the same max_concurrency bucket never begin sessions within
`IDENTIFY_SECONDS`, whichever process holds them, and the last tenth of a day's sessions is never
used, because Discord resets the token of a bot that uses them all.
https://docs.discord.com/developers/events/gateway#session-start-limit-object
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from discord.http import Route

from adapters.discord.payload_validation import Field, number, validate
from adapters.discord.payloads import get_int, get_object
from adapters.discord.rest import RestApi, request_scopes
from bot.domain.errors import PlatformError
from bot.ports.cluster import Cluster

log = structlog.stdlib.get_logger(__name__)

IDENTIFY_SECONDS = 5.0  # documented
MARGIN_SECONDS = 0.25  # for the different latencies of two connections
KEPT_PART = 10
"""The bot keeps one in this many of a day's sessions in reserve."""
FRESH_SECONDS = 30.0
"""How long to trust Discord's count of remaining sessions while it says that enough are left."""
ENOUGH = 8
"""How many remaining sessions per bucket are enough: all processes together begin at most seven
within FRESH_SECONDS."""
LOOK_AGAIN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """Discord's gateway information: the recommended number of shards, and the session limits.

    `remaining` of `total` sessions may begin until `reset_after` seconds have passed,
    `max_concurrency` of them simultaneously. `at` is the time of the response, in monotonic
    seconds.
    """

    shards: int = 1
    total: int = 1_000
    remaining: int = 1_000
    reset_after: float = 0.0
    max_concurrency: int = 1
    at: float = -math.inf

    @property
    def kept(self) -> int:
        """How many sessions to keep in reserve."""
        return math.ceil(self.total / KEPT_PART)

    @property
    def is_used_up(self) -> bool:
        """Whether no more sessions may begin."""
        return self.free <= 0

    @property
    def free(self) -> int:
        """How many sessions may begin, allowing for one that each other bucket may be beginning
        right now."""
        return self.remaining - self.kept - (self.max_concurrency - 1)


def parse_gateway_info(data: Any, now: float) -> GatewayInfo:
    """Parse the response to GET /gateway/bot; an invalid field gets its usual documented value."""
    limit = get_object(data, "session_start_limit")
    usual = GatewayInfo()
    total = max(0, get_int(limit, "total")) or usual.total
    remaining = validate(limit, {"remaining": Field(number, total)})["remaining"]
    return GatewayInfo(
        shards=max(usual.shards, get_int(data, "shards")),
        total=total,
        remaining=remaining,
        reset_after=max(0, get_int(limit, "reset_after")) / 1000,
        max_concurrency=max(usual.max_concurrency, get_int(limit, "max_concurrency")),
        at=now,
    )


class SessionStarts:
    """Grants the shards of one application their session starts; `application` is its id."""

    def __init__(self, *, rest: RestApi, cluster: Cluster, application: int) -> None:
        self._rest, self._cluster, self._application = rest, cluster, application
        self._granted = 0  # since `info`
        self._holders: set[asyncio.Task[None]] = set()
        self.info = GatewayInfo()
        self.waits_until: float | None = None  # Unix time, while the day's sessions are used up

    async def read(self) -> GatewayInfo:
        """Ask Discord for the session limits. Raises a PlatformError."""
        data: Any = await self._rest.request(
            request_scopes("gateway"),
            lambda client: client.http.request(Route("GET", "/gateway/bot")),
        )
        self._granted = 0
        self.info = parse_gateway_info(data, self._rest.clock.monotonic())
        return self.info

    @asynccontextmanager
    async def turn(self, shard: int) -> AsyncIterator[None]:
        """Wait until the shard may begin a session; the caller begins it inside this context.

        Raises StoreUnavailable if the processes cannot coordinate now.
        """
        while not await self._may_begin():
            await self._wait_for_sessions(shard)
        granted, done = asyncio.Event(), asyncio.Event()
        holder = asyncio.create_task(self._hold(shard, granted, done), name=f"identify {shard}")
        self._holders.add(holder)
        holder.add_done_callback(self._forget)
        waiting = asyncio.create_task(granted.wait())
        try:
            await asyncio.wait({holder, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if holder.done():
                holder.result()  # raises
            self._granted += 1
            yield
        finally:
            waiting.cancel()
            if granted.is_set():
                done.set()  # the holder keeps the bucket for the pause
            else:
                holder.cancel()

    async def _hold(self, shard: int, granted: asyncio.Event, done: asyncio.Event) -> None:
        """Hold the shard's bucket until `done`, and for the required pause afterwards."""
        bucket = shard % self.info.max_concurrency
        name = f"discord/identify/{self._application}/{bucket}"
        while not granted.is_set():
            async with self._cluster.exclusively(name):
                if await self._may_begin():  # others may have begun some since
                    granted.set()
                    await done.wait()
                    await self._rest.clock.sleep(IDENTIFY_SECONDS + MARGIN_SECONDS)
            if not granted.is_set():
                await self._wait_for_sessions(shard)

    def _forget(self, holder: asyncio.Task[None]) -> None:
        self._holders.discard(holder)
        if not holder.cancelled() and (error := holder.exception()) is not None:
            log.debug("a session start was not coordinated", error=repr(error))

    async def _may_begin(self) -> bool:
        """Whether more sessions are left than the reserve; True also if Discord does not say."""
        age = self._rest.clock.monotonic() - self.info.at
        enough = ENOUGH * self.info.max_concurrency
        if age >= FRESH_SECONDS or self.info.free - self._granted <= enough:
            try:
                await self.read()
            except PlatformError as error:
                log.warning("Discord does not say how many sessions are left", error=str(error))
        if self.info.free - self._granted <= 0:
            return False
        self.waits_until = None
        return True

    async def _wait_for_sessions(self, shard: int) -> None:
        """Pause before asking Discord again, but no later than the limit's reset."""
        clock = self._rest.clock
        left = max(1.0, self.info.reset_after - (clock.monotonic() - self.info.at))
        if self.waits_until is None:
            log.error(
                "too many connections to Discord today: shards wait, because Discord would reset "
                "the token; find out why the bot connects so often",
                shard=shard,
                left=self.info.remaining - self._granted,
                of=self.info.total,
                hours=round(left / 3600, 1),
            )
        self.waits_until = clock.time() + left
        await clock.sleep(min(left, LOOK_AGAIN_SECONDS))

    async def aclose(self) -> None:
        """Release all held buckets."""
        holders = tuple(self._holders)
        for holder in holders:
            holder.cancel()
        await asyncio.gather(*holders, return_exceptions=True)
