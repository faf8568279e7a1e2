"""The core on a real database: messages, commands and failing models, from receipt to reply.

The platform is the strict surface of `tests.support.surfaces`, and the model is scripted;
everything between them is the product's code.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.domain import command_texts, texts
from bot.domain.errors import (
    ContentRefused,
    ContextTooLong,
    CutOff,
    Gone,
    KeyRefused,
    ModelError,
    ModelFailed,
    Overloaded,
    PlatformError,
    RateLimited,
    Refused,
    StoreUnavailable,
    TimedOut,
    UnknownModel,
)
from bot.domain.inbox import Address, Command, Receipt
from bot.domain.model import Delta, ReasoningDisplay, Usage
from bot.domain.replies import Control, Request
from bot.inbox import commands
from bot.turns.outcome import MAX_DISPLAY_FAILURES, MAX_FAILURES
from tests.support.core_kit import World, until, world_at, world_of
from tests.support.store_kit import ANN, ANSWER, BEN, claim_next, key, look, opened, said


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path / "threadline.db") as world:
        yield world


# ── messages ──────────────────────────────────────────────────────────────────────────────────
async def test_a_question_is_answered_and_kept_in_the_history(world: World) -> None:
    assert await world.ask(1, "first") is Receipt.QUESTION
    assert await world.ask(2, "second", address=Address.FOLLOW_UP) is Receipt.QUESTION
    assert world.shown() == ["Hello.", "Hello."]
    assert world.contents() == ["first", "Hello.", "second"]
    assert world.outcomes() == [("answered", None)] * 2


async def test_a_repeated_message_changes_nothing(world: World) -> None:
    await world.ask(1)
    assert await world.ask(1) is Receipt.KNOWN
    assert world.shown() == ["Hello."]


async def test_a_follow_up_in_an_unknown_thread_is_ignored_but_may_be_a_question_later(
    world: World,
) -> None:
    assert await world.ask(1, address=Address.FOLLOW_UP) is Receipt.IGNORED
    assert await world.ask(1, address=Address.MENTION) is Receipt.QUESTION


async def test_an_aside_is_history_for_the_next_question(world: World) -> None:
    await world.ask(1, "first")
    receipt = await world.ask(2, "Ben, look", address=Address.ASIDE)
    assert receipt is Receipt.HISTORY
    assert len(world.model.requests) == 1
    await world.ask(3, "now you", author=BEN, address=Address.FOLLOW_UP)
    assert world.named_contents() == ["Ann: first", "Hello.", "Ann: Ben, look\n\nBen: now you"]


async def test_an_old_thread_is_read_once_and_becomes_history(world: World) -> None:
    world.adapter.old = (said(1, "we could use cats"), said(2, "or dogs", author=BEN))
    question = replace(said(3, "which?"), in_old_thread=True)
    await world.inbox.receive(question)
    await world.idle()
    assert world.named_contents() == ["Ann: we could use cats\n\nBen: or dogs\n\nAnn: which?"]
    await world.inbox.receive(replace(said(4, "again"), in_old_thread=True))
    await world.idle()
    assert world.adapter.reads == 1


async def test_the_posts_above_a_mention_become_history_and_are_no_questions(world: World) -> None:
    world.adapter.old = (said(1, "Disk full.", author=BEN),)
    await world.inbox.receive(replace(said(2, "what is this?"), stands_alone=True))
    await world.idle()
    assert world.named_contents() == ["Ben: Disk full.\n\nAnn: what is this?"]
    assert len(world.model.requests) == 1


async def test_a_mention_without_text_in_an_old_thread_asks_about_its_history(world: World) -> None:
    world.adapter.old = (said(1, "what is 6 x 7?"),)
    await world.inbox.receive(replace(said(2, ""), in_old_thread=True))
    await world.idle()
    assert world.contents() == ["what is 6 x 7?"]
    assert world.shown() == ["Hello."]


@pytest.mark.parametrize("fault", [PlatformError("no access"), Gone("no such thread")])
async def test_an_unreadable_old_thread_does_not_prevent_the_answer(
    world: World, fault: Exception
) -> None:
    world.adapter.backlog_fault = fault
    await world.inbox.receive(replace(said(3, "which?"), in_old_thread=True))
    await world.idle()
    assert world.shown() == ["Hello."]


async def test_reading_an_old_thread_has_a_time_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading must not delay the acknowledgement: the question is answered without the history."""
    monkeypatch.setattr("bot.inbox.backlog.BACKLOG_SECONDS", 0.05)
    world.adapter.slow_backlog = True
    receipt = await world.inbox.receive(replace(said(3, "which?"), in_old_thread=True))
    assert receipt is Receipt.QUESTION
    await world.idle()
    assert world.shown() == ["Hello."]


async def test_a_mention_without_text_in_a_channel_gets_a_hint_and_no_model_call(
    world: World,
) -> None:
    await world.ask(1, "")
    assert world.shown() == [texts.NO_QUESTION]
    assert world.model.requests == []


# ── the model's output ────────────────────────────────────────────────────────────────────────
SENTENCES = [
    (RateLimited(retry_after=20), "Please ask again in 20 seconds."),
    (RateLimited(retry_after=600), "Please ask again in 10 minutes."),
    (RateLimited(), "in a minute."),
    (Overloaded(), "overloaded right now"),
    (KeyRefused(), "refused my key"),
    (UnknownModel(), "does not exist"),
    (ContextTooLong(), "too long for the model"),
    (ContentRefused(), "content filter"),
    (TimedOut(), "took too long to begin"),
    (ModelFailed("secret detail"), "The model failed."),
]


@pytest.mark.parametrize(("error", "sentence"), SENTENCES, ids=lambda value: type(value).__name__)
async def test_each_failure_shows_a_sentence_and_is_not_kept_as_an_answer(
    world: World, error: ModelError, sentence: str
) -> None:
    world.model.pieces = (error,)
    await world.ask(1, "first")
    (shown,) = world.shown()
    assert sentence in shown
    assert "secret" not in shown
    assert world.outcomes() == [("failed", type(error).__name__)]
    world.model.pieces = (Delta("Hello."), Delta(finish_reason="stop"))
    await world.ask(2, "second")
    assert world.contents() == ["first\n\nsecond"]


@pytest.mark.parametrize("error", [CutOff(), TimedOut(started=True), Overloaded()])
async def test_a_failure_in_mid_answer_keeps_the_text(world: World, error: ModelError) -> None:
    world.model.pieces = (Delta("Half an "), Delta("answer"), error)
    await world.ask(1)
    (shown,) = world.shown()
    assert shown.startswith("Half an answer\n\n_")
    assert world.outcomes() == [("cut_off", type(error).__name__)]
    await world.ask(2, "go on")
    assert world.contents() == ["why?", "Half an answer", "go on"]


async def test_a_sentence_after_an_open_code_block_is_not_code(world: World) -> None:
    world.model.pieces = (Delta("```py\nx = 1\n"), CutOff())
    await world.ask(1)
    (shown,) = world.shown()
    assert shown.index("```", 3) < shown.index("_The connection")


@pytest.mark.parametrize(
    ("reason", "text", "outcome", "sentence"),
    [
        ("length", "So long", "answered", texts.LENGTH_LIMIT),
        ("content_filter", "So", "cut_off", "content filter"),
        ("content_filter", "", "failed", "content filter"),
        ("stop", "  \n", "failed", texts.EMPTY_ANSWER),
    ],
)
async def test_unusual_finish_reasons(
    world: World, reason: str, text: str, outcome: str, sentence: str
) -> None:
    world.model.pieces = (Delta(text), Delta(finish_reason=reason, usage=Usage(3, 4)))
    await world.ask(1)
    assert sentence in world.shown()[0]
    assert world.outcomes()[0][0] == outcome
    assert look(world.path, "SELECT input_tokens, output_tokens FROM turns") == [(3, 4)]


# ── reasoning ─────────────────────────────────────────────────────────────────────────────────
STOP = Delta(finish_reason="stop")
QUOTE = f"> _{texts.THOUGHTS}_\n> "


async def test_hidden_reasoning_is_neither_shown_nor_stored_nor_sent_again(world: World) -> None:
    world.model.pieces = (Delta(reasoning="Hm, "), Delta("Yes", "well"), Delta("."), STOP)
    await world.ask(1, "first")
    await world.ask(2, "second")
    assert world.shown() == ["Yes.", "Yes."]
    assert look(world.path, "SELECT content FROM messages WHERE role = 'assistant'") == [
        ("Yes.",),
        ("Yes.",),
    ]
    assert world.contents() == ["first", "Yes.", "second"]


async def test_shown_reasoning_is_only_above_the_answer(tmp_path: Path) -> None:
    """An open fence in it does not affect the answer; reasoning after the first word is dropped."""
    async with world_at(tmp_path / "t.db", reasoning=ReasoningDisplay.SHOWN) as world:
        pieces = (Delta(reasoning="```\nHm"), Delta(reasoning="."), Delta("Yes, ", "x"))
        world.model.pieces = (*pieces, Delta(reasoning="more"), Delta("it is."), STOP)
        await world.ask(1, "first")
        assert world.shown() == [f"{QUOTE}\\`\\`\\`\n> Hm.x\n\nYes, it is."]
        await world.ask(2, "second")
        assert world.contents() == ["first", "Yes, it is.", "second"]


async def test_shown_reasoning_appears_while_the_model_thinks(tmp_path: Path) -> None:
    async with world_at(tmp_path / "t.db", reasoning=ReasoningDisplay.SHOWN) as world:
        world.model.hold = asyncio.Event()
        world.model.pieces = (Delta(reasoning="Hm."), Delta("Yes."), STOP)
        await world.inbox.receive(said(1))
        await until(lambda: world.shown() == [f"{QUOTE}Hm."])
        world.model.hold.set()
        await world.idle()
        assert world.shown() == [f"{QUOTE}Hm.\n\nYes."]


async def test_reasoning_of_a_model_that_failed_is_not_above_the_answer(tmp_path: Path) -> None:
    """In a chain, the first delta of the next model carries its name."""
    async with world_at(tmp_path / "t.db", reasoning=ReasoningDisplay.SHOWN) as world:
        first = Delta(reasoning="Wrong", model="a:1")
        world.model.pieces = (first, Delta("Yes.", model="b:2"), STOP)
        await world.ask(1)
        assert world.shown() == ["Yes."]


@pytest.mark.parametrize("form", ReasoningDisplay)
async def test_reasoning_alone_is_an_empty_answer(tmp_path: Path, form: ReasoningDisplay) -> None:
    """People can retry it, and it leaves nothing in the history."""
    async with world_at(tmp_path / "t.db", reasoning=form) as world:
        world.model.pieces = (Delta(reasoning="Hm."), Delta(finish_reason="stop"))
        await world.ask(1, "first")
        (shown,) = world.shown()
        assert shown.endswith(f"_{texts.EMPTY_ANSWER}_")
        assert ("Hm." in shown) == (form is ReasoningDisplay.SHOWN)
        (controls,) = world.adapter.platforms["t1"].controls.values()
        assert controls == (Control.RETRY,)
        assert world.outcomes() == [("failed", "empty answer")]
        await world.ask(2, "second")
        assert world.contents() == ["first\n\nsecond"]


async def test_reasoning_that_reaches_the_length_limit_shows_a_sentence(tmp_path: Path) -> None:
    async with world_at(tmp_path / "t.db") as world:
        world.model.pieces = (Delta(reasoning="Hm."), Delta(finish_reason="length"))
        await world.ask(1, "first")
        assert world.shown() == [f"_{texts.THOUGHT_TOO_LONG}_"]
        assert world.outcomes() == [("failed", "length limit")]


async def test_people_see_that_the_model_is_loading(tmp_path: Path) -> None:
    """A note stands in the reply's place until its first word."""
    async with world_at(tmp_path / "t.db") as world:
        world.model.pieces = (Delta(loading=True), Delta("Yes."), STOP)
        await world.ask(1)
        assert world.shown() == ["Yes."]


async def test_a_failure_during_reasoning_shows_only_a_sentence(world: World) -> None:
    world.model.pieces = (Delta(reasoning="Hm."), CutOff())
    await world.ask(1)
    assert world.outcomes() == [("failed", "CutOff")]
    assert world.shown() == [f"_{texts.model_failure(CutOff())}_"]


async def test_a_stop_during_reasoning_says_that_no_answer_began(world: World) -> None:
    world.model.hold = asyncio.Event()
    world.model.pieces = (Delta(reasoning="Hm."), Delta("Yes."))
    await world.inbox.receive(said(1))
    await until(lambda: bool(world.model.requests))
    await world.command("stop")
    await world.idle()
    assert world.shown() == [f"_{texts.STOPPED_EARLY}_"]


async def test_reasoning_without_an_opening_tag_is_not_kept(world: World) -> None:
    """Text streamed before the closing tag is removed at the end."""
    world.model.pieces = (*map(Delta, ("Hm", ".\n</th", "ink>\n", "\nYes.")), STOP)
    await world.ask(1, "first")
    assert world.shown() == ["Yes."]
    await world.ask(2, "second")
    assert world.contents() == ["first", "Yes.", "second"]


async def test_the_history_is_read_only_as_far_as_the_budget(world: World) -> None:
    for number in range(1, 25):
        await world.ask(number, f"{number} " + "x" * 750)  # about 250 tokens each
    sent = world.contents()
    assert sent[-1].startswith("24 ")
    assert 7 <= len([text for text in sent if text != "Hello."]) <= 16


# ── commands ──────────────────────────────────────────────────────────────────────────────────
async def test_the_reset_word_starts_over_and_says_so(world: World) -> None:
    await world.ask(1, "first")
    assert await world.ask(2, "reset") is Receipt.COMMAND
    await until(lambda: world.adapter.said == [texts.RESET_DONE])
    await world.ask(3, "third")
    assert world.contents() == ["third"]


async def test_a_redelivered_reset_does_not_remove_later_messages(world: World) -> None:
    await world.ask(1, "first")
    await world.ask(2, "reset")
    await world.ask(3, "third")
    assert await world.ask(2, "reset") is Receipt.KNOWN
    await world.ask(4, "fourth")
    assert world.contents() == ["third", "Hello.", "fourth"]


@pytest.mark.parametrize("word", [*commands.NAMES, "model other"])
async def test_a_command_is_executed_and_recorded_in_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """The process dies after the first commit, and the redelivery repeats nothing."""
    async with world_at(tmp_path / "threadline.db") as world:
        await world.ask(1, "first")
        write, commits = world.store._write, itertools.count()

        async def dies_later(transaction: Any, **locks: Any) -> Any:
            if next(commits):
                raise StoreUnavailable("dead")
            return await write(transaction, **locks)

        with monkeypatch.context() as patch, suppress(StoreUnavailable):
            patch.setattr(world.store, "_write", dies_later)
            patch.setattr(world.scheduler, "wake", lambda conversation: None)
            await world.inbox.receive(said(2, word))
    async with world_at(tmp_path / "threadline.db") as world:
        await world.inbox.connected("sim")
        await world.idle()
        before = list(look(world.path, "SELECT * FROM turns"))
        assert await world.ask(2, word) is Receipt.KNOWN
        assert look(world.path, "SELECT * FROM turns") == before
        assert world.adapter.said == []


async def test_a_question_edited_to_a_command_word_executes_nothing(world: World) -> None:
    """Slack sends app_mention again for an edited message, which is stored as a question."""
    await world.ask(1, "first")
    assert await world.ask(1, "reset") is Receipt.KNOWN
    await world.ask(2, "second")
    assert world.contents() == ["first", "Hello.", "second"]


async def test_a_command_that_arrives_twice_concurrently_is_executed_once(world: World) -> None:
    await world.ask(1, "first")
    receipts = await asyncio.gather(*(world.inbox.receive(said(2, "reset")) for _ in range(5)))
    assert sorted(receipt.value for receipt in receipts) == ["command", *["known"] * 4]
    await until(lambda: len(world.adapter.said) == 1)


async def test_a_repeated_command_is_acknowledged_only_when_the_first_is_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack sends two events for a mention; acknowledging either ends both deliveries."""
    await world.ask(1, "first")
    stored, write = asyncio.Event(), world.store._write

    async def slowly(transaction: Any, **locks: Any) -> Any:
        await stored.wait()
        return await write(transaction, **locks)

    monkeypatch.setattr(world.store, "_write", slowly)
    both = [asyncio.create_task(world.inbox.receive(said(2, "reset"))) for _ in range(2)]
    done, _ = await asyncio.wait(both, timeout=0.1)
    assert not done
    stored.set()
    receipts = await asyncio.gather(*both)
    assert sorted(receipt.value for receipt in receipts) == ["command", "known"]


async def test_a_command_whose_reply_cannot_be_shown_is_still_executed(world: World) -> None:
    await world.ask(1, "first")
    world.adapter.backlog_fault = Gone("no such thread")
    assert await world.ask(2, "reset") is Receipt.COMMAND
    await world.inbox.aclose()
    await world.ask(3, "third")
    assert world.contents() == ["third"]


async def test_reset_interrupts_the_running_turn_and_skips_the_queue(world: World) -> None:
    world.model.hold = asyncio.Event()
    world.model.pieces = (Delta("Never whole"), Delta(" never"), Delta(finish_reason="stop"))
    await world.inbox.receive(said(1, "first"))
    await until(lambda: world.shown() == ["Never whole"])
    await world.inbox.receive(said(2, "second"))
    answer = await world.inbox.command(Command(name="reset", key=key(), author=ANN))
    assert answer.text == texts.RESET_DONE
    await world.idle()
    assert world.shown() == [f"Never whole\n\n_{texts.RESET_MEANWHILE}_"]
    assert world.outcomes() == [("reset", None), ("reset", None)]
    world.model.hold = None
    world.model.pieces = (Delta("Hello."), Delta(finish_reason="stop"))
    await world.ask(3, "third")
    assert world.contents() == ["third"]


async def test_a_stop_keeps_the_text_shown_so_far(world: World) -> None:
    world.model.hold = asyncio.Event()
    world.model.pieces = (Delta("As far as"), Delta(" this"))
    await world.inbox.receive(said(1, "first"))
    await until(lambda: world.shown() == ["As far as"])
    answer = await world.inbox.command(Command(name="stop", key=key(), author=ANN))
    assert answer.text == texts.STOP_DONE
    await world.idle()
    assert world.shown() == ["As far as\n\n_Stopped._"]
    again = await world.inbox.command(Command(name="stop", key=key(), author=ANN))
    assert again.text == texts.NOTHING_TO_STOP


async def test_a_model_is_chosen_for_one_conversation(world: World) -> None:
    async def choose(argument: str) -> str:
        return (await world.command("model", argument)).text

    assert await choose("other") == command_texts.NEEDS_CONVERSATION["model"]
    await world.ask(1)
    assert "`scripted`" in await choose("")
    assert "not offered" in await choose("openai:secret")
    assert "`other`" in await choose("other")
    await world.ask(2, "with the other")
    await world.ask(3, "elsewhere", where=key("t2"))
    assert [len(world.other.requests), len(world.model.requests)] == [1, 2]


async def test_an_unknown_command_shows_the_help(world: World) -> None:
    answer = await world.inbox.command(Command(name="dance", key=key(), author=ANN))
    assert answer.text == texts.HELP


async def test_recent_conversations_are_offered_by_name(world: World) -> None:
    await world.ask(1, "about cats", where=key("t1"))
    await world.ask(2, "about dogs", where=key("t2"), author=BEN)
    choices = await world.inbox.recent(key(""), ANN.id)
    assert [(choice.label, choice.command, choice.key) for choice in choices] == [
        ("about cats", "reset", key("t1"))
    ]


# ── failures ──────────────────────────────────────────────────────────────────────────────────
async def test_a_deleted_thread_ends_its_turn_and_the_next_turn_works(world: World) -> None:
    world.adapter.faults.append(Gone("the thread was deleted"))
    world.model.hold = asyncio.Event()
    await world.inbox.receive(said(1))
    await world.idle()
    assert world.outcomes() == [("gone", None)]
    world.model.hold = None
    assert world.shown() == []
    await world.ask(2, "again")
    assert world.shown() == ["Hello."]


async def test_a_refused_reply_is_shown_as_plain_text(world: World) -> None:
    def refuse(request: Request) -> None:
        if texts.SHOWN_PLAINLY not in request.text:
            raise Refused("invalid_blocks")

    world.adapter.refuses = refuse
    await world.ask(1)
    (shown,) = world.shown()
    assert "Hello." in shown
    assert world.outcomes() == [("answered", None)]


async def test_a_full_queue_shows_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        world = world_of(path, store, max_concurrent=1, max_queued=1)
        world.model.hold = asyncio.Event()
        for number in range(1, 4):
            await world.inbox.receive(said(number, where=key(f"t{number}")))
            await asyncio.sleep(0.02)
        await until(lambda: world.shown("t3") == [f"_{texts.TOO_BUSY}_"])
        world.model.hold.set()
        await world.idle()
        assert world.shown("t2") == ["Hello."]


async def test_a_stored_result_is_shown_after_a_crash_without_the_model(tmp_path: Path) -> None:
    """The process died between storing the result and showing the last page."""
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        world = world_of(path, store)
        accepted = await store.accept(said(1))
        assert accepted.conversation is not None
        claim = await store.claim(accepted.conversation)
        assert claim is not None
        ended = replace(ANSWER, content="From before.", display="From before.")
        await store.conclude(claim.fence, ended)
    async with opened(path) as store:
        world = world_of(path, store)
        await world.inbox.connected("sim")
        await world.idle()
        assert world.shown() == ["From before."]
        assert world.model.requests == []
        assert look(path, "SELECT state FROM turns") == [("done",)]


async def test_a_turn_that_keeps_failing_is_given_up_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        accepted = await store.accept(said(1))
        assert accepted.conversation is not None
        for _ in range(MAX_FAILURES):
            assert await store.claim(accepted.conversation) is not None
        world = world_of(path, store)
        await world.inbox.connected("sim")
        await world.idle()
        assert world.shown() == [f"_{texts.GAVE_UP}_"]
        assert world.model.requests == []


async def test_an_answer_that_cannot_be_shown_does_not_block_its_conversation(
    tmp_path: Path,
) -> None:
    """A sentence replaces the answer, which stays in the history."""
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        accepted = await store.accept(said(1, "first"))
        assert accepted.conversation is not None
        claim = await store.claim(accepted.conversation)
        assert claim is not None
        await store.conclude(claim.fence, replace(ANSWER, content="Poison.", display="Poison."))
        for _ in range(MAX_DISPLAY_FAILURES - 1):
            assert await store.claim(accepted.conversation) is not None
        world = world_of(path, store)
        await world.inbox.connected("sim")
        await world.ask(2, "second")
        assert world.shown() == [f"_{texts.NOT_SHOWN}_", "Hello."]
        assert world.contents() == ["first", "Poison.", "second"]


async def test_an_answer_whose_words_are_refused_is_replaced_by_a_sentence(tmp_path: Path) -> None:
    """A server's word filter refuses them in any form. People should not wait for 24 attempts."""

    def refuse(request: Request) -> None:
        if "Hello" in request.text:
            raise Refused("Message was blocked by automatic moderation", code="200000")

    async with world_at(tmp_path / "threadline.db") as world:
        world.adapter.refuses = refuse
        await world.ask(1, "first")
        assert world.shown() == [f"_{texts.NOT_ACCEPTED}_"]
        world.model.pieces = (Delta("Bye."), Delta(finish_reason="stop"))
        await world.ask(2, "second")
        assert world.shown()[1] == "Bye."
        assert world.contents() == ["first", "Hello.", "second"]


async def test_a_place_that_takes_no_reply_at_all_does_not_block_its_conversation(
    tmp_path: Path,
) -> None:
    def refuse(_request: Request) -> None:
        raise Refused("no")

    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        accepted = await store.accept(said(1, "first"))
        for _ in range(MAX_DISPLAY_FAILURES + 1):
            claim = await claim_next(store, accepted.conversation)
        await store.conclude(claim.fence, ANSWER)
        world = world_of(path, store)
        world.adapter.refuses = refuse
        await world.inbox.connected("sim")
        await world.idle()
        assert look(path, "SELECT state, outcome FROM turns") == [("done", "answered")]


async def test_a_turn_that_was_reset_before_its_claim_is_not_answered(tmp_path: Path) -> None:
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        accepted = await store.accept(said(1))
        assert accepted.conversation is not None
        await store.claim(accepted.conversation)
        await store.reset(key())
        world = world_of(path, store)
        await world.inbox.connected("sim")
        await world.idle()
        assert world.outcomes() == [("reset", None)]
        assert world.model.requests == []


async def test_questions_beyond_the_budget_are_reported_to_person_and_model(
    tmp_path: Path,
) -> None:
    """They wait for a running turn; a line below the answer says that only some were read."""
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        world = world_of(path, store)
        world.model.hold = asyncio.Event()
        await world.inbox.receive(said(1, "first"))
        await until(lambda: len(world.model.requests) == 1)
        for number in range(2, 40):
            await world.inbox.receive(said(number, f"{number}: " + "long " * 1_000))
        world.model.hold.set()
        await world.idle()
    request = world.model.requests[-1]
    assert sum(len(message.content) for message in request.messages) < 3 * 4_100
    assert "left out" in request.messages[-1].content
    assert "39: long" in request.messages[-1].content
    assert world.shown()[-1].endswith(f"_{texts.SHORTENED}_")
    assert texts.SHORTENED not in str(
        look(path, "SELECT content FROM messages WHERE role='assistant'")
    )
