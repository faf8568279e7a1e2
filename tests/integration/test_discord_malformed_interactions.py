"""Malformed interactions, and commands in channels that are not cached, with the real client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.discord.adapter import DiscordAdapter
from bot.domain import texts
from bot.domain.conversations import ConversationKey
from tests.integration.test_discord_commands import complete, response_to, wait_registered
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.sims.discord.raw_client import RawBot
from tests.support.catalog import offering
from tests.support.discord_kit import running
from tests.support.fake_inbox import FakeInbox

IN_CHANNEL = ConversationKey("discord", str(c.GUILD), str(c.CHANNEL), "")


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        yield sim


@pytest.fixture
async def adapter(sim: DiscordSim, inbox: FakeInbox) -> AsyncIterator[DiscordAdapter]:
    async with running(sim, inbox, models=offering("openai:small")) as adapter:
        await wait_registered(sim)
        yield adapter


async def break_next(sim: DiscordSim, **fault: Any) -> None:
    await sim.call("fault_event", name="INTERACTION_CREATE", **fault)


async def only_response(sim: DiscordSim, interaction: int) -> dict[str, Any]:
    """The data of the first response to an interaction."""

    async def answers() -> Any:
        return (await sim.interaction(interaction))["answers"]

    found: dict[str, Any] = (await sim.until(answers))[0]["data"]
    return found


# ── channels ──────────────────────────────────────────────────────────────────────────────────
PARTIAL_CHANNELS: list[dict[str, Any]] = [
    {"remove": ["d.channel"]},
    {"remove": ["d.channel_id"]},
    {"put": {"d.channel": {"id": str(c.CHANNEL), "type": []}}},
    {"put": {"d.channel": {"type": 0}}},
    {"put": {"d.channel": "general"}},
]


async def test_a_command_with_a_partial_channel_is_executed_there(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    for fault in PARTIAL_CHANNELS:
        await break_next(sim, **fault)
        answer = await response_to(sim, await sim.slash(c.ALICE, c.CHANNEL, "help"))
        assert answer["content"] == "done: help", fault
        assert inbox.commands[-1].key == IN_CHANNEL, fault


async def test_a_command_in_an_archived_thread_reaches_its_conversation(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """The bot has not cached it, because GUILD_CREATE lists only active threads. Discord sends a
    partial channel."""
    thread = await sim.start_thread(c.ALICE, await sim.say(content="hello"), "talk")
    await sim.archive(thread)
    here = ConversationKey("discord", str(c.GUILD), str(c.CHANNEL), str(thread))
    async with running(sim, inbox):
        await wait_registered(sim)
        for fault in ({"put": {"d.channel": {"id": str(thread), "type": 11}}}, {}):
            await break_next(sim, **fault)
            answer = await response_to(sim, await sim.slash(c.ALICE, thread, "context"))
            assert answer["content"] == "done: context", fault
            assert inbox.commands[-1].key == here, fault


# ── commands and completions ──────────────────────────────────────────────────────────────────
async def test_a_command_that_cannot_be_read_gets_an_explanation(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    faults: list[dict[str, Any]] = [
        *({"remove": [f"d.{name}"]} for name in ("data", "data.name", "member")),
        *({"put": {f"d.data.{name}": {"x": 1}}} for name in ("name", "options")),
        *({"put": {"d.member": value}} for value in ("alice", {})),
    ]
    for fault in faults:
        await break_next(sim, **fault)
        interaction = await sim.slash(c.ALICE, c.CHANNEL, "help")
        answer = await only_response(sim, interaction)
        if "content" not in answer:
            answer = await response_to(sim, interaction)
        assert answer["content"] == texts.INTERNAL, fault
    assert inbox.commands == []


async def test_a_completion_that_cannot_be_read_has_no_choices(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    for fault in (
        *({"remove": [f"d.{name}"]} for name in ("data", "data.options", "member")),
        *({"put": {"d.data.options": value}} for value in ("x", [], [{"name": 1}])),
        {"put": {"d.data.name": "ask"}},
    ):
        await break_next(sim, **fault)
        assert await complete(sim, "sm") == [], fault
    assert await complete(sim, "sm") == ["openai:small"]


async def test_a_command_of_an_earlier_version_gets_an_explanation(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Discord lists it until the bot has registered the current commands."""
    async with RawBot(sim) as earlier:
        option = {"type": 1, "name": "set", "description": "Choose a model"}
        old = [
            {"name": "ask", "description": "Ask"},
            {"name": "model", "description": "Models", "options": [option]},
        ]
        await earlier.request("PUT", f"/applications/{c.APPLICATION}/commands", old)
    answer = await only_response(sim, await sim.slash(c.ALICE, c.CHANNEL, "ask"))
    assert (answer["content"], answer["flags"]) == (texts.NO_SUCH_COMMAND, 1 << 6)
    answer = await only_response(sim, await sim.slash(c.ALICE, c.CHANNEL, "model set"))
    assert answer["content"] == texts.INTERNAL
    assert inbox.commands == []
