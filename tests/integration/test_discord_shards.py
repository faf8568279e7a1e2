"""The guilds of one bot in shards, served by one process or several, with the real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.discord import session_starts
from adapters.discord.access import can_user_read
from adapters.discord.adapter import DiscordAdapter
from adapters.discord.shards import REFUSED
from bot.common.retry import Backoff
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import CannotStart, StoreUnavailable
from bot.domain.inbox import Receipt
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.support.discord_kit import adapter_for, running, until, wait_received
from tests.support.fake_cluster import FakeClusters
from tests.support.fake_inbox import FakeInbox

COUNT = 4


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    """Four shards may begin their sessions at the same time."""
    async with LocalDiscord() as sim:
        await sim.set_gateway(max_concurrency=COUNT)
        yield sim


async def channels_of(sim: LocalDiscord) -> list[int]:
    """One channel of a guild in each shard, in the shards' order."""
    made = []
    for shard in range(COUNT):
        guild = ((c.GUILD >> 22) // COUNT * COUNT + 4_000 + shard) << 22 | 7
        made.append((await sim.add_guild(f"guild {shard}", guild))["channel"])
    return made


async def list_connected(sim: LocalDiscord) -> list[int]:
    """The shards that are connected now, with repetitions."""
    sessions = (await sim.state())["sessions"]
    return sorted(session["shard"][0] for session in sessions if session["connected"])


@asynccontextmanager
async def two_processes(
    sim: LocalDiscord, clusters: FakeClusters, inbox: FakeInbox
) -> AsyncIterator[tuple[DiscordAdapter, DiscordAdapter]]:
    """Two adapters of one bot that share an inbox, as they would share a database; the first has
    all shards."""
    async with (
        running(sim, inbox, shards=COUNT, cluster=clusters.process("a")) as first,
        running(sim, inbox, shards=COUNT, cluster=clusters.process("b")) as second,
    ):
        yield first, second


def is_ready(adapter: DiscordAdapter) -> bool:
    return adapter.health().ok


async def test_one_process_serves_all_shards(sim: LocalDiscord) -> None:
    """Each guild's messages arrive through its shard, direct messages through the first."""
    channels, inbox = await channels_of(sim), FakeInbox()
    async with running(sim, inbox, shards=COUNT) as adapter:
        await until(lambda: is_ready(adapter))
        assert await list_connected(sim) == [0, 1, 2, 3]
        asked = [await sim.mention("hello", channel=channel) for channel in channels]
        asked.append((await sim.dm(c.ALICE, "in private"))["message"])
        for message in asked:
            await wait_received(inbox, int(message))
        assert inbox.receipts.count(Receipt.QUESTION) == len(asked) == len(inbox.receipts)
        health = adapter.health().details
        assert (health["gateway"], health["shards"]) == ("connected", "0, 1, 2, 3 of 4")
        assert health["guilds"] == str(COUNT + 1)


async def test_a_shard_in_trouble_costs_that_shard_only(
    sim: LocalDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard is refused, silent, or has an invalid session. Only what that shard missed is
    read."""
    monkeypatch.setattr("adapters.discord.shards.REFUSED", Backoff(0.05, 0.05))
    monkeypatch.setattr("adapters.discord.gateway.INVALID_SESSION_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(session_starts, "IDENTIFY_SECONDS", 0.0)
    assert REFUSED.first == 60.0
    channels, inbox = await channels_of(sim), FakeInbox()
    async with running(sim, inbox, shards=COUNT) as adapter:
        await until(lambda: is_ready(adapter) and len(inbox.marks) > COUNT)
        for code in (4004, 4014):
            await sim.refuse_shard(2, code)
            await sim.disconnect(4000, resumable=False, shard=2)
            await until(lambda: "refused" in adapter.health().details.get("shard 2", ""))
            before = len(await sim.requests("GET"))
            missed = await sim.mention("missed", channel=channels[2])
            for shard in (0, 1, 3):
                await wait_received(inbox, await sim.mention("hello", channel=channels[shard]))
            assert not adapter.health().ok and await list_connected(sim) == [0, 1, 3]
            await sim.refuse_shard(2)
            await wait_received(inbox, missed)
            await until(lambda: is_ready(adapter))
            paths = [entry["path"] for entry in await sim.requests("GET", before)]
            assert {path for path in paths if path.endswith("/messages")} == {
                f"/api/v10/channels/{channels[2]}/messages"
            }


async def test_a_refusal_of_all_shards_is_the_bots(sim: LocalDiscord) -> None:
    for shard in range(COUNT):
        await sim.refuse_shard(shard, 4010)
    with pytest.raises(CannotStart, match="DISCORD_SHARDS=auto"):
        await adapter_for(sim, shards=COUNT).run(FakeInbox())


async def test_a_bot_that_needs_more_shards_takes_as_many_as_discord_recommends(
    sim: LocalDiscord,
) -> None:
    channels, inbox = await channels_of(sim), FakeInbox()
    await sim.set_gateway(max_guilds=2, recommended=COUNT)
    async with running(sim, inbox, shards=1) as adapter:
        await until(lambda: is_ready(adapter))
        assert adapter.health().details["shards"] == "0, 1, 2, 3 of 4"
        await wait_received(inbox, await sim.mention("hello", channel=channels[3]))


async def test_the_last_tenth_of_a_days_sessions_is_kept(
    sim: LocalDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Using up all of them would reset the token."""
    monkeypatch.setattr(session_starts, "LOOK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(session_starts, "IDENTIFY_SECONDS", 0.0)
    await sim.set_gateway(total=4, max_concurrency=1)
    inbox = FakeInbox()
    async with running(sim, inbox, shards=COUNT) as adapter:
        await until(lambda: "sessions" in adapter.health().details)
        assert "used up for today" in adapter.health().details["sessions"]
        await until(lambda: inbox.connections == COUNT - 1)
        assert len(await list_connected(sim)) == COUNT - 1 and not adapter.health().ok
        await sim.set_gateway(total=1_000)
        await until(lambda: is_ready(adapter))
        assert (await sim.state())["closes"] == []


async def test_processes_begin_their_sessions_in_turn(
    sim: LocalDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes with two shards each, in one bucket: no session starts too early for
    Discord."""
    monkeypatch.setattr(session_starts, "IDENTIFY_SECONDS", 0.3)
    monkeypatch.setattr(session_starts, "MARGIN_SECONDS", 0.05)
    await sim.set_gateway(max_concurrency=1, identify_seconds=0.3)
    clusters, inbox = FakeClusters(), FakeInbox()
    async with two_processes(sim, clusters, inbox) as (first, second):
        await clusters.share("/4").move(a=(0, 1), b=(2, 3))
        await until(lambda: is_ready(first) and is_ready(second))
        state = await sim.state()
        assert state["hasty_identifies"] == 0
        assert await list_connected(sim) == [0, 1, 2, 3]


async def test_shards_move_between_processes_while_people_ask(
    sim: LocalDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every question is stored exactly once, wherever its shard is at that moment."""
    monkeypatch.setattr(session_starts, "IDENTIFY_SECONDS", 0.3)
    channels, clusters, inbox = await channels_of(sim), FakeClusters(), FakeInbox()
    asked: list[int] = []
    enough = asyncio.Event()

    async def ask() -> None:
        while not enough.is_set():
            for number, channel in enumerate(channels):
                asked.append(await sim.mention(f"question {number}", channel=channel))
            await asyncio.sleep(0)

    async with two_processes(sim, clusters, inbox) as (first, second):
        await until(lambda: is_ready(first) and len(inbox.marks) > COUNT)
        asking = asyncio.create_task(ask())
        share = clusters.share("/4")
        for mine, other in (
            ((0, 1), (2, 3)),
            ((2,), (0, 1, 3)),
            ((), (0, 1, 2, 3)),
            ((0, 3), (1, 2)),
        ):
            await share.move(a=mine, b=other)
            await until(lambda: is_ready(first) and is_ready(second))
        enough.set()
        await asking
        for message in asked:
            await wait_received(inbox, message)
        assert await list_connected(sim) == [0, 1, 2, 3]
        assert first.health().details["shards"] == "0, 3 of 4"
    received = [message.message_id for message in inbox.received]
    assert sorted(received) == sorted({str(message) for message in asked})


async def test_a_process_without_shards_answers_and_waits(
    sim: LocalDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It continues turns, knows guilds through REST, and takes over shards that another process
    gives up."""
    monkeypatch.setattr(session_starts, "IDENTIFY_SECONDS", 0.0)
    channels, clusters, inbox, idle = (
        await channels_of(sim),
        FakeClusters(),
        FakeInbox(),
        FakeInbox(),
    )
    async with running(sim, inbox, shards=COUNT, cluster=clusters.process("a")) as first:
        await until(lambda: is_ready(first) and len(inbox.marks) > COUNT)
        async with running(sim, idle, shards=COUNT, cluster=clusters.process("b")) as second:
            idle.marks = inbox.marks
            assert is_ready(second) and idle.connections == 1
            assert second.health().details["gateway"] == "other processes have the shards"
            guild = ((c.GUILD >> 22) // COUNT * COUNT + 4_001) << 22 | 7
            key = ConversationKey("discord", str(guild), str(channels[1]), "")
            assert (await second.directory.place(key)).channel_name == "general"
            assert await second.directory.can_read(key, str(c.ALICE))
            rest = second._rest
            assert await can_user_read(rest, c.ALICE, guild, channels[1])
            assert not await can_user_read(rest, 123, guild, channels[1])
            facts = await second.directory.person(key, Author(str(c.ALICE), "alice"))
            assert facts.author.id == str(c.ALICE)

            # The first process no longer reaches the database, but its connections stay open.
            share = clusters.share("/4")
            await share.lose("a")
            inbox.error = StoreUnavailable("gone")
            missed = [await sim.mention("missed", channel=channel) for channel in channels]
            await share.move(a=(), b=(0, 1, 2, 3))
            for message in missed:
                await wait_received(idle, message)
            await wait_received(idle, await sim.mention("live", channel=channels[0]))
    puts = [entry for entry in await sim.requests("PUT") if entry["path"].endswith("/commands")]
    assert len(puts) == 1
    [registered] = [count for name, count in clusters.entered.items() if "commands" in name]
    assert registered == 2


async def test_a_connection_that_is_given_up_while_it_opens_is_closed(
    sim: LocalDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its shard may begin a session elsewhere; the gateway sends nothing after the handshake."""
    monkeypatch.setattr("adapters.discord.gateway.IDENTIFY_SECONDS", 0.2)
    sim.server.gateway.greets = False
    task = asyncio.create_task(adapter_for(sim).run(FakeInbox()))
    await until(lambda: sim.server.gateway.connections)
    await until(lambda: not sim.server.gateway.connections)
    task.cancel()
    await asyncio.wait((task,))
