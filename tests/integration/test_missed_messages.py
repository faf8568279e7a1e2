"""The core's part in catching up, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from bot.catchup.backfill_queue import BackfillQueue
from bot.catchup.recheck import EditRecheck
from bot.catchup.watermark_saver import WatermarkSaver
from bot.common.clock import SystemClock
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import (
    Address,
    Asked,
    CommandReply,
    CountedQuestion,
    Incoming,
    Watermark,
)
from bot.domain.policy import Limits, PolicyConfig, PolicyValues
from bot.inbox.gates import build_gates
from bot.inbox.inbox import DurableInbox
from bot.inbox.rates import RateGate
from bot.policy.rates import QuestionRates
from bot.policy.rules import PolicyRules
from bot.ports.history import ChannelRef
from bot.store.sqlite import SqliteStore
from tests.support.catalog import offering
from tests.support.clock import ManualClock
from tests.support.content_kit import content_of
from tests.support.core_kit import FakeAdapter
from tests.support.store_kit import BEN, answer_next, claim_next, key, look, opened, said

HOUR = 3_600.0  # the most seconds after which a missed question is still answered


class RecordingScheduler:
    """A scheduler that records which conversations it is asked to wake."""

    def __init__(self) -> None:
        self.conversations: list[int] = []

    def wake(self, conversation: int) -> None:
        self.conversations.append(conversation)


class RecordingCommands:
    """Commands that record their names and do nothing."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def run(self, command: Any) -> CommandReply:
        self.done.append(command.name)
        return CommandReply("")


class RecordingEdits:
    """An edit handler that records edits of known messages."""

    def __init__(self) -> None:
        self.known: list[tuple[str, float]] = []

    async def apply_edit(self, incoming: Incoming, edited_at: float, **_: object) -> bool:
        self.known.append((incoming.text, edited_at))
        return True


class SilentAdapter:
    """An adapter that says nothing."""

    async def say(self, *_: object) -> None: ...

    async def backlog(self, _: Incoming) -> Sequence[Incoming]:
        return ()


class Core:
    """An inbox on a real store, with recording parts around it."""

    def __init__(self, store: SqliteStore, path: Path) -> None:
        self.store, self.path = store, path
        self.scheduler, self.commands = RecordingScheduler(), RecordingCommands()
        self.edits = RecordingEdits()
        parts: Any = {"scheduler": self.scheduler, "commands": self.commands, "edits": self.edits}
        self.inbox = DurableInbox(
            store=store,
            models=offering(),
            gates=build_gates(
                store=store, adapters={"sim": cast(Any, SilentAdapter())}, clock=SystemClock()
            ),
            clock=SystemClock(),
            missed_seconds=HOUR,
            intake=content_of(store, {"sim": FakeAdapter()}, SystemClock()).intake,
            **parts,
        )

    def rows(self) -> list[tuple[Any, ...]]:
        return look(self.path, "SELECT kind, late, content FROM messages ORDER BY position")


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        core = Core(store, path)
        yield core
        await core.inbox.aclose()


def asked(number: int, text: str, *, ago: float = 0.0, **more: Any) -> Incoming:
    return replace(said(number, text, **more), sent_at=SystemClock().time() - ago)


# ── what was missed ───────────────────────────────────────────────────────────────────────────
async def test_missed_questions_of_one_conversation_become_one_turn(core: Core) -> None:
    """The scheduler wakes after the last one is stored."""
    follow_ups = [asked(n, f"q{n}", address=Address.FOLLOW_UP, author=BEN) for n in (2, 3)]
    await core.inbox.missed([asked(1, "q1"), *follow_ups])
    assert set(core.scheduler.conversations) == {1}
    claim = await claim_next(core.store, 1)
    assert [question.text for question in claim.questions] == ["q1", "q2", "q3"]
    assert await core.store.claim(1) is not None  # the same turn again
    assert look(core.path, "SELECT count(*) FROM turns") == [(1,)]


async def test_a_missed_message_that_is_stored_already_changes_nothing(core: Core) -> None:
    await core.inbox.receive(asked(1, "q1"))
    await answer_next(core.store, 1)
    core.scheduler.conversations.clear()
    await core.inbox.missed([asked(1, "q1")])
    assert core.scheduler.conversations == []
    assert len(core.rows()) == 2  # the question and its answer


async def test_a_stored_message_that_is_read_with_another_text_counts_as_edited(core: Core) -> None:
    """A message read for the first time is new, even if it was edited before."""
    await core.inbox.receive(asked(1, "wyh?"))
    changed = replace(asked(1, "why?"), edited_at=5.0)
    new = replace(asked(2, "and how?"), edited_at=6.0)
    await core.inbox.missed([changed, new])
    assert core.edits.known == [("why?", 5.0)]
    assert core.rows() == [("question", 0, "wyh?"), ("question", 0, "and how?")]


async def test_missed_messages_in_threads_without_a_conversation_are_not_stored(core: Core) -> None:
    await core.inbox.missed(
        [
            asked(1, "among us", address=Address.FOLLOW_UP),
            asked(2, "the bot!", address=Address.MENTION),
            asked(3, "go on", address=Address.FOLLOW_UP),
        ]
    )
    assert [row[2] for row in core.rows()] == ["the bot!", "go on"]


async def test_messages_before_the_first_mention_are_no_questions(core: Core) -> None:
    """A second read finds the messages that the mention's own read of the thread had failed to
    get."""
    await core.inbox.receive(asked(2, "the bot!", address=Address.MENTION))
    await core.inbox.missed(
        [
            asked(1, "among us", address=Address.FOLLOW_UP),
            asked(2, "the bot!", address=Address.MENTION),
            asked(3, "go on", address=Address.FOLLOW_UP),
        ]
    )
    assert [row[2] for row in core.rows()] == ["the bot!", "go on"]


async def test_a_question_that_came_too_early_is_not_accepted_when_it_is_read_again(
    core: Core,
) -> None:
    """Its author was asked to send it again, perhaps by another process."""
    policy = PolicyRules(PolicyConfig(PolicyValues(limits=Limits(questions_per_minute=1))))

    async def none_elsewhere() -> Sequence[CountedQuestion]:
        return ()

    rates = QuestionRates(policy, ManualClock(), none_elsewhere)
    gate = RateGate(rates=rates, store=core.store, clock=ManualClock(), tell=lambda *_: None)
    for number in (1, 2):
        question = asked(number, f"q{number}")
        await gate.accept(question, partial(core.store.accept, question))
    await core.inbox.missed([asked(1, "q1"), asked(2, "q2")])
    assert [row[2] for row in core.rows()] == ["q1"]
    await core.store.keep_out(asked(1, "q1").source)  # a stored question is not affected
    await core.inbox.missed([asked(1, "q1")])
    assert [row[2] for row in core.rows()] == ["q1"]


async def test_a_missed_question_is_late_if_it_is_older_than_the_setting(core: Core) -> None:
    await core.inbox.missed(
        [asked(1, "old", ago=HOUR + 60), asked(2, "young", ago=HOUR - 60, where=key("t2"))]
    )
    assert core.rows() == [("question", 1, "old"), ("question", 0, "young")]
    old, young = await claim_next(core.store, 1), await claim_next(core.store, 2)
    assert [question.late for question in (*old.questions, *young.questions)] == [True, False]


async def test_retrying_a_late_question_answers_it(
    core: Core,
) -> None:
    await core.inbox.missed([asked(1, "old", ago=2 * HOUR)])
    claim = await answer_next(core.store, 1)
    await core.store.reopen(key(), claim.fence.turn)
    again = await claim_next(core.store, 1)
    assert [question.late for question in again.questions] == [False]


async def test_missed_commands_run_once_between_their_neighbors(core: Core) -> None:
    await core.inbox.missed([asked(1, "q1"), asked(2, "reset"), asked(3, "q3")])
    assert core.commands.done == ["reset"]
    await core.inbox.missed([asked(2, "reset")])
    assert core.commands.done == ["reset"]


async def test_a_missed_command_is_ignored_if_a_later_message_is_stored(core: Core) -> None:
    """A live question was accepted before the read found the reset that precedes it."""
    await core.inbox.receive(asked(1, "q1"))
    await core.inbox.receive(asked(9, "live"))
    await core.inbox.missed([asked(5, "reset")])
    assert core.commands.done == []


async def test_messages_stored_before_a_failure_are_answered_and_the_rest_on_the_next_read(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = core.store.accept
    failures = [False, True]

    async def fail_once(*message: Any, **more: Any) -> Any:
        if failures and failures.pop(0):
            raise StoreUnavailable("the disk is full")
        return await accept(*message, **more)

    monkeypatch.setattr(core.store, "accept", fail_once)
    both = [asked(1, "q1"), asked(2, "q2", where=key("t2"))]
    with pytest.raises(StoreUnavailable):
        await core.inbox.missed(both)
    assert core.scheduler.conversations == [1]
    await core.inbox.missed(both)
    assert core.scheduler.conversations == [1, 2]


async def test_active_conversations_and_last_questions_are_sorted_newest_first(core: Core) -> None:
    for number, thread in enumerate(("a", "b"), 1):
        await core.inbox.receive(asked(number, thread, where=key(thread)))
        await answer_next(core.store, number)
    await core.inbox.receive(asked(3, "again", where=key("a"), address=Address.FOLLOW_UP))
    threads = [conversation.key.thread for conversation in await core.inbox.active("sim")]
    assert threads == ["a", "b"]
    last = await core.inbox.last_questions("sim")
    assert [(one.key.thread, one.message_id) for one in last] == [("a", "m3"), ("b", "m2")]
    assert last[0].source == "sim/w1/c1/m3"
    assert await core.inbox.active("other") == []


# ── rechecks and watermarks ───────────────────────────────────────────────────────────────────
async def test_last_questions_are_rechecked_unless_they_were_read_or_are_no_longer_last(
    core: Core,
) -> None:
    """Each takes one request."""
    for number in (1, 2, 3):
        await core.inbox.receive(said(number, where=key(f"t{number}")))
    checked: list[str] = []

    async def report_changes(question: Asked) -> None:
        checked.append(question.message_id)

    queue = BackfillQueue(SystemClock())
    recheck = EditRecheck(platform="sim", inbox=core.inbox, report_changes=report_changes)
    questions = await recheck.load_questions("w1", queue)
    assert [question.message_id for question in questions] == ["m3", "m2", "m1"]
    recheck.mark_read(said(1).source)
    await core.inbox.receive(said(4, where=key("t2")))
    await recheck.schedule(questions, queue)
    async with asyncio.timeout(60):
        while not checked:
            await asyncio.sleep(0.01)
    await queue.aclose()
    assert checked == ["m3"]


async def test_stored_watermarks_never_move_back_and_the_workspace_covers_its_channels(
    core: Core,
) -> None:
    marks = [Watermark("sim", "w1", "", 10), Watermark("sim", "w1", "c1", 50)]
    await core.inbox.move_watermarks(marks)
    await core.inbox.move_watermarks([Watermark("sim", "w1", "", 5)])
    assert set(await core.inbox.watermarks("sim")) == set(marks)
    await core.inbox.move_watermarks([Watermark("sim", "w1", "", 50)])
    assert await core.inbox.watermarks("sim") == [Watermark("sim", "w1", "", 50)]
    assert await core.inbox.watermarks("other") == []


async def test_watermarks_are_stored_in_batches_and_at_the_end(core: Core) -> None:
    clock = ManualClock()
    saver = WatermarkSaver(platform="sim", lag=0, inbox=core.inbox, clock=clock)
    await saver.load()
    saver.tracker.start_at("w1", 1)
    saver.tracker.close_gap("w1", saver.tracker.gap("w1"))
    for position in range(2, 50):
        saver.mark_seen(ChannelRef("w1", "c1"), position)
        saver.mark_decided(ChannelRef("w1", "c1"), position)
    assert await core.inbox.watermarks("sim") == []
    await saver.aclose()
    assert await core.inbox.watermarks("sim") == [Watermark("sim", "w1", "", 49)]
