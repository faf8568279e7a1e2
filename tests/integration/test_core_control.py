"""Stop, retry, continue, undo, edits and deletions: their effect on turns and database.

The adapters' tests cover the buttons and words themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.context.roles import UNSAID
from bot.domain import texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import CutOff, Overloaded, StoreUnavailable
from bot.domain.inbox import Address, Change, Effect, Receipt
from bot.domain.model import Delta
from bot.domain.replies import Control
from bot.domain.turns import Outcome
from bot.replies.ledger import COMMIT_WAIT
from tests.support.core_kit import CHANNEL, World, until, world_at
from tests.support.store_kit import BEN, claim_next, key, look, opened, said
from tests.support.surfaces import Platform

STOP_REASON = Delta(finish_reason="stop")
GOES_ON = (Control.RETRY, Control.CONTINUE)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path / "threadline.db") as world:
        yield world


def says(world: World, *pieces: str, reason: str = "stop") -> None:
    world.model.pieces = (*(Delta(piece) for piece in pieces), Delta(finish_reason=reason))


async def start_reply(world: World, number: int = 1, text: str = "first") -> None:
    """Ask a question; returns once the first piece of its answer is shown, and the model waits."""
    world.model.hold = asyncio.Event()
    platform = world.adapter.platforms.setdefault("t1", Platform())
    before = len(platform.versions)
    await world.inbox.receive(said(number, text))
    await until(lambda: len(platform.versions) > before)


def release(world: World) -> None:
    if world.model.hold is not None:
        world.model.hold.set()
    world.model.hold = None


def message_of(world: World, number: int = 0) -> str:
    return sorted(world.adapter.platforms["t1"].texts)[number]


def controls(world: World) -> tuple[Control, ...]:
    platform = world.adapter.platforms["t1"]
    return platform.controls[max(platform.texts, key=lambda m: int(m[1:]))]


async def edit(world: World, number: int, text: str, at: float | None = None) -> None:
    incoming = said(number, text, address=Address.FOLLOW_UP)
    await world.inbox.edited(incoming, time.time() if at is None else at)


# ── buttons ───────────────────────────────────────────────────────────────────────────────────
async def test_a_growing_reply_offers_stop_and_its_last_edit_retry(
    world: World,
) -> None:
    """The last buttons are part of the request that shows the last text."""
    says(world, "Half ", "whole.")
    await start_reply(world)
    assert controls(world) == (Control.STOP,)
    release(world)
    await world.idle()
    assert world.shown() == ["Half whole."]
    assert controls(world) == (Control.RETRY, Control.FEEDBACK)
    final = [request for request in world.adapter.surfaces[0].requests if request.final]
    assert [(r.text, r.controls) for r in final] == [
        ("Half whole.", (Control.RETRY, Control.FEEDBACK))
    ]


@pytest.mark.parametrize(
    ("pieces", "offered"),
    [
        ((Delta("So long"), Delta(finish_reason="length")), (*GOES_ON, Control.FEEDBACK)),
        ((Delta("Half"), CutOff()), (*GOES_ON, Control.FEEDBACK)),
        ((Overloaded(),), (Control.RETRY,)),
        ((Delta(" "), STOP_REASON), (Control.RETRY,)),
    ],
)
async def test_the_buttons_depend_on_the_outcome(
    world: World, pieces: tuple[Delta, ...], offered: tuple[Control, ...]
) -> None:
    world.model.pieces = pieces
    await world.ask(1)
    assert controls(world) == offered


async def test_a_hint_without_the_model_has_no_buttons(world: World) -> None:
    await world.ask(1, "")
    assert controls(world) == ()


# ── stop ──────────────────────────────────────────────────────────────────────────────────────
async def test_a_stopped_reply_offers_retry_and_continue(world: World) -> None:
    says(world, "As far as", " this")
    await start_reply(world)
    assert (await world.command("stop", "1")).text == texts.STOP_DONE
    await world.idle()  # although nothing releases the model
    assert world.shown() == ["As far as\n\n_Stopped._"]
    assert controls(world) == (*GOES_ON, Control.FEEDBACK)


async def test_the_stop_button_of_an_older_reply_stops_no_other(world: World) -> None:
    """Such a button remains if the bot could not edit its message."""
    await world.ask(1)
    says(world, "More", " text")
    await start_reply(world, 2, "second")
    assert (await world.command("stop", "1")).text == texts.NOTHING_TO_STOP
    release(world)
    await world.idle()
    assert world.shown()[-1] == "More text"


async def test_a_stop_outlives_the_process(tmp_path: Path) -> None:
    """The process dies between the stop and the end of the turn; after a restart, no model is
    asked."""
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        await store.accept(said(1, "first"))
        await claim_next(store, 1)
        change = await store.stop(key(), None, source=said(2).source)
        assert (change.effect, change.turn) == (Effect.STOP, 1)
    async with world_at(path) as world:
        await world.inbox.connected("sim")
        await world.idle()
        assert world.shown() == ["_Stopped._"]
        assert (world.outcomes(), world.model.requests) == ([("stopped", None)], [])
        await world.command("retry", "1")
        await world.idle()
        assert world.shown() == ["Hello."]


@pytest.mark.parametrize("fault", ["refuses", "hangs"])
@pytest.mark.parametrize("how", ["word", "button"])
async def test_a_stop_ends_the_models_request_even_if_the_database_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str, fault: str
) -> None:
    """A stop word is then not acknowledged, so it is delivered again."""
    says(world, "As far as", " this")
    ended = asyncio.Event()
    monkeypatch.setattr(world.model, "ended", ended.set)
    await start_reply(world)

    async def fails(*_: object, **__: object) -> Change:
        if fault == "hangs":
            await asyncio.Event().wait()
        raise StoreUnavailable("locked")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "stop", fails)
        if how == "button":
            assert (await world.command("stop", "1")).text == texts.STOP_DONE
        else:
            with pytest.raises(StoreUnavailable):
                await world.inbox.receive(said(2, "stop"))
        await ended.wait()
    await world.idle()
    assert world.shown() == ["As far as\n\n_Stopped._"]
    if how == "word":
        assert await world.inbox.receive(said(2, "stop")) is Receipt.COMMAND


async def test_a_redelivered_stop_stops_no_later_reply(world: World) -> None:
    says(world, "As far as", " this")
    await start_reply(world)
    await world.inbox.receive(said(2, "stop"))
    await world.idle()
    await start_reply(world, 3, "second")
    assert await world.inbox.receive(said(2, "stop")) is Receipt.KNOWN
    release(world)
    await world.idle()
    assert world.shown()[-1] == "As far as this"


async def test_a_stop_word_does_not_wait_for_queued_questions(world: World) -> None:
    says(world, "As far as", " this")
    await start_reply(world)
    await world.inbox.receive(said(2, "second"))
    assert await world.inbox.receive(said(3, "stop")) is Receipt.COMMAND
    await until(lambda: world.shown()[0] == "As far as\n\n_Stopped._")
    release(world)
    await world.idle()
    assert world.shown()[1] == "As far as this"


# ── retry ─────────────────────────────────────────────────────────────────────────────────────
async def test_retry_rewrites_the_reply_in_place(world: World) -> None:
    await world.ask(1, "first")
    message = message_of(world)
    says(world, "Better.")
    assert (await world.command("retry", "1")).text == ""
    await world.idle()
    assert world.shown() == ["Better."]
    assert message_of(world) == message
    assert world.contents() == ["first"]
    await world.ask(2, "second")
    assert world.contents() == ["first", "Better.", "second"]


async def test_a_shorter_answer_removes_the_pages_of_the_longer_one(world: World) -> None:
    says(world, "word " * 1_000)
    await world.ask(1)
    assert len(world.shown()) == 3
    says(world, "Short.")
    await world.command("retry")
    await world.idle()
    assert world.shown() == ["Short."]
    assert look(world.path, "SELECT count(*) FROM pages") == [(1,)]


async def test_retry_may_be_repeated(world: World) -> None:
    """Only attempts that fail count towards giving a turn up."""
    await world.ask(1)
    for number in range(6):
        says(world, f"Answer {number}.")
        await world.ask(10 + number, "retry")
        assert world.shown() == [f"Answer {number}."]


async def test_retrying_a_failed_turn_answers_it(world: World) -> None:
    world.model.pieces = (Overloaded(),)
    await world.ask(1, "first")
    says(world, "Now.")
    await world.command("retry", "1")
    await world.idle()
    assert world.shown() == ["Now."]
    assert world.outcomes() == [("answered", None)]


async def test_retry_during_a_reply_or_of_an_older_one_says_why_not(world: World) -> None:
    assert (await world.command("retry")).text == texts.NOTHING_TO_RETRY
    says(world, "One", ".")
    await start_reply(world)
    assert (await world.command("retry", "1")).text == texts.STILL_WRITING
    release(world)
    await world.idle()
    await world.ask(2)
    assert (await world.command("retry", "1")).text == texts.NOT_THE_NEWEST
    await world.command("reset")
    assert (await world.command("retry")).text == texts.NOTHING_TO_RETRY


async def test_a_redelivered_retry_is_executed_once(world: World) -> None:
    await world.ask(1)
    assert await world.ask(2, "retry") is Receipt.COMMAND
    assert await world.ask(2, "retry") is Receipt.KNOWN
    assert len(world.model.requests) == 2


async def test_a_reopened_reply_is_written_after_a_crash(
    tmp_path: Path,
) -> None:
    path = tmp_path / "threadline.db"
    async with world_at(path) as world:
        await world.ask(1, "first")
        await world.store.reopen(key(), 1)
        platforms = world.adapter.platforms
    async with world_at(path) as world:
        world.adapter.platforms = platforms
        says(world, "After the start.")
        await world.inbox.connected("sim")
        await world.idle()
        assert world.shown() == ["After the start."]


# ── continue ──────────────────────────────────────────────────────────────────────────────────
async def test_continue_asks_for_the_rest_below(world: World) -> None:
    says(world, "Half of", reason="length")
    await world.ask(1, "first")
    says(world, " it.")
    assert (await world.command("continue", "1")).text == ""
    await world.idle()
    assert world.contents() == ["first", "Half of", texts.GO_ON]
    assert len(world.shown()) == 2


async def test_continue_pressed_twice_continues_once(world: World) -> None:
    await world.ask(1)
    answers = [(await world.command("continue", "1")).text for _ in range(2)]
    assert answers == ["", texts.NOT_THE_NEWEST]
    await world.idle()
    assert len(world.shown()) == 2


async def test_continue_without_an_answer_says_so(world: World) -> None:
    assert (await world.command("continue")).text == texts.NOTHING_TO_CONTINUE
    world.model.pieces = (Overloaded(),)
    await world.ask(1)
    assert (await world.command("continue")).text == texts.NOTHING_TO_CONTINUE


# ── edits ─────────────────────────────────────────────────────────────────────────────────────
async def test_editing_the_last_question_rewrites_its_reply_in_place(world: World) -> None:
    await world.ask(1, "frist")
    message = message_of(world)
    says(world, "Better.")
    await edit(world, 1, "first")
    await world.idle()
    assert world.shown() == ["Better."]
    assert message_of(world) == message
    assert world.contents() == ["first"]


async def test_an_edit_during_the_reply_restarts_it(world: World) -> None:
    says(world, "Old", " answer")
    await start_reply(world, 1, "frist")
    message = message_of(world)
    world.model.hold = None
    says(world, "New answer")
    await edit(world, 1, "first")
    await world.idle()
    assert world.shown() == ["New answer"]
    assert message_of(world) == message
    assert [len(world.contents(i)) for i in range(len(world.model.requests))] == [1, 1]
    assert world.contents() == ["first"]
    assert world.outcomes() == [("answered", None)]


async def test_a_stop_right_after_an_edit_stops_the_new_attempt(world: World) -> None:
    """No attempt runs in between; the stop must not get lost there."""
    says(world, "Old", " answer")
    await start_reply(world, 1, "frist")
    says(world, "New", " answer")
    change = await world.store.edit(said(1).source, "first", time.time())
    world.scheduler.restart(change.conversation, change.turn)
    assert world.scheduler.interrupt(change.conversation, Outcome.STOPPED)
    await world.idle()
    assert world.outcomes() == [("stopped", None)]
    assert "answer" not in world.shown()[0].replace(texts.STOPPED_EARLY, "")


async def test_editing_an_older_question_affects_only_later_turns(world: World) -> None:
    await world.ask(1, "frist")
    await world.ask(2, "second")
    await edit(world, 1, "first")
    await world.idle()
    assert len(world.model.requests) == 2
    await world.ask(3, "third")
    assert world.contents() == ["first", "Hello.", "second", "Hello.", "third"]


async def test_editing_a_waiting_question_changes_the_request(world: World) -> None:
    says(world, "One", ".")
    await start_reply(world)
    await world.inbox.receive(said(2, "secnod"))
    await edit(world, 2, "second")
    release(world)
    await world.idle()
    assert world.contents() == ["first", "One.", "second"]
    assert len(world.shown()) == 2


async def test_an_edit_event_with_the_same_text_changes_nothing(world: World) -> None:
    await world.ask(1, "first")
    await edit(world, 1, "first")
    await world.idle()
    assert len(world.model.requests) == 1


async def test_a_recent_edit_that_adds_a_mention_is_a_question(
    world: World,
) -> None:
    incoming = said(1, "hello")
    await world.inbox.edited(incoming, time.time() - 3_600)
    await world.inbox.edited(replace(incoming, address=Address.FOLLOW_UP), time.time())
    await world.idle()
    assert world.shown() == []
    await world.inbox.edited(incoming, time.time())
    await world.idle()
    assert world.shown() == ["Hello."]


async def test_an_edit_that_overtakes_its_message_is_not_lost(world: World) -> None:
    """The message failed to be stored and is delivered again, or another process is storing it."""
    await world.ask(1, "first")
    corrected = replace(
        said(2, "corrected", address=Address.FOLLOW_UP), sent_at=time.time(), edited_at=time.time()
    )
    await world.inbox.edited(corrected, time.time())
    await world.idle()
    late = replace(corrected, text="mistaken", edited_at=None)
    assert await world.inbox.receive(late) is Receipt.KNOWN
    await world.idle()
    assert world.contents() == ["first", "Hello.", "corrected"]
    assert len(world.model.requests) == 2


@pytest.mark.parametrize(("number", "age"), [(2, 3_600.0), (0, 0.0)])
async def test_an_edit_of_an_unknown_message_that_is_old_or_from_before_asks_nothing(
    world: World, number: int, age: float
) -> None:
    await world.ask(1, "first")
    unknown = said(number, "corrected", address=Address.FOLLOW_UP)
    await world.inbox.edited(replace(unknown, sent_at=time.time() - age), time.time())
    await world.idle()
    assert len(world.model.requests) == 1


# ── deletions ─────────────────────────────────────────────────────────────────────────────────
async def test_a_deleted_question_is_in_no_later_request_but_its_answer_is(world: World) -> None:
    await world.ask(1, "secret")
    await world.inbox.deleted(said(1).source)
    assert await world.ask(1, "secret") is Receipt.KNOWN
    await world.ask(2, "second")
    assert world.contents() == [UNSAID, "Hello.", "second"]
    assert len(world.shown()) == 2
    assert look(world.path, "SELECT 1 FROM messages WHERE content LIKE '%secret%'") == []


async def test_deleting_the_question_during_the_reply_stops_it(world: World) -> None:
    says(world, "As far as", " this")
    await start_reply(world)
    await world.inbox.deleted(said(1).source)
    await world.idle()
    assert world.shown() == ["As far as\n\n_Stopped._"]
    assert world.outcomes() == [("stopped", None)]


async def test_deleting_one_of_two_questions_restarts_the_reply_to_the_other(world: World) -> None:
    await world.store.accept(said(1, "first"))
    says(world, "About both", ".")
    await start_reply(world, 2, "secret")
    assert world.contents() == ["first\n\nsecret"]
    world.model.hold = None
    says(world, "About the first.")
    await world.inbox.deleted(said(2).source)
    await world.idle()
    assert world.contents() == ["first"]
    assert world.shown() == ["About the first."]


async def test_a_reply_is_deleted_with_its_question_if_the_setting_says_so(tmp_path: Path) -> None:
    async with world_at(tmp_path / "threadline.db", with_reply=True) as world:
        says(world, "word " * 1_000)
        await world.ask(1, "secret")
        assert len(world.shown()) == 3
        await world.inbox.deleted(said(1).source)
        await world.idle()
        assert world.shown() == []
        says(world, "Hello.")
        await world.ask(2, "second")
        assert world.contents() == ["second"]


async def test_a_growing_reply_is_deleted_with_its_question(tmp_path: Path) -> None:
    async with world_at(tmp_path / "threadline.db", with_reply=True) as world:
        says(world, "As far as", " this")
        await start_reply(world)
        await world.inbox.deleted(said(1).source)
        await world.idle()
        assert world.shown() == []
        assert world.outcomes() == [("stopped", None)]


async def test_a_deleted_reply_leaves_the_history_and_can_be_retried(world: World) -> None:
    await world.ask(1, "first")
    await delete_message(world)
    await world.idle()
    says(world, "Once more.")
    await world.command("retry")
    await world.idle()
    assert world.shown() == ["Once more."]
    await delete_message(world)
    await world.ask(2, "second")
    assert world.contents() == ["first\n\nsecond"]


async def test_deleting_a_growing_reply_ends_its_turn(world: World) -> None:
    says(world, "As far as", " this")
    await start_reply(world)
    await delete_message(world)
    await world.idle()
    assert world.shown() == []
    assert look(world.path, "SELECT state, content FROM turns") == [("done", "")]
    release(world)
    says(world, "Hello.")
    await world.ask(2, "second")
    assert world.contents() == ["first\n\nsecond"]


@pytest.mark.parametrize("commit_seconds", [0.0, 3 * COMMIT_WAIT])
async def test_a_deletion_before_the_page_is_stored_ends_the_turn(
    world: World, commit_seconds: float
) -> None:
    """The message is shown and deleted before the database has stored it as a page.

    A slow commit ends in the background while the model is silent.
    """
    stored = world.store.record_shown
    deleted = asyncio.Event()

    async def slowly(*page: object, **place: str) -> None:
        if not deleted.is_set():
            await delete_message(world)
            deleted.set()
        await asyncio.sleep(commit_seconds)
        await stored(*page, **place)  # type: ignore[arg-type]

    world.store.record_shown = slowly  # type: ignore[method-assign]
    says(world, "As far as", " this")
    await start_reply(world)
    await world.idle()
    assert world.shown() == []
    assert look(world.path, "SELECT state, content FROM turns") == [("done", "")]
    assert len(world.model.requests) == 1


class EchoingTexts(dict[str, str]):
    """The texts of a platform that reports every deletion, including the bot's."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world, self.reports = world, list[asyncio.Task[None]]()

    def __delitem__(self, message: str) -> None:
        super().__delitem__(message)
        report = self._world.inbox.deleted(f"sim/w1/{CHANNEL}/{message}")
        self.reports.append(asyncio.create_task(report))


async def test_a_delete_event_for_a_page_that_the_bot_removed_changes_nothing(world: World) -> None:
    """Adapters forget their own deletions in a restart, and an event may be repeated."""
    texts = EchoingTexts(world)
    world.adapter.platforms["t1"] = Platform(texts=texts)
    says(world, "word " * 1_000)
    await world.ask(1, "first")
    says(world, "Short.")
    await world.command("retry")
    await world.idle()
    await asyncio.gather(*texts.reports)
    assert len(texts.reports) == 2
    assert world.shown() == ["Short."]
    await world.ask(2, "second")
    assert world.contents() == ["first", "Short.", "second"]


async def delete_message(world: World) -> None:
    """A person deletes the bot's newest message, and the platform reports it."""
    platform = world.adapter.platforms["t1"]
    message = max(platform.texts, key=lambda m: int(m[1:]))
    del platform.texts[message]
    await world.inbox.deleted(f"sim/w1/{CHANNEL}/{message}")


# ── reset and undo ────────────────────────────────────────────────────────────────────────────
async def test_reset_offers_an_undo_button_that_works_once(world: World) -> None:
    await world.ask(1, "first")
    answer = await world.command("reset")
    (choice,) = answer.choices
    await world.ask(2, "second")
    assert (await world.command(choice.command, choice.argument)).text == texts.UNDO_DONE
    assert (await world.command(choice.command, choice.argument)).text == texts.NOTHING_TO_UNDO
    await world.ask(3, "third")
    assert world.contents() == ["first", "Hello.", "second", "Hello.", "third"]


async def test_the_undo_word_undoes_the_last_reset(world: World) -> None:
    await world.ask(1, "first")
    await world.ask(2, "reset")
    assert await world.ask(3, "undo") is Receipt.COMMAND
    await world.ask(4, "fourth")
    assert world.contents() == ["first", "Hello.", "fourth"]


# ── removed places ────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "place",
    [key(), ConversationKey("sim", "w1", "c1", ""), ConversationKey("sim", "w1", "", "")],
    ids=["thread", "channel", "workspace"],
)
async def test_a_deleted_channel_ends_the_replies_in_it(
    world: World, place: ConversationKey
) -> None:
    says(world, "As far as", " this")
    await start_reply(world)
    requests = len(world.model.requests)
    await world.inbox.gone(replace(place, workspace="another"))
    assert world.scheduler.busy == 1
    await world.inbox.gone(place)
    await world.idle()
    assert world.outcomes() == [("gone", None)]
    assert len(world.model.requests) == requests
    assert controls(world) == ()


# ── people ────────────────────────────────────────────────────────────────────────────────────
async def test_other_people_in_the_conversation_may_press_buttons(world: World) -> None:
    says(world, "As far as", " this")
    await start_reply(world)
    await world.inbox.receive(said(2, "stop", author=BEN))
    await world.idle()
    assert world.shown()[0].endswith("_Stopped._")


async def test_one_person_may_have_ten_conversations_concurrently(
    world: World,
) -> None:
    world.model.hold = asyncio.Event()
    for number in range(10):
        await world.inbox.receive(said(number, f"about {number}", where=key(f"t{number}")))
    await until(lambda: len(world.model.requests) == 10)
    release(world)
    await world.idle()
    asked = [request.messages[-1].content for request in world.model.requests]
    for number in range(10):
        assert world.shown(f"t{number}") == ["Hello."]
        assert asked.count(f"Ann: about {number}") == 1
