"""A turn's way from waiting to done, and who may move it on."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.errors import LostOwnership
from bot.domain.inbox import Address, Receipt
from bot.domain.turns import Fence, Outcome, PageRecord, TurnResult
from bot.store.sqlite import SqliteStore
from tests.support.store_kit import ANSWER, BEN, answered, claimed, judge, key, look, opened, said

STEPS: dict[str, Callable[[SqliteStore, Fence], Awaitable[None]]] = {
    "intend": lambda store, fence: store.intend(fence, 0),
    "shown": lambda store, fence: store.shown(fence, 0, channel="c1", message_id="r9"),
    "removed": lambda store, fence: store.removed(fence, 0),
    "conclude": lambda store, fence: store.conclude(fence, ANSWER),
    "finish": lambda store, fence: store.finish(fence),
}
EVERYTHING = "SELECT * FROM turns LEFT JOIN pages ON turns.id = turn_id"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(path) as store:
        yield store
    with closing(sqlite3.connect(path)) as db:
        judge(db)


# ── claim ─────────────────────────────────────────────────────────────────────────────────────
async def test_a_claim_binds_the_questions_in_the_platforms_order(store: SqliteStore) -> None:
    for number in (3, 1, 2):
        await store.accept(said(number))
    claim = await claimed(store, 1)
    assert claim.fence == Fence(1, 1)
    assert [question.message_id for question in claim.questions] == ["m1", "m2", "m3"]
    assert (claim.reply_index, claim.pages, claim.conclusion) == (3, (), None)
    assert (claim.epoch, claim.has_history) == (1, False)
    rows = await store.history(1, epoch=1, before=claim.reply_index, limit=9)
    assert [row.id for row in reversed(rows)] == [question.id for question in claim.questions]


async def test_nothing_to_claim_is_none(store: SqliteStore) -> None:
    assert await store.claim(77) is None
    await store.accept(said(1))
    await answered(store, 1)
    assert await store.claim(1) is None


async def test_what_was_said_before_the_last_question_is_bound_with_it_and_the_rest_later(
    store: SqliteStore, path: Path
) -> None:
    """The model's request ends with the question."""
    await store.accept(said(2))
    await store.accept(said(4, address=Address.ASIDE))
    await store.accept(said(3, address=Address.ASIDE))
    await store.accept(said(5, address=Address.FOLLOW_UP))
    await store.accept(said(6, "after", address=Address.ASIDE))
    first = await answered(store, 1)
    await store.accept(said(7, address=Address.FOLLOW_UP))
    second = await claimed(store, 1)
    rows = await store.history(1, epoch=1, before=second.reply_index, limit=9)
    said_by_people = [(row.id,) for row in reversed(rows) if row.author]
    assert said_by_people == look(
        path, "SELECT id FROM messages WHERE position IS NOT NULL ORDER BY position"
    )
    assert [row.index for row in reversed(rows)] == [0, 1, 2, 3, 4, 5, 6]
    assert (first.reply_index, second.reply_index) == (4, 7)
    assert (first.has_history, second.has_history) == (True, True)


async def test_messages_of_one_position_keep_the_order_in_which_they_came(
    store: SqliteStore,
) -> None:
    for number in (5, 4):
        await store.accept(replace(said(number), position=1))
    claim = await claimed(store, 1)
    assert [question.message_id for question in claim.questions] == ["m5", "m4"]


async def test_the_next_turn_waits_while_one_is_unfinished(store: SqliteStore) -> None:
    await store.accept(said(1))
    first = await claimed(store, 1)
    await store.accept(said(2))
    assert (await claimed(store, 1)).fence == Fence(first.fence.turn, 2)
    await store.conclude(Fence(1, 2), ANSWER)
    assert (await claimed(store, 1)).fence == Fence(first.fence.turn, 3)
    await store.finish(Fence(1, 3))
    assert (await claimed(store, 1)).fence == Fence(2, 1)


async def test_a_new_attempt_finds_what_the_earlier_ones_did(path: Path) -> None:
    """The process dies: the questions, the reply's index and the pages are still there."""
    async with opened(path) as store:
        await store.accept(said(1))
        first = await claimed(store, 1)
        await store.intend(first.fence, 0)
        await store.shown(first.fence, 0, channel="c1", message_id="r1")
        await store.intend(first.fence, 1)
        await store.accept(said(2))
    async with opened(path) as store:
        assert await store.unfinished("sim") == [1]
        second = await claimed(store, 1)
    assert second == replace(
        first,
        fence=Fence(1, 2),
        tries=2,
        pages=(PageRecord(0, "r1", "c1"), PageRecord(1, None)),
        conversation=second.conversation,
    )


async def test_a_concluded_turn_is_claimed_with_its_conclusion(path: Path) -> None:
    async with opened(path) as store:
        await store.accept(said(1))
        await store.conclude((await claimed(store, 1)).fence, ANSWER)
    async with opened(path) as store:
        assert await store.unfinished("sim") == [1]
        claim = await claimed(store, 1)
        assert claim.conclusion == ANSWER
        await store.finish(claim.fence)
        assert await store.unfinished("sim") == []


# ── the fence ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("step", STEPS)
async def test_a_stale_attempt_changes_nothing(store: SqliteStore, path: Path, step: str) -> None:
    await store.accept(said(1))
    stale = (await claimed(store, 1)).fence
    await store.shown(stale, 0, channel="c1", message_id="r1")
    if step == "finish":
        await store.conclude(stale, ANSWER)
    await claimed(store, 1)
    before = look(path, EVERYTHING)
    with pytest.raises(LostOwnership):
        await STEPS[step](store, stale)
    assert look(path, EVERYTHING) == before


@pytest.mark.parametrize("step", STEPS)
async def test_a_turn_that_is_done_or_unknown_changes_no_more(
    store: SqliteStore, path: Path, step: str
) -> None:
    await store.accept(said(1))
    done = (await answered(store, 1)).fence
    before = look(path, EVERYTHING)
    for fence in (done, Fence(done.turn, 0), Fence(99, 1)):
        with pytest.raises(LostOwnership):
            await STEPS[step](store, fence)
    assert look(path, EVERYTHING) == before


@pytest.mark.parametrize("step", STEPS)
async def test_a_waiting_turn_is_nobodys(store: SqliteStore, step: str) -> None:
    await store.accept(said(1))
    with pytest.raises(LostOwnership):
        await STEPS[step](store, Fence(1, 0))


async def test_a_turn_is_concluded_once_and_before_it_is_finished(store: SqliteStore) -> None:
    await store.accept(said(1))
    fence = (await claimed(store, 1)).fence
    with pytest.raises(LostOwnership):
        await store.finish(fence)
    await store.conclude(fence, ANSWER)
    with pytest.raises(LostOwnership):
        await store.conclude(fence, replace(ANSWER, content="another"))
    assert (await claimed(store, 1)).conclusion == ANSWER


# ── pages ─────────────────────────────────────────────────────────────────────────────────────
async def test_pages_are_shown_and_removed_also_after_the_conclusion(store: SqliteStore) -> None:
    await store.accept(said(1))
    fence = (await claimed(store, 1)).fence
    await store.conclude(fence, ANSWER)
    await store.intend(fence, 0)
    await store.shown(fence, 0, channel="c1", message_id="r1")
    await store.shown(fence, 1, channel="c2", message_id="r2")  # found again, never intended
    await store.removed(fence, 0)
    await store.removed(fence, 7)  # was not there
    claim = await claimed(store, 1)
    assert claim.pages == (PageRecord(1, "r2", "c2"),)


async def test_a_page_that_is_posted_anew_is_only_intended_until_it_is_shown(
    store: SqliteStore,
) -> None:
    """Its old message is gone: a crash now must look for the new one."""
    await store.accept(said(1))
    fence = (await claimed(store, 1)).fence
    await store.shown(fence, 0, channel="c1", message_id="r1")
    await store.intend(fence, 0)
    assert await store.conversation_of("sim/w1/c1/r1") is None
    claim = await claimed(store, 1)
    assert claim.pages == (PageRecord(0, None),)


# ── the end ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("outcome", Outcome)
async def test_every_outcome_is_kept_as_it_was(store: SqliteStore, outcome: Outcome) -> None:
    conclusion = TurnResult(outcome, content="", display="*Sorry.*", error="TimedOut")
    await store.accept(said(1))
    await store.conclude((await claimed(store, 1)).fence, conclusion)
    assert (await claimed(store, 1)).conclusion == conclusion


async def test_the_reply_enters_the_history_at_its_reserved_index(store: SqliteStore) -> None:
    await store.accept(said(1))
    claim = await claimed(store, 1)
    await store.accept(said(2))
    await store.conclude(claim.fence, ANSWER)
    newest, question = await store.history(1, epoch=1, before=9, limit=9)
    assert (newest.role, newest.content) == ("assistant", "Forty-two.")
    assert (newest.index, newest.author) == (claim.reply_index, None)
    assert (question.role, question.index) == ("user", 0)


async def test_an_empty_reply_leaves_no_message_and_its_index_unused(store: SqliteStore) -> None:
    await store.accept(said(1))
    await answered(store, 1, TurnResult(Outcome.FAILED, content="", display="*Sorry.*"))
    await store.accept(said(2))
    claim = await claimed(store, 1)
    rows = await store.history(1, epoch=1, before=claim.reply_index, limit=9)
    assert [row.index for row in rows] == [2, 0]


async def test_a_reply_with_half_a_character_is_kept(store: SqliteStore) -> None:
    await store.accept(said(1))
    fence = (await claimed(store, 1)).fence
    await store.conclude(fence, replace(ANSWER, content="a\ud83d", display="a\ud83d"))
    conclusion = (await claimed(store, 1)).conclusion
    assert conclusion is not None
    assert (conclusion.content, conclusion.display) == ("a\ufffd", "a\ufffd")


# ── reset ─────────────────────────────────────────────────────────────────────────────────────
async def test_after_a_reset_the_model_sees_nothing_of_before(store: SqliteStore) -> None:
    await store.accept(said(1))
    await answered(store, 1)
    after = await store.reset(key())
    assert after is not None
    assert (after.id, after.epoch) == (1, 2)
    await store.accept(said(2, "anew", address=Address.FOLLOW_UP))
    claim = await claimed(store, 1)
    assert (claim.epoch, claim.has_history) == (2, False)
    rows = await store.history(1, epoch=2, before=claim.reply_index, limit=9)
    assert [row.content for row in rows] == ["anew"]
    assert len(await store.history(1, epoch=1, before=claim.reply_index, limit=9)) == 2


async def test_waiting_questions_end_as_reset_and_stay_readable_in_order(
    store: SqliteStore, path: Path
) -> None:
    for number in (2, 1):
        await store.accept(said(number))
    await store.accept(said(3, address=Address.ASIDE))
    await store.reset(key())
    assert look(path, "SELECT state, outcome FROM turns") == [("done", "reset")]
    assert await store.claim(1) is None
    rows = await store.history(1, epoch=1, before=9, limit=9)
    assert [row.index for row in rows] == [2, 1, 0]
    assert (await store.accept(said(1))).receipt is Receipt.KNOWN


async def test_a_running_turn_ends_in_the_epoch_of_its_questions(store: SqliteStore) -> None:
    await store.accept(said(1))
    running = await claimed(store, 1)
    await store.accept(said(2))
    await store.reset(key())
    await store.accept(said(3, "anew"))
    again = await claimed(store, 1)
    assert (again.fence.turn, again.epoch, again.conversation.epoch) == (running.fence.turn, 1, 2)
    await store.conclude(again.fence, replace(ANSWER, outcome=Outcome.RESET))
    await store.finish(again.fence)
    claim = await claimed(store, 1)
    assert [question.text for question in claim.questions] == ["anew"]
    rows = await store.history(1, epoch=2, before=claim.reply_index, limit=9)
    assert [row.content for row in rows] == ["anew"]


async def test_there_is_nothing_to_reset_or_to_set_where_no_conversation_is(
    store: SqliteStore,
) -> None:
    assert await store.reset(key()) is None
    assert await store.choose_model(key(), "echo") is None


async def test_a_chosen_model_is_the_conversations_own(store: SqliteStore) -> None:
    await store.accept(said(1))
    await store.accept(said(2, where=key("t2"), author=BEN))
    chosen = await store.choose_model(key(), "openai:gpt-5")
    assert chosen is not None
    assert chosen.model == "openai:gpt-5"
    assert (await claimed(store, 1)).conversation.model == "openai:gpt-5"
    assert (await claimed(store, 2)).conversation.model is None
    default = await store.choose_model(key(), None)
    assert default is not None
    assert default.model is None
