"""A platform for the streaming bench: asks many questions concurrently and records the replies.

Each question comes from a different person: many replies to one person would wait for each other,
because the rate limiter keeps one person's flood from delaying others. Times are the simulator's,
on one machine's clock.
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
from tests.support.platform_driver import DiscordDriver, SlackDriver


class Rooms(Protocol):
    """The platform of one run."""

    @property
    def sim(self) -> SimProcess: ...

    def settings(self) -> Mapping[str, str]: ...
    async def connected(self) -> None: ...
    async def ask(self, texts: Sequence[str]) -> list[Any]: ...
    async def versions(self, asked: Any) -> list[Version]: ...


class DiscordRooms:
    """Questions in one channel; each reply has a thread, which is a channel in Discord."""

    def __init__(self, sim: DiscordSim) -> None:
        self._sim = sim

    @property
    def sim(self) -> DiscordSim:
        return self._sim

    def settings(self) -> Mapping[str, str]:
        return DiscordDriver(self._sim).settings()

    async def connected(self) -> None:
        await self._sim.wait_ready(60)

    async def ask(self, texts: Sequence[str]) -> list[Any]:
        people = [await self._sim.add_person(f"asker-{n}") for n in range(len(texts))]
        asked = zip(texts, people, strict=True)
        return list(
            await asyncio.gather(*(self._sim.mention(text, user=user) for text, user in asked))
        )

    async def versions(self, asked: int) -> list[Version]:
        try:
            there = await self._sim.channel(asked)
        except AssertionError:  # the thread does not exist yet
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
        return SlackDriver(self._sim).settings()

    async def connected(self) -> None:
        await self._sim.connected()

    async def ask(self, texts: Sequence[str]) -> list[Any]:
        channels = [await self._sim.add_channel(f"room-{n}") for n in range(self._channels)]
        places = [channels[n % len(channels)] for n in range(len(texts))]
        people = [await self._sim.add_person(f"asker-{n}", [c]) for n, c in enumerate(places)]
        asked = zip(people, places, texts, strict=True)
        return list(await asyncio.gather(*(self._ask(*each) for each in asked)))

    async def _ask(self, user: str, channel: str, text: str) -> tuple[str, str]:
        return channel, await self._sim.say(user, channel, text, mention=True)

    async def versions(self, asked: tuple[str, str]) -> list[Version]:
        messages = await self._sim.thread(*asked)
        return [
            Version(version["at"], message["ts"], version["shown"])
            for message in messages
            if message.get("bot_id") == s.BOT
            for version in message["versions"]
        ]


def rooms(sim: SimProcess, channels: int) -> Rooms:
    """The simulator's channels."""
    return SlackRooms(sim, channels) if isinstance(sim, SlackSim) else DiscordRooms(_discord(sim))


def _discord(sim: SimProcess) -> DiscordSim:
    assert isinstance(sim, DiscordSim)
    return sim
