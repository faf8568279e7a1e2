"""The core's share of making up for a time without events, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from bot.catchup.backfill import ATTEMPTS, BackfillQueue, WatermarkSaver
from bot.catchup.recheck import LastQuestions
from bot.catchup.watermarks import ChannelRef
from bot.common.clock import SystemClock
from bot.domain.errors import Gone, Refused, StoreUnavailable, Throttled, Unsettled
from bot.domain.inbox import Address, Asked, Incoming, Watermark
from bot.inbox.inbox import DurableInbox
from bot.store.sqlite import SqliteStore
from tests.support.clock import ManualClock
from tests.support.store_kit import BEN, answered, claimed, key, look, opened, said

HOUR = 3_600.0


class Woken:
    """A scheduler that only notes whom it is to look after."""

    def __init__(self) -> None:
        self.conversations: list[int] = []

    def wake(self, conversation: int) -> None:
        self.conversations.append(conversation)


class Commands:
    """Commands that only note what they were asked."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def run(self, command: Any) -> Any:
        self.done.append(command.name)
        return None


class Edits:
    """What becomes of edits: only noted."""

    def __init__(self) -> None:
        self.known: list[tuple[str, float]] = []

    async def edited(self, incoming: Incoming, edited_at: float) -> bool:
        self.known.append((incoming.text, edited_at))
        return True


class Core:
    """An intake on a real store, between parts that note what they are told."""

    def __init__(self, store: SqliteStore, path: Path) -> None:
        self.store, self.path = store, path
        self.scheduler, self.commands = Woken(), Commands()
        self.edits = Edits()
        parts: Any = {"scheduler": self.scheduler, "commands": self.commands, "changes": self.edits}
        self.intake = DurableInbox(
            store=store,
            models=(),
            adapters={"sim": cast(Any, Mute())},
            clock=SystemClock(),
            missed_seconds=HOUR,
            **parts,
        )

    def rows(self) -> list[tuple[Any, ...]]:
        return look(self.path, "SELECT kind, late, content FROM messages ORDER BY position")


class Mute:
    """An adapter that says nothing."""

    async def say(self, *_: object) -> None: ...

    async def backlog(self, _: Incoming) -> Sequence[Incoming]:
        return ()


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        core = Core(store, path)
        yield core
        await core.intake.aclose()


def asked(number: int, text: str, *, ago: float = 0.0, **more: Any) -> Incoming:
    return replace(said(number, text, **more), sent_at=SystemClock().time() - ago)


# ── what was missed ───────────────────────────────────────────────────────────────────────────
async def test_missed_questions_of_a_conversation_are_one_turn(core: Core) -> None:
    """Nobody is woken before the last is stored: they are answered together."""
    follow_ups = [asked(n, f"q{n}", address=Address.FOLLOW_UP, author=BEN) for n in (2, 3)]
    await core.intake.missed([asked(1, "q1"), *follow_ups])
    assert set(core.scheduler.conversations) == {1}
    claim = await claimed(core.store, 1)
    assert [question.text for question in claim.questions] == ["q1", "q2", "q3"]
    assert await core.store.claim(1) is not None  # the same turn, once more
    assert look(core.path, "SELECT count(*) FROM turns") == [(1,)]


async def test_what_was_known_before_changes_nothing_and_wakes_nobody(core: Core) -> None:
    await core.intake.receive(asked(1, "q1"))
    await answered(core.store, 1)
    core.scheduler.conversations.clear()
    await core.intake.missed([asked(1, "q1")])
    assert core.scheduler.conversations == []
    assert len(core.rows()) == 2  # the question and its answer


async def test_what_was_known_and_says_another_text_now_was_edited(core: Core) -> None:
    """What is read for the first time is as it is, however often it was edited before."""
    await core.intake.receive(asked(1, "wyh?"))
    changed = replace(asked(1, "why?"), edited_at=5.0)
    new = replace(asked(2, "and how?"), edited_at=6.0)
    await core.intake.missed([changed, new])
    assert core.edits.known == [("why?", 5.0)]
    assert core.rows() == [("question", 0, "wyh?"), ("question", 0, "and how?")]


async def test_words_in_threads_that_nobody_knows_leave_no_mark(core: Core) -> None:
    await core.intake.missed(
        [
            asked(1, "among us", address=Address.FOLLOW_UP),
            asked(2, "the bot!", address=Address.MENTION),
            asked(3, "go on", address=Address.FOLLOW_UP),
        ]
    )
    assert [row[2] for row in core.rows()] == ["the bot!", "go on"]


async def test_only_what_is_older_than_the_settings_allow_is_late(core: Core) -> None:
    await core.intake.missed(
        [asked(1, "old", ago=HOUR + 60), asked(2, "young", ago=HOUR - 60, where=key("t2"))]
    )
    assert core.rows() == [("question", 1, "old"), ("question", 0, "young")]
    old, young = await claimed(core.store, 1), await claimed(core.store, 2)
    assert [question.late for question in (*old.questions, *young.questions)] == [True, False]


async def test_a_late_question_is_not_late_when_somebody_asks_for_an_answer_again(
    core: Core,
) -> None:
    await core.intake.missed([asked(1, "old", ago=2 * HOUR)])
    claim = await answered(core.store, 1)
    await core.store.reopen(key(), claim.fence.turn)
    again = await claimed(core.store, 1)
    assert [question.late for question in again.questions] == [False]


async def test_missed_commands_are_carried_out_in_their_place(core: Core) -> None:
    await core.intake.missed([asked(1, "q1"), asked(2, "reset"), asked(3, "q3")])
    assert core.commands.done == ["reset"]
    await core.intake.missed([asked(2, "reset")])
    assert core.commands.done == ["reset"]


async def test_a_missed_command_does_nothing_to_what_was_said_since(core: Core) -> None:
    """A live question came before the reading got to the reset that was said before it."""
    await core.intake.receive(asked(1, "q1"))
    await core.intake.receive(asked(9, "live"))
    await core.intake.missed([asked(5, "reset")])
    assert core.commands.done == []


async def test_those_stored_before_a_failure_are_answered_and_all_are_brought_again(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = core.store.accept
    failures = [False, True]

    async def sometimes(incoming: Incoming, backlog: Sequence[Incoming] = ()) -> Any:
        if failures and failures.pop(0):
            raise StoreUnavailable("the disk is full")
        return await accept(incoming, backlog)

    monkeypatch.setattr(core.store, "accept", sometimes)
    both = [asked(1, "q1"), asked(2, "q2", where=key("t2"))]
    with pytest.raises(StoreUnavailable):
        await core.intake.missed(both)
    assert core.scheduler.conversations == [1]
    await core.intake.missed(both)
    assert core.scheduler.conversations == [1, 2]


async def test_conversations_and_their_last_questions_come_newest_first(core: Core) -> None:
    for number, thread in enumerate(("a", "b"), 1):
        await core.intake.receive(asked(number, thread, where=key(thread)))
        await answered(core.store, number)
    await core.intake.receive(asked(3, "again", where=key("a"), address=Address.FOLLOW_UP))
    threads = [conversation.key.thread for conversation in await core.intake.active("sim")]
    assert threads == ["a", "b"]
    last = await core.intake.last_questions("sim")
    assert [(one.key.thread, one.message_id) for one in last] == [("a", "m3"), ("b", "m2")]
    assert last[0].source == "sim/w1/c1/m3"
    assert await core.intake.active("other") == []


# ── watermarks ────────────────────────────────────────────────────────────────────────────────
async def test_last_questions_are_looked_at_where_no_read_brought_them_and_nothing_followed(
    core: Core,
) -> None:
    """One look each, when all else is read."""
    for number in (1, 2, 3):
        await core.intake.receive(said(number, where=key(f"t{number}")))
    looked: list[str] = []

    async def look_at(asked: Asked) -> None:
        looked.append(asked.message_id)

    last = LastQuestions(platform="sim", inbox=core.intake, look=look_at)
    reads = BackfillQueue(SystemClock())
    before = await last.before("w1", reads)
    assert [asked.message_id for asked in before] == ["m3", "m2", "m1"]
    last.seen(said(1).source)
    await core.intake.receive(said(4, where=key("t2")))
    await last.look_at(before, reads)
    async with asyncio.timeout(5):
        while not looked:
            await asyncio.sleep(0.01)
    await reads.aclose()
    assert looked == ["m3"]


async def test_stored_watermarks_never_go_back_and_the_floor_takes_over(core: Core) -> None:
    marks = [Watermark("sim", "w1", "", 10), Watermark("sim", "w1", "c1", 50)]
    await core.intake.move_watermarks(marks)
    await core.intake.move_watermarks([Watermark("sim", "w1", "", 5)])
    assert set(await core.intake.watermarks("sim")) == set(marks)
    await core.intake.move_watermarks([Watermark("sim", "w1", "", 50)])
    assert await core.intake.watermarks("sim") == [Watermark("sim", "w1", "", 50)]
    assert await core.intake.watermarks("other") == []


async def test_a_keeper_stores_in_batches_and_at_its_end(core: Core) -> None:
    clock = ManualClock()
    keeper = WatermarkSaver(platform="sim", lag=0, inbox=core.intake, clock=clock)
    await keeper.loaded()
    keeper.marks.begin("w1", 1)
    keeper.marks.whole("w1")
    for position in range(2, 50):
        keeper.seen(ChannelRef("w1", "c1"), position)
        keeper.decided(ChannelRef("w1", "c1"), position)
    assert await core.intake.watermarks("sim") == []
    await keeper.aclose()
    assert await core.intake.watermarks("sim") == [Watermark("sim", "w1", "", 49)]


# ── reads ─────────────────────────────────────────────────────────────────────────────────────
async def test_reads_are_carried_out_by_rank_and_go_on_while_there_is_more() -> None:
    reads, order = BackfillQueue(SystemClock()), []
    pages = {"long": 3, "first": 1, "last": 1}

    def page(name: str) -> Any:
        async def work() -> bool:
            order.append(name)
            pages[name] -= 1
            await asyncio.sleep(0)
            return pages[name] > 0

        return work

    ended = [reads.add(n, (rank,), page(n)) for n, rank in (("last", 9), ("long", 5), ("first", 1))]
    assert await asyncio.gather(*ended) == [True, True, True]
    assert sorted(order) == ["first", "last", "long", "long", "long"]


@pytest.mark.parametrize("error", [Unsettled("?"), StoreUnavailable("full"), Throttled(3.0)])
async def test_a_read_that_fails_is_tried_again_for_a_while(error: Exception) -> None:
    clock = ManualClock()
    reads, tries = BackfillQueue(clock), 0

    async def work() -> bool:
        nonlocal tries
        tries += 1
        raise error

    ended = reads.add("x", (0,), work)
    for _ in range(2 * ATTEMPTS):
        await clock.advance(60)
    assert await ended is False
    assert tries == ATTEMPTS


@pytest.mark.parametrize("error", [Gone("no such channel"), Refused("never")])
async def test_what_may_not_be_read_is_skipped_at_once(error: Exception) -> None:
    reads = BackfillQueue(SystemClock())

    async def work() -> bool:
        raise error

    assert await reads.add("x", (0,), work) is True


async def test_a_bug_in_one_read_leaves_the_others_alone() -> None:
    reads = BackfillQueue(SystemClock())

    async def broken() -> bool:
        raise KeyError("ts")

    async def fine() -> bool:
        return False

    ended = [reads.add("broken", (0,), broken), reads.add("fine", (1,), fine)]
    assert await asyncio.gather(*ended) == [False, True]
