"""Slash commands in channels; the shortcut and buttons in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.slack.feedback import VOTE, FeedbackButtons
from bot.common.clock import SystemClock
from bot.domain import command_texts, texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Choice, CommandReply, Menu
from bot.domain.replies import Control, Frame, Page, Shown
from bot.llm.echo import EchoModel
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.catalog import ChangingCatalog, offering
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_kit import claim, key, running, until

ROOT = "1700000000.000100"


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


@pytest.fixture
def inbox() -> FakeInbox:
    return FakeInbox(
        choices=[
            Choice("What is a monad?", "reset", key(ids.GENERAL, ROOT)),
            Choice("<!channel> *lunch*", "reset", key(ids.GENERAL, "1700000000.000200")),
        ]
    )


async def ephemerals(sim: SlackSim, count: int = 1) -> list[dict[str, Any]]:
    async def enough() -> Any:
        found = await sim.ephemeral(ids.ALICE)
        return found if len(found) >= count else None

    result: list[dict[str, Any]] = await sim.until(enough)
    return result


class ForgetfulInbox(FakeInbox):
    """An inbox whose database fails after the command."""

    async def conversation_of(self, source: str) -> ConversationKey | None:
        if self.commands:
            raise StoreUnavailable("the disk is full")
        return await super().conversation_of(source)


async def test_thanks_for_a_vote_are_shown_if_the_database_fails_then(sim: SlackSim) -> None:
    """The form for a comment needs the conversation."""
    inbox = ForgetfulInbox(answer=CommandReply("Thanks.", comment_on=7))
    async with running(sim, inbox) as slack:
        ts = await sim.say(ids.ALICE, ids.GENERAL, "hello", mention=True)
        await until(lambda: inbox.received)
        api = slack._session(ids.TEAM).api
        blocks = FeedbackButtons(SystemClock()).block(7)
        posted = await api.write(
            "chat.postMessage", channel=ids.GENERAL, thread_ts=ts, text="42", blocks=blocks
        )
        vote = blocks[0]["elements"][0]["negative_button"]["value"]
        await sim.click(ids.ALICE, ids.GENERAL, posted.ts(), VOTE, vote)
        (shown,) = await ephemerals(sim)
        assert shown["shown"] == "Thanks."


async def test_reset_in_a_channel_offers_the_persons_threads(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """Slack allows no slash commands in threads; a pressed button replaces the choices."""
    async with running(sim, inbox):
        result = await sim.slash(ids.ALICE, ids.GENERAL, "/reset")
        assert result["acked"]
        (offer,) = await ephemerals(sim)
        assert texts.WHICH_THREAD in offer["shown"]
        assert offer["pings"] == []
        sections = [block for block in offer["blocks"] if block["type"] == "section"]
        assert [block["text"]["text"] for block in sections] == [
            "What is a monad?",
            "<!channel> *lunch*",
        ]
        value = sections[1]["accessory"]["value"]
        await sim.click(ids.ALICE, ids.GENERAL, offer["ts"], "threadline_reset", value)
        await until(lambda: inbox.commands)

        async def replaced() -> bool:
            return (await ephemerals(sim))[0]["shown"] == "done: reset"

        await sim.until(replaced)
    (command,) = inbox.commands
    assert (command.name, command.key) == ("reset", key(ids.GENERAL, "1700000000.000200"))
    assert command.author.id == ids.ALICE


async def test_reset_without_a_recent_conversation_says_so(sim: SlackSim, inbox: FakeInbox) -> None:
    async with running(sim, inbox):
        result = await sim.slash(ids.ALICE, ids.DM_ALICE, "/reset")
    assert texts.NO_RECENT in str(result["payload"])
    assert inbox.commands == []


async def test_model_and_help(sim: SlackSim, inbox: FakeInbox) -> None:
    """Only a valid model needs a conversation, so only then are conversations offered."""
    async with running(sim, inbox, models=offering("openai:a")):
        await sim.slash(ids.ALICE, ids.GENERAL, "/help")
        await sim.slash(ids.ALICE, ids.GENERAL, "/model")
        await sim.slash(ids.ALICE, ids.GENERAL, "/model", "nonsense")
        assert [(one.name, one.argument) for one in inbox.commands] == [
            ("help", ""),
            ("model", ""),
            ("model", "nonsense"),
        ]
        await sim.slash(ids.ALICE, ids.GENERAL, "/model", "openai:a")
        offer = (await ephemerals(sim, 4))[-1]
        button = offer["blocks"][1]["accessory"]
        await sim.click(ids.ALICE, ids.GENERAL, offer["ts"], "threadline_model", button["value"])
        await until(lambda: len(inbox.commands) == 4)
    last = inbox.commands[-1]
    assert (last.name, last.argument, last.key) == ("model", "openai:a", key(ids.GENERAL, ROOT))


async def test_commands_about_rules_and_people_need_no_thread(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """Slash commands do not exist in Slack threads, so these commands apply to the channel."""
    names = ("why", "whoami", "channel", "usage", "forget", "export")
    async with running(sim, inbox):
        for name in names:
            result = await sim.slash(ids.ALICE, ids.GENERAL, f"/{name}", " me ")
            assert f"done: {name}" in str(result["payload"])
    assert [(one.name, one.argument, one.key) for one in inbox.commands] == [
        (name, "me", key(ids.GENERAL, "")) for name in names
    ]


async def test_a_person_who_may_not_press_a_button_is_told_privately(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """This includes Slack's own stop button, which has no place for a reply."""
    inbox.answer = CommandReply("Nothing was changed: not yours.", refused=True)
    async with running(sim, inbox) as slack:
        root = await sim.say(ids.ALICE, ids.GENERAL, "question", mention=True)
        await until(lambda: inbox.received)
        status = slack._session(ids.TEAM).statuses.status((ids.GENERAL, root), 1, left_over=False)
        status.show()

        async def is_processing() -> bool:
            sessions = (await sim.state())["sessions"]
            return any(one["status"] == "processing" for one in sessions)

        await sim.until(is_processing)
        await sim.stop_agent(ids.BOB, ids.GENERAL, root)
        (told,) = await sim.until(lambda: sim.ephemeral(ids.BOB))
        await status.clear()
    assert (told["shown"], told["ephemeral_to"]) == ("Nothing was changed: not yours.", ids.BOB)
    assert [one.name for one in inbox.commands] == ["stop"]


async def click_menu(
    sim: SlackSim, offer: dict[str, Any], action: str, value: str
) -> dict[str, Any]:
    result: dict[str, Any] = await sim.click(ids.ALICE, ids.GENERAL, offer["ts"], action, value)
    return result


def menu_of(message: dict[str, Any]) -> dict[str, Any] | None:
    elements = [e for b in message["blocks"] for e in b.get("elements", ())]
    return next((e for e in elements if e["type"] == "static_select"), None)


async def test_a_model_is_chosen_from_a_menu(sim: SlackSim, inbox: FakeInbox) -> None:
    """In a channel, the person then chooses the conversation; each step replaces the previous
    message."""
    names = ("openai/gpt-5", "ollama/llama3.1:8b", "echo")
    channel = key(ids.GENERAL, "")
    inbox.answer = CommandReply("You can choose", menu=Menu("model", channel, (*names, "default")))
    async with running(sim, inbox, models=offering(*names)):
        await sim.slash(ids.ALICE, ids.GENERAL, "/model")
        (offer,) = await ephemerals(sim)
        menu = menu_of(offer)
        assert menu is not None
        assert [group["label"]["text"] for group in menu["option_groups"]] == [
            *("openai", "ollama", "Others")
        ]
        await click_menu(sim, offer, "threadline_model", names[1])

        async def asks() -> Any:
            (shown,) = await ephemerals(sim)
            return shown if "should use `ollama/llama3.1:8b`" in shown["shown"] else None

        asked = await sim.until(asks)
        button = asked["blocks"][1]["accessory"]
        await sim.click(ids.ALICE, ids.GENERAL, asked["ts"], "threadline_model", button["value"])
        await until(lambda: len(inbox.commands) == 2)
    last = inbox.commands[-1]
    assert (last.name, last.argument, last.key) == ("model", names[1], key(ids.GENERAL, ROOT))


async def test_a_menu_in_a_thread_needs_no_further_question(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """It works after a restart, since its block names the conversation."""
    async with running(sim, inbox) as adapter:
        root = await sim.say(ids.ALICE, ids.GENERAL, "effort", mention=True)
        await sim.say(ids.ALICE, ids.GENERAL, "more", thread_ts=root)
        await until(lambda: inbox.received)
        here = key(ids.GENERAL, root)
        menu = Menu("effort", here, ("low", "medium", "high", "default"))
        await adapter.say(inbox.received[0], CommandReply("You can choose", menu=menu))
        (offer,) = await ephemerals(sim)
    restarted = FakeInbox()
    async with running(sim, restarted):
        await click_menu(sim, offer, "threadline_effort", "high")
        await until(lambda: restarted.commands)
    (command,) = restarted.commands
    assert (command.name, command.argument, command.key) == ("effort", "high", here)


@pytest.mark.parametrize("count", [100, 101, 10_000])
async def test_more_than_a_hundred_names_are_only_text(
    sim: SlackSim, inbox: FakeInbox, count: int
) -> None:
    """Names too long for a menu entry are left out of the menu; long ones are shortened when
    shown."""
    names = tuple(f"p/{'x' * 90}{n}" for n in range(count))
    inbox.answer = CommandReply(
        "x", menu=Menu("model", key(ids.GENERAL, ""), (*names, names[0], " ", "p" * 151))
    )
    async with running(sim, inbox):
        await sim.slash(ids.ALICE, ids.GENERAL, "/model")
        (offer,) = await ephemerals(sim)
    menu = menu_of(offer)
    assert (menu is not None) == (count <= 100)
    if menu is not None:
        assert [option["value"] for option in menu["options"]] == list(names)


async def test_effort_and_context_ask_for_the_conversation(sim: SlackSim, inbox: FakeInbox) -> None:
    async with running(sim, inbox):
        await sim.slash(ids.ALICE, ids.GENERAL, "/effort")
        await sim.slash(ids.ALICE, ids.GENERAL, "/effort", "extreme")
        assert [(one.name, one.argument) for one in inbox.commands] == [
            *(("effort", ""), ("effort", "extreme"))
        ]
        for count, (name, argument) in enumerate((("effort", "low"), ("context", "")), 3):
            await sim.slash(ids.ALICE, ids.GENERAL, f"/{name}", argument)
            offer = (await ephemerals(sim, count))[-1]
            value = offer["blocks"][1]["accessory"]["value"]
            await sim.click(ids.ALICE, ids.GENERAL, offer["ts"], f"threadline_{name}", value)
            await until(lambda count=count: len(inbox.commands) == count)
            last = inbox.commands[-1]
            assert (last.name, last.argument) == (name, argument)
            assert last.key == key(ids.GENERAL, ROOT)


async def test_a_context_is_shown_in_full_because_only_that_person_sees_it(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    inbox.answer = CommandReply("numbers", private="the summary <!channel>")
    async with running(sim, inbox) as adapter:
        await sim.say(ids.ALICE, ids.GENERAL, "context", mention=True)
        await until(lambda: inbox.received)
        await adapter.say(inbox.received[0], inbox.answer)
        (shown,) = await ephemerals(sim)
    assert "the summary" in shown["shown"]
    assert shown["pings"] == []


async def test_a_button_about_another_channels_conversation_is_refused(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """The person may have left that channel; the adapter never makes such a button."""
    inbox.answer = CommandReply(
        "Which?", (Choice("A secret", "context", key(ids.PRIVATE, ROOT), "secret"),)
    )
    async with running(sim, inbox):
        await sim.slash(ids.ALICE, ids.GENERAL, "/help")
        (offer,) = await ephemerals(sim)
        value = offer["blocks"][1]["accessory"]["value"]
        await sim.click(ids.ALICE, ids.GENERAL, offer["ts"], "threadline_context", value)

        async def is_refused() -> bool:
            return bool((await ephemerals(sim))[0]["shown"] == texts.NO_ACCESS)

        await sim.until(is_refused)
    assert [command.name for command in inbox.commands] == ["help"]


async def test_a_hanging_model_server_does_not_cost_the_acknowledgement(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """The reply comes later, at the response_url."""
    models = ChangingCatalog(EchoModel(), {"openai/gpt-5": EchoModel()})
    models.gate = asyncio.Event()
    async with running(sim, inbox, models=models):
        result = await sim.slash(ids.ALICE, ids.GENERAL, "/model", "openai/gpt-5")
        assert (result["acked"], result["payload"]) == (True, None)
        models.gate.set()
        (offer,) = await ephemerals(sim)
    assert "should use `openai/gpt-5`" in offer["shown"]


async def test_commands_can_have_a_prefix(sim: SlackSim, inbox: FakeInbox) -> None:
    """Another app in the workspace may already have /reset."""
    await sim.commands(None)
    async with running(sim, inbox, command_prefix="tl-"):
        for name in ("help", "effort", "model"):
            await sim.slash(ids.ALICE, ids.GENERAL, f"/tl-{name}")
        other = await sim.slash(ids.ALICE, ids.GENERAL, "/help")
        assert other["acked"]
        assert "do not know" in str(other["payload"])
    assert [command.name for command in inbox.commands] == ["help", "effort", "model"]


async def test_the_shortcut_starts_the_thread_over(sim: SlackSim, inbox: FakeInbox) -> None:
    """It works on any message of the thread; only that person sees the reply, in the thread."""
    async with running(sim, inbox):
        root = await sim.say(ids.ALICE, ids.GENERAL, "a question", mention=True)
        reply = await sim.say(ids.BOB, ids.GENERAL, "and more", thread_ts=root)
        for message in (root, reply):
            result = await sim.shortcut(
                ids.ALICE, "threadline_reset", channel=ids.GENERAL, message_ts=message
            )
            assert result["acked"]
        answers = await ephemerals(sim, 2)
    assert [(one.name, one.key) for one in inbox.commands] == [
        ("reset", key(ids.GENERAL, root))
    ] * 2
    assert {one["thread_ts"] for one in answers} == {root}
    assert {one["shown"] for one in answers} == {"done: reset"}


async def test_a_stop_button_works_after_a_restart(sim: SlackSim, inbox: FakeInbox) -> None:
    """Everything that it needs is in the message."""
    async with running(sim, inbox) as adapter:
        root = await sim.say(ids.ALICE, ids.GENERAL, "a question", mention=True)
        surface = adapter.surface(claim(ids.GENERAL, root))
        frame = Frame((Page("text", "text", 0, 4, False),), False, (Control.STOP,))
        request = surface.plan(Shown(), frame)
        assert request is not None
        page = (await surface.perform(request, Shown())).pages[0]
    restarted = FakeInbox()
    async with running(sim, restarted):
        result = await sim.click(ids.BOB, ids.GENERAL, page.message_id, "threadline_stop")
        assert result["acked"]
    (command,) = restarted.commands
    assert (command.name, command.key) == ("stop", key(ids.GENERAL, root))
    assert command.author.id == ids.BOB


async def test_the_stored_conversation_of_a_message_takes_precedence_over_its_thread(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    async with running(sim, inbox):
        root = await sim.say(ids.ALICE, ids.GENERAL, "a question", mention=True)
        await until(lambda: len(inbox.receipts) == 2)
        elsewhere = key(ids.GENERAL, "1700000000.000300")
        inbox.conversations[f"slack/{ids.TEAM}/{ids.GENERAL}/{root}"] = elsewhere
        await sim.shortcut(ids.ALICE, "threadline_reset", channel=ids.GENERAL, message_ts=root)
    assert [command.key for command in inbox.commands] == [elsewhere]


async def test_a_failed_command_gets_an_explanation(sim: SlackSim, inbox: FakeInbox) -> None:
    """From a slash command or the shortcut, Slack would show only an error code."""
    async with running(sim, inbox):
        root = await sim.say(ids.ALICE, ids.GENERAL, "a question", mention=True)
        await until(lambda: len(inbox.receipts) == 2)
        shown: list[str] = []
        for error, sentence in (
            (StoreUnavailable("locked"), texts.STORE_DOWN),
            (ZeroDivisionError(), texts.INTERNAL),
        ):
            inbox.error = error
            # A late acknowledgement does not change the sentence.
            await sim.slash(ids.ALICE, ids.GENERAL, "/help")
            await sim.shortcut(ids.ALICE, "threadline_reset", channel=ids.GENERAL, message_ts=root)
            shown += [sentence] * 2
            answers = await ephemerals(sim, len(shown))
            assert [answer["shown"] for answer in answers] == shown


async def test_a_model_whose_name_fits_no_button_is_chosen_in_its_thread(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """A button's value has room for 2,000 characters of JSON, in which each é takes six."""
    async with running(sim, inbox, models=offering("p/" + "é" * 400)):
        result = await sim.slash(ids.ALICE, ids.GENERAL, "/model", "p/" + "é" * 400)
    assert command_texts.NEEDS_CONVERSATION["model"] in str(result["payload"])


async def test_a_slow_command_is_acknowledged_and_answered_later(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """Slack shows an error after three seconds and never resends a command."""
    inbox.command_seconds = 2.2
    async with running(sim, inbox):
        result = await sim.slash(ids.ALICE, ids.GENERAL, "/help")
        assert result["acked"]
        assert not result["payload"]
        (answer,) = await ephemerals(sim)
    assert answer["shown"] == "done: help"


async def test_the_reply_to_a_written_command_is_shown_to_its_author(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """If the thread has no replies, Slack shows no private messages there, so the reply is in the
    channel."""
    async with running(sim, inbox) as adapter:
        root = await sim.say(ids.ALICE, ids.GENERAL, "reset", mention=True)
        inside = await sim.say(ids.ALICE, ids.GENERAL, "reset", mention=True, thread_ts=root)
        await until(lambda: len(inbox.received) == 2)
        for incoming in sorted(inbox.received, key=lambda one: one.position):
            await adapter.say(incoming, CommandReply(f"Done: <!here> {incoming.message_id}"))
        first, second = await ephemerals(sim, 2)
    assert (first.get("thread_ts"), second["thread_ts"]) == (None, root)
    assert inside in second["shown"]
    assert first["pings"] == second["pings"] == []
