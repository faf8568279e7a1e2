"""The shards that this process serves, with one connection each.

Invariant: a problem with one shard affects only that shard. `Shards.run` ends if no shard can be
served: Discord refuses the token, an intent, or the number of shards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import discord
import structlog

from adapters.discord.gateway import GatewayConnection
from adapters.discord.session_starts import SessionStarts
from bot.common.retry import Backoff
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster

log = structlog.stdlib.get_logger(__name__)

REFUSED = Backoff(first=60.0, longest=900.0)
"""Pauses before reconnecting a shard that Discord refuses while it accepts others."""

TOO_MANY_GUILDS = 4011
"""Documented close code: the bot needs more shards."""

CLOSE_SECONDS = 1.0
"""How long to wait for a connection to close.

The process reads no more events from it, so another process may take the shard; after a lost lease,
that must happen within two seconds.
"""


class ShardListener(Protocol):
    """Receives changes to the shards that this process holds."""

    def shard_gained(self, shard: int) -> None:
        """This process now holds the shard; its connection begins."""
        ...

    def shard_lost(self, shard: int) -> None:
        """The shard's connection has ended; another one follows."""
        ...

    async def shards_released(self, shards: Sequence[int]) -> None:
        """The shards' connections are closed; other processes may serve them once this returns."""
        ...


@dataclass(slots=True)
class Shard:
    """A shard that this process serves.

    `trouble` describes why it is not connected; `refused` means that Discord closed its connection
    permanently.
    """

    connection: GatewayConnection
    task: asyncio.Task[None] | None = None
    connected: bool = False
    refused: bool = False
    trouble: str = ""


def _future() -> asyncio.Future[None]:
    """A future whose error counts as retrieved, in case `run` was cancelled before."""
    made: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    made.add_done_callback(lambda done: done.cancelled() or done.exception())
    return made


@dataclass(slots=True)
class Shards:
    """Serves those of `count` shards that `cluster` assigns to this process."""

    client: discord.Client
    clock: Clock
    cluster: Cluster
    starts: SessionStarts
    count: int
    listener: ShardListener
    held: dict[int, Shard] = field(default_factory=dict)
    is_assigned: bool = False
    _ended: asyncio.Future[None] = field(default_factory=_future)

    async def run(self, entered: Callable[[], Awaitable[None]]) -> None:
        """Serve until `end`; `entered` is awaited once the first shards are assigned.

        Raises ConnectionClosed or CannotStart if Discord refuses the bot.
        """
        # Processes with another number of shards share none of these: until they have ended, each
        # event arrives twice and is stored once. Discord names this as the way to change it.
        group = f"discord/{self.client.application_id}/{self.count}"
        names = [str(shard) for shard in range(self.count)]
        try:
            async with self.cluster.share(group, names, self._serve_exactly):
                await entered()
                await self._ended
        finally:
            await self._release(tuple(self.held))
            await self.starts.aclose()

    def end(self) -> None:
        """Make `run` return."""
        if not self._ended.done():
            self._ended.set_result(None)

    # ── which shards ──────────────────────────────────────────────────────────────────────────
    async def _serve_exactly(self, names: frozenset[str]) -> None:
        """Serve exactly these shards; returns when all others are closed."""
        self.is_assigned = True
        wanted = {int(name) for name in names}
        given_up = self.held.keys() - wanted
        for shard in sorted(wanted - self.held.keys()):
            self._serve(shard)
        log.info("Discord's shards", held=sorted(wanted), of=self.count)
        await self._release(tuple(given_up))

    def _serve(self, shard: int) -> None:
        connection = GatewayConnection(
            self.client,
            self.clock,
            partial(self._lost, shard),
            shard=shard,
            starts=self.starts,
        )
        entry = self.held[shard] = Shard(connection)
        self.listener.shard_gained(shard)
        entry.task = asyncio.create_task(self._run(shard, entry), name=f"Discord shard {shard}")

    async def _release(self, shards: tuple[int, ...]) -> None:
        """Close these shards concurrently."""
        closing = [(shard, entry) for shard in shards if (entry := self.held.pop(shard, None))]
        tasks = [entry.task for _, entry in closing if entry.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        if closing:
            await self.listener.shards_released([shard for shard, _ in closing])

    # ── one shard ─────────────────────────────────────────────────────────────────────────────
    async def _run(self, shard: int, entry: Shard) -> None:
        """Serve a shard until it is released; a refusal affects only this shard while others
        work."""
        refusals = 0
        while True:
            try:
                await entry.connection.run()
            except discord.ConnectionClosed as error:
                entry.refused = True
                if self._concerns_all(error):
                    self._fail(error)
                    return
                refusals += 1
                pause = REFUSED.after(refusals)
                entry.trouble = f"refused with close code {error.code}"
                log.error("Discord refuses a shard", shard=shard, code=error.code, seconds=pause)
                await self.clock.sleep(pause)
            except Exception as error:  # noqa: BLE001 - raised by `run`
                self._fail(error)
                return
            else:
                self.end()  # the client was closed
                return

    def _concerns_all(self, error: discord.ConnectionClosed) -> bool:
        """Whether Discord refuses the whole bot: it refused two shards, or the only one, and none
        works."""
        refused = sum(shard.refused for shard in self.held.values())
        works = any(shard.connected for shard in self.held.values())
        return error.code == TOO_MANY_GUILDS or (not works and refused >= min(2, len(self.held)))

    def _fail(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    # ── the connections' states ───────────────────────────────────────────────────────────────
    def mark_connected(self, shard: int) -> None:
        """A session has begun or was resumed."""
        if entry := self.held.get(shard):
            entry.connected, entry.refused, entry.trouble = True, False, ""

    def _lost(self, shard: int) -> None:
        entry = self.held.get(shard)
        if entry is None:
            return
        if entry.connected:
            log.warning("lost the connection to Discord", shard=shard)
        else:
            entry.trouble = entry.trouble or "no session began"
        entry.connected = False
        self.listener.shard_lost(shard)

    @property
    def is_connected(self) -> bool:
        """Whether this process knows its shards, and each is connected."""
        return self.is_assigned and all(shard.connected for shard in self.held.values())

    @property
    def latency(self) -> float:
        """The slowest connection's latency in seconds; infinite before the first heartbeat."""
        return max((shard.connection.latency for shard in self.held.values()), default=float("inf"))

    def describe(self) -> dict[str, str]:
        """Details for /healthz and /readyz."""
        away = [n for n, shard in sorted(self.held.items()) if not shard.connected]
        state = "connected" if not away else "not connected"
        if self.count == 1 and self.held:
            found = {"gateway": state}
        else:
            held = ", ".join(map(str, sorted(self.held))) or "none"
            found = {"gateway": state if self.held else "other processes have the shards"}
            found["shards"] = f"{held} of {self.count}"
            found |= {f"shard {n}": self.held[n].trouble or "connecting" for n in away}
        if (until := self.starts.waits_until) is not None:
            hours = max(0.0, until - self.clock.time()) / 3600
            found["sessions"] = f"used up for today: new connections wait {hours:.1f} h"
        return found
