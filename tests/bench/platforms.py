"""A platform as the streaming bench needs it: many questions at once, and what was seen of replies.

Invariant: times are the simulator's own, of one machine's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tests.bench.age import Version
from tests.sims.discord import constants as d
from tests.sims.discord.client import DiscordSim
from tests.sims.kit import SimProcess
from tests.sims.slack import ids as s
from tests.sims.slack.client import SlackSim
from tests.support.scenes import DiscordStage, SlackStage


class Rooms(Protocol):
    """One run's platform."""

    @property
    def sim(self) -> SimProcess: ...

    def settings(self) -> Mapping[str, str]: ...
    async def connected(self) -> None: ...
    async def ask(self, texts: Sequence[str]) -> list[Any]: ...
    async def versions(self, asked: Any) -> list[Version]: ...


class DiscordRooms:
    """Questions in one channel; each reply has a thread, which is a channel of its own."""

    def __init__(self, sim: DiscordSim) -> None:
        self._sim = sim

    @property
    def sim(self) -> DiscordSim:
        return self._sim

    def settings(self) -> Mapping[str, str]:
        return DiscordStage(self._sim).settings()

    async def connected(self) -> None:
        await self._sim.wait_ready(60)

    async def ask(self, texts: Sequence[str]) -> list[Any]:
        return list(await asyncio.gather(*map(self._sim.mention, texts)))

    async def versions(self, asked: int) -> list[Version]:
        try:
            there = await self._sim.channel(asked)
        except AssertionError:  # the thread is not there yet
            return []
        messages = [*there["messages"], *there["deleted_messages"]]
        return [
            Version(version["at"], str(message["id"]), version["content"])
            for message in messages
            if message["author"] == d.BOT
            for version in message["versions"]
        ]


class SlackRooms:
    """Questions spread evenly over `channels` channels."""

    def __init__(self, sim: SlackSim, channels: int) -> None:
        self._sim, self._channels = sim, channels

    @property
    def sim(self) -> SlackSim:
        return self._sim

    def settings(self) -> Mapping[str, str]:
        return SlackStage(self._sim).settings()

    async def connected(self) -> None:
        await self._sim.connected()

    async def ask(self, texts: Sequence[str]) -> list[Any]:
        channels = [await self._sim.add_channel(f"room-{n}") for n in range(self._channels)]
        return list(
            await asyncio.gather(
                *(self._ask(channels[n % len(channels)], text) for n, text in enumerate(texts))
            )
        )

    async def _ask(self, channel: str, text: str) -> tuple[str, str]:
        return channel, await self._sim.say(s.ALICE, channel, text, mention=True)

    async def versions(self, asked: tuple[str, str]) -> list[Version]:
        messages = await self._sim.thread(*asked)
        return [
            Version(version["at"], message["ts"], version["shown"])
            for message in messages
            if message.get("bot_id") == s.BOT
            for version in message["versions"]
        ]


def rooms(sim: SimProcess, channels: int) -> Rooms:
    """The rooms of a simulator."""
    return SlackRooms(sim, channels) if isinstance(sim, SlackSim) else DiscordRooms(_discord(sim))


def _discord(sim: SimProcess) -> DiscordSim:
    assert isinstance(sim, DiscordSim)
    return sim
