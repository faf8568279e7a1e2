"""A turn's states from waiting to done, and which fences may change them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from bot.domain.errors import LostOwnership
from bot.domain.failures import FailureReason
from bot.domain.inbox import Address, Receipt
from bot.domain.turns import Fence, Outcome, PageRecord, TurnResult
from bot.store.store import SqlStore
from tests.support.store_kit import (
    ANSWER,
    BEN,
    Place,
    answer_next,
    change,
    claim_next,
    key,
    look,
    opened,
    said,
)

STEPS: dict[str, Callable[[SqlStore, Fence], Awaitable[None]]] = {
    "intend": lambda store, fence: store.record_intent(fence, 0),
    "shown": lambda store, fence: store.record_shown(fence, 0, channel="c1", message_id="r9"),
    "removed": lambda store, fence: store.record_removal(fence, 0),
    "conclude": lambda store, fence: store.conclude(fence, ANSWER),
    "finish": lambda store, fence: store.finish(fence),
}
EVERYTHING = "SELECT * FROM turns LEFT JOIN pages ON turns.id = turn_id"


# ── claim ─────────────────────────────────────────────────────────────────────────────────────
async def test_a_claim_binds_the_questions_in_the_platforms_order(store: SqlStore) -> None:
    for number in (3, 1, 2):
        await store.accept(said(number))
    claim = await claim_next(store, 1)
    assert claim.fence == Fence(1, 1)
    assert [question.message_id for question in claim.questions] == ["m1", "m2", "m3"]
    assert (claim.reply_index, claim.pages, claim.result) == (3, (), None)
    assert (claim.epoch, claim.has_history) == (1, False)
    rows = await store.history(1, epoch=1, before=claim.reply_index, limit=9)
    assert [row.id for row in reversed(rows)] == [question.id for question in claim.questions]


async def test_without_a_turn_a_claim_is_none(store: SqlStore) -> None:
    assert await store.claim(77) is None
    await store.accept(said(1))
    await answer_next(store, 1)
    assert await store.claim(1) is None


async def test_messages_before_the_last_question_are_bound_with_it_and_later_ones_with_the_next(
    store: SqlStore, place: Place
) -> None:
    """The request to the model ends with the question."""
    await store.accept(said(2))
    await store.accept(said(4, address=Address.ASIDE))
    await store.accept(said(3, address=Address.ASIDE))
    await store.accept(said(5, address=Address.FOLLOW_UP))
    await store.accept(said(6, "after", address=Address.ASIDE))
    first = await answer_next(store, 1)
    await store.accept(said(7, address=Address.FOLLOW_UP))
    second = await claim_next(store, 1)
    rows = await store.history(1, epoch=1, before=second.reply_index, limit=9)
    said_by_people = [(row.id,) for row in reversed(rows) if row.author]
    assert said_by_people == look(
        place, "SELECT id FROM messages WHERE position IS NOT NULL ORDER BY position"
    )
    assert [row.index for row in reversed(rows)] == [0, 1, 2, 3, 4, 5, 6]
    assert (first.reply_index, second.reply_index) == (4, 7)
    assert (first.has_history, second.has_history) == (True, True)


async def test_messages_at_the_same_position_keep_their_order_of_arrival(
    store: SqlStore,
) -> None:
    for number in (5, 4):
        await store.accept(replace(said(number), position=1))
    claim = await claim_next(store, 1)
    assert [question.message_id for question in claim.questions] == ["m5", "m4"]


async def test_the_next_turn_waits_while_one_is_unfinished(store: SqlStore) -> None:
    await store.accept(said(1))
    first = await claim_next(store, 1)
    await store.accept(said(2))
    assert (await claim_next(store, 1)).fence == Fence(first.fence.turn, 2)
    await store.conclude(Fence(1, 2), ANSWER)
    assert (await claim_next(store, 1)).fence == Fence(first.fence.turn, 3)
    await store.finish(Fence(1, 3))
    assert (await claim_next(store, 1)).fence == Fence(2, 1)


async def test_a_new_attempt_gets_the_state_of_the_earlier_ones(place: Place) -> None:
    """After a process dies, the questions, the reply's index and the pages are still there."""
    async with opened(place) as store:
        await store.accept(said(1))
        first = await claim_next(store, 1)
        await store.record_intent(first.fence, 0)
        await store.record_shown(first.fence, 0, channel="c1", message_id="r1")
        await store.record_intent(first.fence, 1)
        await store.accept(said(2))
    async with opened(place) as store:
        assert await store.list_unfinished("sim") == [1]
        second = await claim_next(store, 1)
    assert second == replace(
        first,
        fence=Fence(1, 2),
        tries=2,
        pages=(PageRecord(0, "r1", "c1"), PageRecord(1, None)),
        conversation=second.conversation,
    )


async def test_a_concluded_turn_is_claimed_with_its_result(place: Place) -> None:
    async with opened(place) as store:
        await store.accept(said(1))
        await store.conclude((await claim_next(store, 1)).fence, ANSWER)
    async with opened(place) as store:
        assert await store.list_unfinished("sim") == [1]
        claim = await claim_next(store, 1)
        assert claim.result == ANSWER
        await store.finish(claim.fence)
        assert await store.list_unfinished("sim") == []


# ── the fence ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("step", STEPS)
async def test_a_stale_attempt_changes_nothing(store: SqlStore, place: Place, step: str) -> None:
    await store.accept(said(1))
    stale = (await claim_next(store, 1)).fence
    await store.record_shown(stale, 0, channel="c1", message_id="r1")
    if step == "finish":
        await store.conclude(stale, ANSWER)
    await claim_next(store, 1)
    before = look(place, EVERYTHING)
    with pytest.raises(LostOwnership):
        await STEPS[step](store, stale)
    assert look(place, EVERYTHING) == before


@pytest.mark.parametrize("step", STEPS)
async def test_a_finished_or_unknown_turn_cannot_change(
    store: SqlStore, place: Place, step: str
) -> None:
    await store.accept(said(1))
    done = (await answer_next(store, 1)).fence
    before = look(place, EVERYTHING)
    for fence in (done, Fence(done.turn, 0), Fence(99, 1)):
        with pytest.raises(LostOwnership):
            await STEPS[step](store, fence)
    assert look(place, EVERYTHING) == before


@pytest.mark.parametrize("step", STEPS)
async def test_a_waiting_turn_has_no_valid_fence(store: SqlStore, step: str) -> None:
    await store.accept(said(1))
    with pytest.raises(LostOwnership):
        await STEPS[step](store, Fence(1, 0))


async def test_a_turn_is_concluded_once_and_before_it_is_finished(store: SqlStore) -> None:
    await store.accept(said(1))
    fence = (await claim_next(store, 1)).fence
    with pytest.raises(LostOwnership):
        await store.finish(fence)
    await store.conclude(fence, ANSWER)
    with pytest.raises(LostOwnership):
        await store.conclude(fence, replace(ANSWER, content="another"))
    assert (await claim_next(store, 1)).result == ANSWER


# ── pages ─────────────────────────────────────────────────────────────────────────────────────
async def test_pages_are_recorded_after_the_turn_was_concluded_too(store: SqlStore) -> None:
    await store.accept(said(1))
    fence = (await claim_next(store, 1)).fence
    await store.conclude(fence, ANSWER)
    await store.record_intent(fence, 0)
    await store.record_shown(fence, 0, channel="c1", message_id="r1")
    await store.record_shown(
        fence, 1, channel="c2", message_id="r2"
    )  # found again, without an intent
    await store.record_removal(fence, 0)
    await store.record_removal(fence, 7)  # was not there
    claim = await claim_next(store, 1)
    assert claim.pages == (PageRecord(1, "r2", "c2"),)


async def test_a_page_that_is_posted_again_is_only_intended_until_it_is_shown(
    store: SqlStore,
) -> None:
    """The old message no longer exists: after a crash, the new one must be searched for."""
    await store.accept(said(1))
    fence = (await claim_next(store, 1)).fence
    await store.record_shown(fence, 0, channel="c1", message_id="r1")
    await store.record_intent(fence, 0)
    assert await store.conversation_of("sim/w1/c1/r1") is None
    claim = await claim_next(store, 1)
    assert claim.pages == (PageRecord(0, None),)


# ── the end ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("outcome", Outcome)
async def test_every_outcome_is_read_as_it_was_stored(store: SqlStore, outcome: Outcome) -> None:
    result = TurnResult(outcome, content="", display="*Sorry.*", failure=FailureReason.TIMED_OUT)
    await store.accept(said(1))
    await store.conclude((await claim_next(store, 1)).fence, result)
    assert (await claim_next(store, 1)).result == result


@pytest.mark.parametrize("reason", FailureReason)
async def test_every_failure_reason_is_read_as_it_was_stored(
    store: SqlStore, reason: FailureReason
) -> None:
    result = TurnResult(Outcome.FAILED, content="", display="*Sorry.*", failure=reason)
    await store.accept(said(1))
    await store.conclude((await claim_next(store, 1)).fence, result)
    assert (await claim_next(store, 1)).result == result


async def test_an_unknown_stored_reason_is_read_as_a_failed_model(place: Place) -> None:
    """Databases of older releases may contain names of classes that no longer exist."""
    async with opened(place) as store:
        await store.accept(said(1))
        result = TurnResult(Outcome.FAILED, "", "", failure=FailureReason.TIMED_OUT)
        await store.conclude((await claim_next(store, 1)).fence, result)
    change(place, "UPDATE turns SET error = 'APIStatusError'")
    async with opened(place) as store:
        stored = (await claim_next(store, 1)).result
    assert stored is not None
    assert stored.failure is FailureReason.MODEL_FAILED


async def test_the_reply_enters_the_history_at_its_reserved_index(store: SqlStore) -> None:
    await store.accept(said(1))
    claim = await claim_next(store, 1)
    await store.accept(said(2))
    await store.conclude(claim.fence, ANSWER)
    newest, question = await store.history(1, epoch=1, before=9, limit=9)
    assert (newest.role, newest.content) == ("assistant", "Forty-two.")
    assert (newest.index, newest.author) == (claim.reply_index, None)
    assert (question.role, question.index) == ("user", 0)


async def test_an_empty_reply_leaves_no_message_and_its_index_unused(store: SqlStore) -> None:
    await store.accept(said(1))
    await answer_next(store, 1, TurnResult(Outcome.FAILED, content="", display="*Sorry.*"))
    await store.accept(said(2))
    claim = await claim_next(store, 1)
    rows = await store.history(1, epoch=1, before=claim.reply_index, limit=9)
    assert [row.index for row in rows] == [2, 0]


async def test_a_reply_with_a_lone_surrogate_is_stored(store: SqlStore) -> None:
    await store.accept(said(1))
    fence = (await claim_next(store, 1)).fence
    await store.conclude(fence, replace(ANSWER, content="a\ud83d", display="a\ud83d"))
    result = (await claim_next(store, 1)).result
    assert result is not None
    assert (result.content, result.display) == ("a\ufffd", "a\ufffd")


# ── reset ─────────────────────────────────────────────────────────────────────────────────────
async def test_after_a_reset_the_model_sees_no_earlier_messages(store: SqlStore) -> None:
    await store.accept(said(1))
    await answer_next(store, 1)
    after = await store.reset(key())
    assert after is not None
    assert (after.id, after.epoch) == (1, 2)
    await store.accept(said(2, "again", address=Address.FOLLOW_UP))
    claim = await claim_next(store, 1)
    assert (claim.epoch, claim.has_history) == (2, False)
    rows = await store.history(1, epoch=2, before=claim.reply_index, limit=9)
    assert [row.content for row in rows] == ["again"]
    assert len(await store.history(1, epoch=1, before=claim.reply_index, limit=9)) == 2


async def test_waiting_questions_end_as_reset_and_stay_readable_in_order(
    store: SqlStore, place: Place
) -> None:
    for number in (2, 1):
        await store.accept(said(number))
    await store.accept(said(3, address=Address.ASIDE))
    await store.reset(key())
    assert look(place, "SELECT state, outcome FROM turns") == [("done", "reset")]
    assert await store.claim(1) is None
    rows = await store.history(1, epoch=1, before=9, limit=9)
    assert [row.index for row in rows] == [2, 1, 0]
    assert (await store.accept(said(1))).receipt is Receipt.KNOWN


async def test_a_running_turn_ends_in_the_epoch_of_its_questions(store: SqlStore) -> None:
    await store.accept(said(1))
    running = await claim_next(store, 1)
    await store.accept(said(2))
    await store.reset(key())
    await store.accept(said(3, "again"))
    again = await claim_next(store, 1)
    assert (again.fence.turn, again.epoch, again.conversation.epoch) == (running.fence.turn, 1, 2)
    await store.conclude(again.fence, replace(ANSWER, outcome=Outcome.RESET))
    await store.finish(again.fence)
    claim = await claim_next(store, 1)
    assert [question.text for question in claim.questions] == ["again"]
    rows = await store.history(1, epoch=2, before=claim.reply_index, limit=9)
    assert [row.content for row in rows] == ["again"]


async def test_without_a_conversation_there_is_nothing_to_reset_or_set(
    store: SqlStore,
) -> None:
    assert await store.reset(key()) is None
    assert await store.choose_model(key(), "echo") is None


async def test_a_chosen_model_applies_to_its_conversation_only(store: SqlStore) -> None:
    await store.accept(said(1))
    await store.accept(said(2, where=key("t2"), author=BEN))
    chosen = await store.choose_model(key(), "openai:gpt-5")
    assert chosen is not None
    assert chosen.model == "openai:gpt-5"
    assert (await claim_next(store, 1)).conversation.model == "openai:gpt-5"
    assert (await claim_next(store, 2)).conversation.model is None
    default = await store.choose_model(key(), None)
    assert default is not None
    assert default.model is None
