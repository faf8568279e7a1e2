"""Slash commands, buttons, replies, the start and `doctor`, with the real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from adapters.discord.adapter import DiscordAdapter
from adapters.discord.doctor import permissions
from bot.common.clock import SystemClock
from bot.domain import texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import CannotStart, StoreUnavailable
from bot.domain.health import Verdict
from bot.domain.inbox import Choice, CommandReply
from bot.domain.replies import Control, Shown
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.sims.discord.local import LocalDiscord
from tests.support.catalog import offering
from tests.support.discord_kit import (
    adapter_for,
    asked,
    claim,
    frame,
    running,
    show,
    until,
    wait_received,
)
from tests.support.fake_inbox import FakeInbox

EPHEMERAL = 1 << 6
IN_CHANNEL = ConversationKey("discord", str(c.GUILD), str(c.CHANNEL), "")


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        yield sim


@pytest.fixture
async def adapter(sim: DiscordSim, inbox: FakeInbox) -> AsyncIterator[DiscordAdapter]:
    async with running(sim, inbox, models=offering("openai:small", "openai:large")) as adapter:
        await wait_registered(sim)
        yield adapter


async def wait_registered(sim: DiscordSim) -> None:
    async def there() -> Any:
        return (await sim.state())["commands"]

    await sim.until(there)


async def response_to(sim: DiscordSim, interaction: int) -> dict[str, Any]:
    """The response to an interaction, once it arrives."""

    async def answer() -> Any:
        answers = (await sim.interaction(interaction))["answers"]
        return answers if len(answers) > 1 else None

    first, last = await sim.until(answer)
    return {**last["data"], "hidden": bool(first["data"].get("flags", 0) & EPHEMERAL)}


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["custom_id"] for row in answer["components"] for item in row["components"]]


# ── slash commands ────────────────────────────────────────────────────────────────────────────
async def test_commands_are_available_in_guilds_and_direct_messages(
    sim: DiscordSim, adapter: DiscordAdapter
) -> None:
    [put] = await sim.requests("PUT /api/v10/applications")
    assert {command["name"] for command in put["body"]} == {"reset", "model", "help"}
    for command in put["body"]:
        assert (command["integration_types"], command["contexts"]) == ([0], [0, 1])
    [model] = [command for command in put["body"] if command["name"] == "model"]
    [option] = model["options"]
    assert [choice["value"] for choice in option["choices"]] == ["openai:small", "openai:large"]


async def test_commands_are_registered_only_if_they_changed(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    async def puts(models: tuple[str, ...]) -> int:
        reads = len(await sim.requests("GET /api/v10/applications"))
        async with running(sim, inbox, models=offering(*models)):
            path = "GET /api/v10/applications"

            async def has_compared() -> bool:
                return len(await sim.requests(path)) > reads

            await sim.until(has_compared)
            await sim.wait_idle(0.1)
        return len(await sim.requests("PUT /api/v10/applications"))

    assert [await puts(m) for m in (("openai:a",), ("openai:a",), ("openai:b",))] == [1, 1, 2]


async def test_reset_in_a_thread_resets_its_conversation(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    root = await sim.say(content="hello")
    thread = await sim.start_thread(c.ALICE, root, "talk")
    answer = await response_to(sim, await sim.slash(c.ALICE, thread, "reset"))
    assert (answer["content"], answer["hidden"]) == ("done: reset", True)
    [command] = inbox.commands
    assert (command.name, command.author.id) == ("reset", str(c.ALICE))
    assert command.key == ConversationKey("discord", str(c.GUILD), str(c.CHANNEL), str(thread))


async def test_reset_in_a_direct_message_resets_it(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    sent = await sim.dm(c.ALICE, "hello")
    await response_to(sim, await sim.slash(c.ALICE, sent["channel"], "reset"))
    assert inbox.commands[0].key == ConversationKey("discord", "@me", str(sent["channel"]), "")


async def test_reset_in_a_channel_asks_which_conversation(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """The buttons work after a restart too, since their ids carry everything."""
    made = await sim.start_thread(c.ALICE, await sim.say(content="How?"), "How does this work?")
    thread = ConversationKey("discord", str(c.GUILD), str(c.CHANNEL), str(made))
    inbox.choices = [Choice("How does this work?", "reset", thread)]
    async with running(sim, inbox):
        await wait_registered(sim)
        interaction = await sim.slash(c.ALICE, c.CHANNEL, "reset")
        answer = await response_to(sim, interaction)
    assert (answer["content"], inbox.commands) == (texts.WHICH_THREAD, [])
    assert inbox.choices_requested == [(IN_CHANNEL, str(c.ALICE))]
    message = (await sim.interaction(interaction))["message"]
    async with running(sim, inbox):
        click = await sim.click(c.ALICE, message, ids(answer)[0])
        assert (await response_to(sim, click))["content"] == "done: reset"
    assert [(command.name, command.key) for command in inbox.commands] == [("reset", thread)]


async def test_reset_in_a_channel_without_conversations_says_so(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    answer = await response_to(sim, await sim.slash(c.ALICE, c.CHANNEL, "reset"))
    assert (answer["content"], answer["components"]) == (texts.NO_RECENT, [])


async def test_model_and_help_reach_the_core(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    inbox.answer = CommandReply(f"`x` <@{c.BOB}> @everyone\n#### Deep")
    options = {"name": "openai:large"}
    answer = await response_to(sim, await sim.slash(c.ALICE, c.CHANNEL, "model", options))
    await response_to(sim, await sim.slash(c.ALICE, c.CHANNEL, "help"))
    found = [(command.name, command.argument, command.key) for command in inbox.commands]
    assert found == [("model", "openai:large", IN_CHANNEL), ("help", "", IN_CHANNEL)]
    assert answer["content"].endswith("**Deep**")
    assert answer["allowed_mentions"]["parse"] == []


async def test_commands_are_acknowledged_before_the_core_replies(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    gate = asyncio.Event()
    carried_out = inbox.command

    async def slow(command: Any) -> CommandReply:
        await gate.wait()
        return await carried_out(command)

    inbox.command = slow  # type: ignore[method-assign]
    interaction = await sim.slash(c.ALICE, c.CHANNEL, "help")

    async def is_acknowledged() -> Any:
        """Whether Discord accepted the acknowledgment, which is due within three seconds."""
        return (await sim.interaction(interaction))["answered"]

    assert await sim.until(is_acknowledged)
    assert len((await sim.interaction(interaction))["answers"]) == 1
    gate.set()
    assert (await response_to(sim, interaction))["content"] == "done: help"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(StoreUnavailable("locked"), texts.STORE_DOWN), (ZeroDivisionError(), texts.INTERNAL)],
)
async def test_a_failed_command_gets_an_explanation(
    sim: DiscordSim,
    inbox: FakeInbox,
    adapter: DiscordAdapter,
    error: Exception,
    sentence: str,
) -> None:
    inbox.error = error
    answer = await response_to(sim, await sim.slash(c.ALICE, c.CHANNEL, "help"))
    assert answer["content"] == sentence


# ── controls ──────────────────────────────────────────────────────────────────────────────────
async def with_stop(sim: DiscordSim, adapter: DiscordAdapter, message: int) -> dict[str, Any]:
    """A page with a Stop button."""
    surface = adapter.surface(claim(asked(message)))
    await surface.open()
    shown = await show(surface, Shown(), frame("Writing", controls=(Control.STOP,)))
    await surface.close()
    return await sim.message(int(shown.pages[0].message_id))


async def test_stop_works_in_a_thread_after_a_restart(sim: DiscordSim, inbox: FakeInbox) -> None:
    message = await sim.mention("question")
    async with running(sim, inbox) as adapter:
        page = await with_stop(sim, adapter, message)
    async with running(sim, inbox):
        await response_to(sim, await sim.click(c.BOB, page["id"], ids(page)[0]))
    [command] = inbox.commands
    assert (command.name, command.author.id) == ("stop", str(c.BOB))
    assert command.key == asked(message).key


async def test_stop_in_a_reply_chain_finds_the_conversation_by_its_page(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    await sim.set_permissions(c.CHANNEL, deny=("create_public_threads",))
    message = await sim.mention("question")
    page = await with_stop(sim, adapter, message)
    begun = asked(message).key
    inbox.conversations[f"discord/{c.GUILD}/{c.CHANNEL}/{page['id']}"] = begun
    await response_to(sim, await sim.click(c.ALICE, page["id"], ids(page)[0]))
    assert [command.key for command in inbox.commands] == [begun]


async def test_a_typed_command_gets_a_reply_to_its_message(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("model")
    choice = Choice("Start over", "reset", IN_CHANNEL)
    long = "\n".join(["a line"] * 500)
    await adapter.say(await wait_received(inbox, message), CommandReply(long, (choice,)))
    [said] = await sim.messages(author=c.BOT)
    assert (said["reply_to"], said["notified"]) == (message, [])
    assert len(said["content"]) <= 2_000 and said["content"].endswith("a line…")
    assert len(ids(said)) == 1


# ── the start ─────────────────────────────────────────────────────────────────────────────────
async def test_the_error_for_a_refused_token_says_where_to_get_one(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    with pytest.raises(CannotStart, match=r"DISCORD_TOKEN.*Reset Token"):
        await adapter_for(sim, token="wrong").run(inbox)


async def test_the_error_for_a_missing_intent_names_the_switch(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    await sim.grant_intents()
    with pytest.raises(CannotStart, match="turn on “Message Content Intent”"):
        await adapter_for(sim).run(inbox)


async def test_a_revoked_token_stops_the_adapter(sim: DiscordSim, inbox: FakeInbox) -> None:
    with pytest.raises(CannotStart, match="no longer accepts"):
        async with running(sim, inbox) as adapter:
            task = next(t for t in asyncio.all_tasks() if "DiscordAdapter.run" in repr(t))
            await sim.disconnect(4004)
            await asyncio.wait({task}, timeout=60)
            assert not adapter.health().ok


class NoWaiting(SystemClock):
    """A clock whose sleeps end immediately."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))


async def test_an_unreachable_platform_is_retried(sim: DiscordSim, inbox: FakeInbox) -> None:
    """Neither a failing REST API nor a failing gateway ends the adapter at the start."""
    await sim.call("fault", match="GET /api/v10/users/@me", drop=True, times=2)
    await sim.offline()
    clock = NoWaiting()
    adapter = adapter_for(sim, clock=clock)
    assert not adapter.health().ok
    task = asyncio.create_task(adapter.run(inbox))
    try:

        async def has_retried() -> bool:
            return len(await sim.requests("/gateway/")) > 1

        await sim.until(has_retried)
        await sim.online()
        await until(lambda: inbox.connections == 1)
        assert adapter.health().ok
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_stopping_closes_the_session(sim: DiscordSim, inbox: FakeInbox) -> None:
    async with running(sim, inbox) as adapter:
        pass
    assert not any(session["connected"] for session in (await sim.state())["sessions"])
    assert not adapter.health().ok


async def test_discord_pys_urls_are_restored(sim: DiscordSim, inbox: FakeInbox) -> None:
    """They are class attributes, which outlive the adapter."""
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    async with running(sim, inbox):
        assert sim.api_url == Route.BASE
    assert before == (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY)


async def test_only_needed_intents_are_requested(sim: DiscordSim, adapter: DiscordAdapter) -> None:
    needed = ("guilds", "guild_messages", "dm_messages", "message_content")
    [session] = (await sim.state())["sessions"]
    assert session["intents"] == sum(c.INTENTS[name] for name in needed)


# ── doctor ────────────────────────────────────────────────────────────────────────────────────
async def test_doctor_finds_no_problem_in_a_correct_setup(
    sim: DiscordSim, adapter: DiscordAdapter
) -> None:
    findings = await adapter_for(sim).check()
    assert [(f.subject, f.verdict) for f in findings] == [
        ("Discord token", Verdict.OK),
        ("Discord message content intent", Verdict.OK),
        ("Discord bot", Verdict.OK),
        ("Discord guild Sim guild", Verdict.OK),
        ("Discord commands", Verdict.OK),
        ("Discord network", Verdict.OK),
        ("Discord gateway network", Verdict.OK),
    ]


async def test_doctor_gives_advice(sim: DiscordSim) -> None:
    await sim.grant_intents()
    [_, intent, _, _, commands, *_] = await adapter_for(sim).check()
    assert intent.verdict is Verdict.FAILED and "Message Content Intent" in intent.advice
    assert commands.verdict is Verdict.WARNING and "start" in commands.advice
    [token, *_] = await adapter_for(sim, token="wrong").check()
    assert token.verdict is Verdict.FAILED and "Reset Token" in token.advice
    await sim.remove_bot()
    guilds = (await adapter_for(sim).check())[3]
    invited = f"client_id={c.APPLICATION}&scope=bot+applications.commands"
    assert guilds.verdict is Verdict.WARNING and invited in guilds.advice
    assert f"permissions={permissions().value}" in guilds.advice


async def test_doctor_warns_about_a_public_bot(sim: DiscordSim) -> None:
    """Strangers could add it to their guilds and spend the owner's money."""
    await sim.set_application(bot_public=True)
    public = (await adapter_for(sim).check())[2]
    assert public.verdict is Verdict.WARNING
    assert "Public Bot" in public.advice and "DISCORD_GUILDS" in public.advice


async def test_doctor_survives_responses_without_fields(sim: DiscordSim) -> None:
    """Each failure affects only one check."""
    await sim.call("fault", match="/users/@me/guilds", remove=["*.permissions"], times=99)
    await sim.call("fault", match="/commands", status=200, body={"odd": True}, times=99)
    findings = {f.subject: f.verdict for f in await adapter_for(sim).check()}
    assert findings["Discord token"] is Verdict.OK
    assert findings["Discord guilds"] is Verdict.FAILED
    assert findings["Discord commands"] is not Verdict.OK


async def test_doctor_warns_if_long_code_cannot_be_a_file() -> None:
    """Without the permission, code is sent as text."""
    async with LocalDiscord() as sim:
        for role in sim.server.state.guilds[c.GUILD].roles.values():
            role.permissions &= ~c.PERMISSIONS["attach_files"]
        guild = (await adapter_for(sim).check())[3]
    assert guild.verdict is Verdict.WARNING
    assert guild.detail.startswith("missing: attach files (")


async def test_doctor_survives_an_unreachable_platform(sim: DiscordSim) -> None:
    await sim.call("fault", match="GET", drop=True, times=99)
    [finding, *_] = await adapter_for(sim).check()
    assert finding.verdict is Verdict.FAILED and "cannot be reached" in finding.detail
