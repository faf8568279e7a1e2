"""/model, /effort and /context with the core on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain import command_texts
from bot.domain.conversations import Author, Effort
from bot.domain.errors import CommandDone
from bot.domain.inbox import Address, Command, CommandReply, Receipt
from bot.domain.model import ModelFacts
from bot.inbox.model_commands import ModelCommands
from tests.support.catalog import FixedCatalog
from tests.support.core_kit import World, world_at
from tests.support.reports import REPORT
from tests.support.store_kit import key, said


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path / "threadline.db") as world:
        yield world


async def say(world: World, number: int, text: str) -> Receipt:
    """Mention the bot with a command word; returns the inbox's decision."""
    receipt = await world.inbox.receive(said(number, text, address=Address.MENTION))
    await world.inbox.aclose()
    await world.idle()
    return receipt


# ── models ────────────────────────────────────────────────────────────────────────────────────
async def test_the_servers_are_asked_before_a_model_is_refused(world: World) -> None:
    """A model added to the server a minute ago can be chosen."""
    await world.ask(1)
    world.models.serve("ollama/new", "other")
    assert "`ollama/new`" in (await world.command("model", "ollama/new")).text
    assert (await world.store.find(key())).model == "ollama/new"  # type: ignore[union-attr]


async def test_a_known_model_is_chosen_without_asking_a_server(world: World) -> None:
    await world.ask(1)
    world.models.serve()
    assert "`other`" in (await world.command("model", "other")).text
    assert world.models.asked == 0


async def test_a_model_can_be_named_without_its_provider(world: World) -> None:
    await world.ask(1)
    world.models.serve("ollama/Llama3.1:8b", "other")
    assert "`ollama/Llama3.1:8b`" in (await world.command("model", "llama3.1:8B")).text


async def test_a_misspelled_model_gets_suggestions_in_text_and_menu(world: World) -> None:
    world.models.serve("ollama/llama3.1:8b", "openai/gpt-5")
    reply = await world.command("model", "lama3.1:8b")
    assert "You may have meant:\n- `ollama/llama3.1:8b`" in reply.text
    assert reply.menu is not None
    assert (reply.menu.command, reply.menu.options) == ("model", ("ollama/llama3.1:8b",))


async def test_the_default_model_can_be_chosen_again(world: World) -> None:
    await world.ask(1)
    await world.command("model", "other")
    assert "`/model default` returns to `scripted`" in (await world.command("model")).text
    assert "`scripted`" in (await world.command("model", "default")).text
    await world.ask(2)
    assert (len(world.model.requests), len(world.other.requests)) == (2, 0)


async def test_a_model_that_is_no_longer_offered_is_named_and_the_default_answers(
    world: World,
) -> None:
    await world.ask(1)
    await world.command("model", "other")
    world.models.serve("ollama/small")
    text = (await world.command("model")).text
    assert "chose `other`, which is no longer offered, so `scripted` answers" in text
    await world.ask(2)
    assert (len(world.model.requests), len(world.other.requests)) == (2, 0)


class UnlistedCatalog(FixedCatalog):
    """After a restart, a server has not listed its models yet, but a chosen one still answers."""

    names = ()


async def test_a_model_counts_as_offered_until_its_server_lists_others(world: World) -> None:
    await world.ask(1)
    await world.command("model", "other")
    unlisted = UnlistedCatalog(world.model, {"other": world.other})
    commands = ModelCommands(store=world.store, catalog=unlisted, reporter=world.reporter)
    command = Command(name="model", key=key(), author=Author("u", "Ann"))
    assert (await commands.model(command)).text.startswith("This conversation uses `other`.")


async def test_without_other_models_the_reply_says_so(world: World) -> None:
    world.models.serve()
    for argument in ("", "openai/gpt-5"):
        reply = await world.command("model", argument)
        assert command_texts.NO_MODEL_CHOICES in reply.text
        assert reply.menu is None


async def test_a_name_in_a_message_is_a_command_only_if_it_is_offered(world: World) -> None:
    """With a slash, it is always a command."""
    await world.ask(1)
    assert await say(world, 2, "model other") is Receipt.COMMAND
    assert await say(world, 3, "model trains") is Receipt.QUESTION
    assert await say(world, 4, "/model trains") is Receipt.COMMAND
    assert await say(world, 5, "model default") is Receipt.COMMAND
    assert "not offered" in world.adapter.said[1]


# ── effort ────────────────────────────────────────────────────────────────────────────────────
async def test_an_effort_is_used_from_the_next_turn_on(world: World) -> None:
    await world.ask(1)
    for number, (argument, effort) in enumerate(
        (("low", Effort.LOW), ("HIGH", Effort.HIGH), ("default", None)), 2
    ):
        await world.command("effort", argument)
        await world.ask(number)
        assert world.model.requests[-1].effort == effort
    assert world.model.requests[0].effort is None


async def test_an_effort_belongs_to_one_conversation(world: World) -> None:
    reply = await world.command("effort", "low")
    assert reply.text == command_texts.NEEDS_CONVERSATION["effort"]
    await world.ask(1)
    await world.command("effort", "low")
    await world.ask(2, "elsewhere", where=key("t2"))
    assert world.model.requests[-1].effort is None


async def test_the_reply_says_whether_the_model_has_efforts(world: World) -> None:
    """The reply is about the model that answers in this conversation."""
    await world.ask(1)
    world.model.facts = ModelFacts(effort=True)
    world.other.facts = ModelFacts(effort=False)
    assert "But" not in (await world.command("effort", "low")).text
    await world.command("model", "other")
    for argument in ("", "high"):
        reply = await world.command("effort", argument)
        assert "But `other` has no such setting" in reply.text
    world.other.facts = ModelFacts()
    reply = await world.command("effort")
    assert "I ask the model for high effort." in reply.text
    assert "I do not know whether `other`" in reply.text


async def test_another_word_is_no_effort(world: World) -> None:
    await world.ask(1)
    reply = await world.command("effort", "extreme `x` <@1>")
    assert "`extreme 'x' <@1>`" in reply.text
    assert reply.menu is not None
    assert reply.menu.options == ("low", "medium", "high", "default")
    assert (await world.store.find(key())).effort is None  # type: ignore[union-attr]


async def test_a_word_in_a_message_chooses_an_effort_once(world: World) -> None:
    await world.ask(1)
    assert await say(world, 2, "effort low") is Receipt.COMMAND
    await world.command("effort", "high")
    assert await say(world, 2, "effort low") is Receipt.KNOWN
    assert await say(world, 3, "effort is needed") is Receipt.QUESTION
    assert world.model.requests[-1].effort is Effort.HIGH


# ── context ───────────────────────────────────────────────────────────────────────────────────
async def test_the_context_has_the_summary_only_in_its_private_part(world: World) -> None:
    world.reporter.reports[key()] = REPORT
    reply = await world.command("context")
    assert "9,200 tokens" in reply.text
    assert "roses" not in reply.text
    assert "roses" in reply.private
    assert reply.whole == f"{reply.text}\n\n{reply.private}"
    world.reporter.reports[key()] = replace(REPORT, summary=" ")
    assert (await world.command("context")).private == ""


async def test_there_is_no_context_without_a_conversation(world: World) -> None:
    reply = await world.command("context")
    assert reply == CommandReply(command_texts.NEEDS_CONVERSATION["context"])


async def test_a_mention_with_the_word_context_is_answered_once(world: World) -> None:
    world.reporter.reports[key()] = REPORT
    await world.ask(1)
    assert await say(world, 2, "context") is Receipt.COMMAND
    assert await say(world, 2, "context") is Receipt.KNOWN
    assert len(world.adapter.said) == 1
    assert await say(world, 3, "context please") is Receipt.QUESTION


async def test_a_command_that_was_a_question_is_not_executed(world: World) -> None:
    """Slack sends a mention again when it is edited."""
    await world.ask(1)
    source = said(1, "why?").source
    with pytest.raises(CommandDone):
        await world.store.choose_effort(key(), Effort.LOW, source=source)
    assert (await world.store.find(key())).effort is None  # type: ignore[union-attr]
