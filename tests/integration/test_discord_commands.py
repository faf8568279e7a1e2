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
from bot.domain import command_texts, texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import CannotStart, StoreUnavailable
from bot.domain.health import Verdict
from bot.domain.inbox import Choice, CommandReply
from bot.domain.replies import Control, Shown
from bot.llm.echo import EchoModel
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.sims.discord.local import LocalDiscord
from tests.sims.discord.raw_client import RawBot
from tests.support.catalog import ChangingCatalog, offering
from tests.support.clock import NoWaiting
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
AUTOCOMPLETE_RESULT = 8  # documented type of an interaction response
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
    by_name = {command["name"]: command for command in put["body"]}
    assert list(by_name) == list(texts.SLASH_COMMANDS)
    for command in put["body"]:
        assert (command["integration_types"], command["contexts"]) == ([0], [0, 1])
    [name], [level] = by_name["model"]["options"], by_name["effort"]["options"]
    assert (name["autocomplete"], name.get("choices", [])) == (True, [])
    values = [choice["value"] for choice in level["choices"]]
    assert values == ["low", "medium", "high", "default"]
    setting, value = by_name["channel"]["options"]
    settings = [choice["value"] for choice in setting["choices"]]
    assert settings == ["model", "effort", "prompt", "answers", "controls"]
    assert value["autocomplete"]


async def test_options_are_the_argument_of_a_command(
    sim: DiscordSim, adapter: DiscordAdapter, inbox: FakeInbox
) -> None:
    """They are in their defined order, whatever the order in which a person fills them in."""
    await wait_registered(sim)
    for name, options in (
        ("why", {}),
        ("whoami", {}),
        ("usage", {"of": "channel"}),
        ("forget", {"who": "me"}),
        ("export", {"who": "me"}),
        ("channel", {"value": " be brief ", "setting": "prompt"}),
        ("channel", {}),
    ):
        await sim.slash(c.ALICE, c.CHANNEL, name, options)
        await until(lambda: inbox.commands)
        command = inbox.commands.pop()
        expected = {"channel": "prompt be brief" if options else ""}
        argument = expected.get(name, " ".join(options.values()))
        assert (command.name, command.argument) == (name, argument)
        assert command.key.channel == str(c.CHANNEL)


async def test_the_value_of_a_setting_is_completed(
    sim: DiscordSim, adapter: DiscordAdapter
) -> None:
    """Completion offers the models, or the words that the setting accepts; a prompt is free
    text."""
    await wait_registered(sim)
    for setting, typed, choices in (
        ("model", "lar", ["openai:large"]),
        ("answers", "", ["mention", "thread", "always", "default"]),
        ("controls", "a", ["admins", "participants", "default"]),
        ("effort", "h", ["high"]),
        ("prompt", "be", []),
        ("", "d", ["default"]),
    ):
        others = {"setting": setting} if setting else None
        interaction = await sim.autocomplete(c.ALICE, c.CHANNEL, "channel", "value", typed, others)

        async def answers(interaction: int = interaction) -> Any:
            return (await sim.interaction(interaction))["answers"]

        [only] = await sim.until(answers)
        assert [x["value"] for x in only["data"]["choices"]] == choices, setting


async def test_commands_are_registered_only_if_they_changed(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """Other models cause no registration; an earlier version's list is replaced."""

    async def puts(models: tuple[str, ...]) -> int:
        reads = len(await sim.requests("GET /api/v10/applications"))
        async with running(sim, inbox, models=offering(*models)):
            path = "GET /api/v10/applications"

            async def has_compared() -> bool:
                return len(await sim.requests(path)) > reads

            await sim.until(has_compared)
            await sim.wait_idle(0.1)
        return len(await sim.requests("PUT /api/v10/applications"))

    assert [await puts(m) for m in (("openai:a",), ("openai:a",), ("openai:b",))] == [1, 1, 1]
    async with RawBot(sim) as earlier:
        old = [{"name": "model", "description": "See or choose the model of this conversation"}]
        await earlier.request("PUT", f"/applications/{c.APPLICATION}/commands", old)
    assert [await puts(("openai:b",)) for _ in range(2)] == [3, 3]


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
    """The buttons work even after a restart, since their ids carry everything."""
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


@pytest.mark.parametrize(
    ("name", "options", "question"),
    [
        ("model", {"name": "openai:large"}, "Which conversation should use `openai:large`?"),
        ("model", {"name": "default"}, "Which conversation should use the default model?"),
        ("effort", {"level": "low"}, "Which conversation should use low effort?"),
        ("context", {}, "The context of which conversation?"),
    ],
)
async def test_other_commands_in_a_channel_ask_as_well(
    sim: DiscordSim,
    inbox: FakeInbox,
    adapter: DiscordAdapter,
    name: str,
    options: dict[str, str],
    question: str,
) -> None:
    made = await sim.start_thread(c.ALICE, await sim.say(content="How?"), "How?")
    thread = ConversationKey("discord", str(c.GUILD), str(c.CHANNEL), str(made))
    inbox.choices = [Choice("How?", "reset", thread)]
    interaction = await sim.slash(c.ALICE, c.CHANNEL, name, options)
    answer = await response_to(sim, interaction)
    assert (answer["content"], answer["hidden"]) == (question, True)
    message = (await sim.interaction(interaction))["message"]
    await response_to(sim, await sim.click(c.ALICE, message, ids(answer)[0]))
    [command] = inbox.commands
    argument = "".join(options.values())
    assert (command.name, command.argument, command.key) == (name, argument, thread)


async def test_a_model_whose_name_fits_no_button_is_chosen_in_its_thread(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    long = "openrouter/" + "x" * 60
    made = await sim.start_thread(c.ALICE, await sim.say(content="How?"), "How?")
    thread = ConversationKey("discord", str(c.GUILD), str(c.CHANNEL), str(made))
    inbox.choices = [Choice("How?", "reset", thread)]
    async with running(sim, inbox, models=offering(long)):
        await wait_registered(sim)
        for channel in (c.CHANNEL, made):
            answer = await response_to(
                sim, await sim.slash(c.ALICE, channel, "model", {"name": long})
            )
            if channel == c.CHANNEL:
                assert answer["content"] == command_texts.NEEDS_CONVERSATION["model"]
    assert [(command.argument, command.key) for command in inbox.commands] == [(long, thread)]


async def test_a_private_threads_context_is_only_for_those_who_can_read_it(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """It is not offered to others, nor shown for an old button once the person has left.

    The reply is elsewhere than the conversation, so it contains none of its text.
    """
    place = await sim.private_thread(c.ALICE, "private")
    thread = ConversationKey("discord", str(c.GUILD), str(c.CHANNEL), str(place))
    inbox.choices = [Choice("private", "reset", thread)]
    inbox.answer = CommandReply("numbers", private="the summary")
    offered = await sim.slash(c.ALICE, c.CHANNEL, "context")
    [button] = ids(await response_to(sim, offered))
    message = (await sim.interaction(offered))["message"]
    shown = await response_to(sim, await sim.click(c.ALICE, message, button))
    assert (shown["content"], shown["hidden"]) == ("numbers", True)
    other = await response_to(sim, await sim.slash(c.BOB, c.CHANNEL, "context"))
    assert other["content"] == texts.NO_RECENT
    await sim.leave_thread(c.ALICE, place)
    denied = await response_to(sim, await sim.click(c.ALICE, message, button))
    assert denied["content"] == texts.NO_ACCESS
    assert len(inbox.commands) == 1


async def test_a_reply_to_a_written_command_has_no_private_part(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Everyone in the channel sees it."""
    message = await sim.mention("context")
    await adapter.say(
        await wait_received(inbox, message), CommandReply("numbers", private="the summary")
    )
    [said] = await sim.messages(author=c.BOT)
    assert said["content"] == "numbers"


# ── completing names ──────────────────────────────────────────────────────────────────────────
async def complete(
    sim: DiscordSim, typed: str, user: int = c.ALICE, channel: int = c.CHANNEL
) -> list[str]:
    """The values of the choices for the text typed after /model."""
    interaction = await sim.autocomplete(user, channel, "model", "name", typed)

    async def answer() -> Any:
        return (await sim.interaction(interaction))["answers"]

    [only] = await sim.until(answer)
    assert only["type"] == AUTOCOMPLETE_RESULT
    return [choice["value"] for choice in only["data"]["choices"]]


async def test_a_models_name_is_completed_by_any_part_of_it(
    sim: DiscordSim, adapter: DiscordAdapter
) -> None:
    assert await complete(sim, "") == ["openai:small", "openai:large", "default"]
    assert await complete(sim, "LAR") == ["openai:large"]
    assert await complete(sim, "x" * 6_000) == []


async def test_names_that_the_server_adds_are_completed(sim: DiscordSim, inbox: FakeInbox) -> None:
    """Ten thousand names, some of them too long, blank or with markup."""
    models = ChangingCatalog(EchoModel(), {})
    async with running(sim, inbox, models=models):
        await wait_registered(sim)
        assert await complete(sim, "") == ["default"]
        odd = [" ", "a" * 101, "a" * 100, "`@everyone` <@1>\n**x**"]
        models.serve(*odd, *(f"ollama/model-{n}" for n in range(10_000)))
        found = await complete(sim, "")
        assert len(found) == 25
        assert found[:2] == odd[2:]
        assert await complete(sim, "model-9999") == ["ollama/model-9999"]


async def test_a_server_that_hangs_leaves_no_completion_hanging_but_its_own(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """Commands and messages work while it hangs; the catalog limits the wait."""
    models = ChangingCatalog(EchoModel(), {"openai:small": EchoModel()})
    models.gate = asyncio.Event()
    async with running(sim, inbox, models=models):
        await wait_registered(sim)
        waiting = asyncio.create_task(complete(sim, "sm"))
        await until(lambda: models.asked)
        await response_to(sim, await sim.slash(c.ALICE, c.CHANNEL, "help"))
        await wait_received(inbox, await sim.mention("still there?"))
        assert not waiting.done()
        models.gate.set()
        assert await waiting == ["openai:small"]


class FailingCatalog(ChangingCatalog):
    """A catalog with a bug."""

    async def list_names(self) -> tuple[str, ...]:
        raise ZeroDivisionError


async def test_a_completion_that_fails_has_no_choices(sim: DiscordSim, inbox: FakeInbox) -> None:
    async with running(sim, inbox, models=FailingCatalog(EchoModel(), {})):
        await wait_registered(sim)
        assert await complete(sim, "sm") == []


async def test_names_are_not_completed_for_strangers(sim: DiscordSim, inbox: FakeInbox) -> None:
    """This covers servers that may not use the bot, and direct messages from people outside."""
    other = await sim.add_guild("elsewhere")
    guilds = frozenset({str(other["guild"])})
    async with running(sim, inbox, models=offering("openai:small"), guilds=guilds):
        await wait_registered(sim)
        assert await complete(sim, "") == []
        assert await complete(sim, "", channel=other["channel"]) == ["openai:small", "default"]


async def test_reset_in_a_channel_without_conversations_says_so(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    answer = await response_to(sim, await sim.slash(c.ALICE, c.CHANNEL, "reset"))
    assert (answer["content"], answer["components"]) == (texts.NO_RECENT, [])


async def test_commands_without_a_choice_reach_the_core(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Lists, help, and models that are not offered need no conversation."""
    inbox.answer = CommandReply(f"`x` <@{c.BOB}> @everyone\n#### Deep")
    options = {"name": " openai:unknown "}
    answer = await response_to(sim, await sim.slash(c.ALICE, c.CHANNEL, "model", options))
    for name in ("model", "effort", "help"):
        await response_to(sim, await sim.slash(c.ALICE, c.CHANNEL, name))
    found = [(command.name, command.argument, command.key) for command in inbox.commands]
    assert found == [
        ("model", "openai:unknown", IN_CHANNEL),
        ("model", "", IN_CHANNEL),
        ("effort", "", IN_CHANNEL),
        ("help", "", IN_CHANNEL),
    ]
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
    refusal = {"status": 401, "body": {"message": "401: Unauthorized", "code": 0}, "times": 1_000}
    with pytest.raises(CannotStart, match="no longer accepts"):
        async with running(sim, inbox) as adapter:
            task = next(t for t in asyncio.all_tasks() if "DiscordAdapter.run" in repr(t))
            await sim.call("fault", match="/api/v10/", **refusal)
            await sim.disconnect(4004)
            await asyncio.wait({task}, timeout=60)
            assert not adapter.health().ok


async def test_an_unreachable_platform_is_retried(sim: DiscordSim, inbox: FakeInbox) -> None:
    """At the start, neither a failing REST API nor a failing gateway ends the adapter."""
    await sim.call("fault", match="GET /api/v10/users/@me", drop=True, times=2)
    await sim.offline()
    adapter = adapter_for(sim, clock=NoWaiting())
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
    """They are class attributes, so a change would outlive the adapter."""
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
        (f"Discord guild Sim guild ({c.GUILD})", Verdict.OK),
        ("Discord commands", Verdict.OK),
        ("Discord sessions", Verdict.OK),
        ("Discord roles", Verdict.OK),
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


async def test_doctor_names_an_address_that_gets_the_commands_instead(sim: DiscordSim) -> None:
    """Discord then sends no interaction to the gateway, so every button fails."""
    url = "https://example.com/interactions"
    await sim.set_application(interactions_endpoint_url=url)
    found = [f for f in await adapter_for(sim).check() if url in f.detail]
    assert [f.verdict for f in found] == [Verdict.FAILED]
    assert "Interactions Endpoint URL" in found[0].advice


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
    assert (finding.verdict, finding.detail) == (Verdict.FAILED, "cannot be reached")
    assert "HTTPS_PROXY" in finding.advice
