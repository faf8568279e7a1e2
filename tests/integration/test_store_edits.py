"""Edits, deletions, retries, continuations and undo: each transition, and which fences it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.errors import CommandDone, LostOwnership
from bot.domain.inbox import Address, Change, Effect, Receipt
from bot.domain.turns import Claim, Fence, Outcome, PageRecord
from bot.store.edits import TOMBSTONE_SECONDS
from bot.store.store import SqlStore
from tests.support.clock import ManualClock
from tests.support.store_kit import (
    ANN,
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

CUT = replace(ANSWER, outcome=Outcome.CUT_OFF)
STEPS: dict[str, Callable[[SqlStore, Fence], Awaitable[None]]] = {
    "intend": lambda store, fence: store.record_intent(fence, 0),
    "shown": lambda store, fence: store.record_shown(fence, 0, channel="c1", message_id="r9"),
    "removed": lambda store, fence: store.record_removal(fence, 0),
    "conclude": lambda store, fence: store.conclude(fence, ANSWER),
    "finish": lambda store, fence: store.finish(fence),
}


def source(number: int) -> str:
    return said(number).source


async def history(store: SqlStore, epoch: int = 1) -> list[str]:
    rows = await store.history(1, epoch=epoch, before=10**6, limit=99)
    return [row.content for row in reversed(rows)]


async def ask_and_answer(store: SqlStore, *numbers: int) -> Claim:
    for number in numbers:
        await store.accept(said(number, f"q{number}"))
    return await answer_next(store, 1)


async def all_refused(store: SqlStore, fence: Fence) -> None:
    for step in STEPS.values():
        with pytest.raises(LostOwnership):
            await step(store, fence)


def states(place: Place) -> list[tuple[object, ...]]:
    return look(place, "SELECT state, outcome FROM turns ORDER BY id")


# ── retries ───────────────────────────────────────────────────────────────────────────────────
async def test_a_reopened_turn_keeps_its_pages_and_its_index_but_not_its_reply(
    store: SqlStore, place: Place
) -> None:
    before = await ask_and_answer(store, 1)
    assert await store.reopen(key(), None) == Change(Effect.REOPENED, 1, 1)
    assert await history(store) == ["q1"]
    assert await store.list_unfinished("sim") == [1]
    after = await claim_next(store, 1)
    assert after.fence.attempt > before.fence.attempt
    assert (after.reply_index, after.tries, after.result) == (before.reply_index, 1, None)
    assert after.pages == (PageRecord(0, "r1", "c1"),)
    await store.conclude(after.fence, replace(ANSWER, content="Better."))
    await store.finish(after.fence)
    assert await history(store) == ["q1", "Better."]
    assert states(place) == [("done", "answered")]


async def test_reopening_a_turn_makes_its_fence_stale(store: SqlStore) -> None:
    before = await ask_and_answer(store, 1)
    await store.reopen(key(), before.fence.turn)
    await all_refused(store, before.fence)
    again = await claim_next(store, 1)
    await all_refused(store, Fence(again.fence.turn, again.fence.attempt - 1))


async def test_reopening_a_turn_restarts_the_count_of_attempts(store: SqlStore) -> None:
    await ask_and_answer(store, 1)
    for _ in range(5):
        assert (await store.reopen(key(), None)).effect is Effect.REOPENED
        assert (await claim_next(store, 1)).tries == 1
        again = await claim_next(store, 1)
        assert again.tries == 2
        await store.conclude(again.fence, ANSWER)
        await store.finish(again.fence)


async def test_only_the_newest_turn_is_reopened_and_only_after_it_has_ended(
    store: SqlStore,
) -> None:
    assert (await store.reopen(key(), None)).effect is Effect.UNKNOWN
    await store.accept(said(1))
    assert (await store.reopen(key(), None)).effect is Effect.BUSY
    claim = await claim_next(store, 1)
    assert (await store.reopen(key(), None)).effect is Effect.BUSY
    await store.conclude(claim.fence, ANSWER)
    await store.finish(claim.fence)
    await store.accept(said(2))
    assert await store.reopen(key(), 1) == Change(Effect.SUPERSEDED, 1, 1)
    await answer_next(store, 1)
    assert (await store.reopen(key(), 1)).effect is Effect.SUPERSEDED
    assert (await store.reopen(key(), 2)).effect is Effect.REOPENED


async def test_a_concluded_turn_is_reopened_and_the_old_attempt_cannot_finish_it(
    store: SqlStore,
) -> None:
    await store.accept(said(1))
    claim = await claim_next(store, 1)
    await store.conclude(claim.fence, ANSWER)
    assert (await store.reopen(key(), 1)).effect is Effect.REOPENED
    await all_refused(store, claim.fence)
    assert (await claim_next(store, 1)).result is None


async def test_a_turn_of_another_conversation_is_not_reopened(store: SqlStore) -> None:
    """A button's turn number gives no access to another thread."""
    await ask_and_answer(store, 1)
    await store.accept(said(2, where=key("t2")))
    await answer_next(store, 2)
    assert (await store.reopen(key("t2"), 1)).effect is Effect.UNKNOWN


async def test_a_turn_from_before_a_reset_is_not_reopened(store: SqlStore) -> None:
    await ask_and_answer(store, 1)
    await store.reset(key())
    assert (await store.reopen(key(), None)).effect is Effect.SUPERSEDED


# ── continuations ─────────────────────────────────────────────────────────────────────────────
async def test_a_continuation_asks_below_the_last_page(store: SqlStore) -> None:
    await store.accept(said(1, "q1", route={"way": "here"}))
    await answer_next(store, 1, CUT)
    change = await store.continue_reply(key(), 1, BEN, "Go on.")
    assert change == Change(Effect.REOPENED, 1, 2)
    claim = await claim_next(store, 1)
    (question,) = claim.questions
    assert (question.text, question.author, question.route) == ("Go on.", BEN, {"way": "here"})
    assert (question.channel, question.message_id) == ("c1", "r1")
    assert await history(store) == ["q1", "Forty-two.", "Go on."]


async def test_a_continuation_waits_for_the_id_of_the_first_page(store: SqlStore) -> None:
    """People may press a button before the platform's response to the post has arrived."""
    await store.accept(said(1, "q1"))
    claim = await claim_next(store, 1)
    await store.record_intent(claim.fence, 0)
    await store.conclude(claim.fence, CUT)
    assert (await store.continue_reply(key(), 1, BEN, "Go on.")).effect is Effect.BUSY
    await store.record_shown(claim.fence, 0, channel="c1", message_id="r1")
    assert (await store.continue_reply(key(), 1, BEN, "Go on.")).effect is Effect.REOPENED


async def test_continuing_twice_asks_once(store: SqlStore, place: Place) -> None:
    await ask_and_answer(store, 1)
    assert (await store.continue_reply(key(), 1, ANN, "Go on.")).effect is Effect.REOPENED
    assert (await store.continue_reply(key(), 1, ANN, "Go on.")).effect is Effect.SUPERSEDED
    assert (await store.continue_reply(key(), None, ANN, "Go on.")).effect is Effect.BUSY
    await answer_next(store, 1)
    assert (await store.continue_reply(key(), 1, ANN, "Go on.")).effect is Effect.SUPERSEDED
    assert look(place, "SELECT count(*) FROM messages WHERE content = 'Go on.'") == [(1,)]
    assert (await store.continue_reply(key(), None, ANN, "Go on.")).effect is Effect.REOPENED


async def test_without_a_reply_there_is_nothing_to_continue(store: SqlStore) -> None:
    assert (await store.continue_reply(key(), None, ANN, "Go on.")).effect is Effect.UNKNOWN
    await store.accept(said(1))
    await answer_next(store, 1, replace(ANSWER, outcome=Outcome.FAILED, content=""))
    assert (await store.continue_reply(key(), None, ANN, "Go on.")).effect is Effect.UNKNOWN


async def test_later_messages_come_after_the_continuation(store: SqlStore) -> None:
    await ask_and_answer(store, 1)
    await store.continue_reply(key(), None, ANN, "Go on.")
    await store.accept(said(5, "q5"))
    assert [q.text for q in (await claim_next(store, 1)).questions] == ["Go on.", "q5"]


# ── edits ─────────────────────────────────────────────────────────────────────────────────────
async def test_edit_of_an_unknown_message_is_unknown(store: SqlStore) -> None:
    assert await store.edit(source(1), "x", 1.0) == Change(Effect.UNKNOWN)


async def test_the_same_text_is_no_edit(store: SqlStore) -> None:
    await ask_and_answer(store, 1)
    assert (await store.edit(source(1), "q1", 9.0)).effect is Effect.SAME
    assert await store.list_unfinished("sim") == []


async def test_edit_of_a_waiting_question_changes_only_its_text(store: SqlStore) -> None:
    await store.accept(said(1, "q1"))
    assert (await store.edit(source(1), "better", 9.0)).effect is Effect.STORED
    assert [q.text for q in (await claim_next(store, 1)).questions] == ["better"]


@pytest.mark.parametrize("state", ["running", "concluded", "done"])
async def test_edit_of_the_newest_turns_question_reopens_the_turn(
    store: SqlStore, state: str
) -> None:
    await store.accept(said(1, "q1"))
    claim = await claim_next(store, 1)
    await store.record_shown(claim.fence, 0, channel="c1", message_id="r1")
    if state != "running":
        await store.conclude(claim.fence, ANSWER)
    if state == "done":
        await store.finish(claim.fence)
    assert await store.edit(source(1), "better", 9.0) == Change(Effect.REOPENED, 1, 1)
    await all_refused(store, claim.fence)
    again = await claim_next(store, 1)
    assert [q.text for q in again.questions] == ["better"]
    assert again.pages == (PageRecord(0, "r1", "c1"),)
    assert await history(store) == ["better"]


async def test_edit_of_an_older_question_is_stored_for_later_turns(store: SqlStore) -> None:
    await ask_and_answer(store, 1)
    await ask_and_answer(store, 2)
    assert (await store.edit(source(1), "better", 9.0)).effect is Effect.SUPERSEDED
    assert await store.list_unfinished("sim") == []
    assert await history(store) == ["better", "Forty-two.", "q2", "Forty-two."]


async def test_edit_while_a_newer_question_waits_is_stored_for_its_turn(store: SqlStore) -> None:
    await ask_and_answer(store, 1)
    await store.accept(said(2))
    assert (await store.edit(source(1), "better", 9.0)).effect is Effect.SUPERSEDED


async def test_edit_of_history_starts_no_turn(store: SqlStore) -> None:
    await ask_and_answer(store, 1)
    await store.accept(said(2, "aside", address=Address.ASIDE))
    assert (await store.edit(source(2), "an aside", 9.0)).effect is Effect.STORED


async def test_a_message_stored_with_its_edit_is_not_changed_by_that_edit_or_an_older_one(
    store: SqlStore,
) -> None:
    """The same edit with another display name in its text changes nothing either."""
    await store.accept(replace(said(1, "third"), edited_at=9.0))
    for text, edited_at in (("third @Ann", 9.0), ("second", 8.0)):
        assert (await store.edit(source(1), text, edited_at)).effect is Effect.SAME
    assert (await store.edit(source(1), "third", 11.0)).effect is Effect.SAME
    assert (await store.edit(source(1), "late", 10.0)).effect is Effect.SAME
    assert (await store.edit(source(1), "fourth", 12.0)).effect is Effect.STORED
    assert [q.text for q in (await claim_next(store, 1)).questions] == ["fourth"]


async def test_an_older_edit_that_arrives_late_changes_nothing(store: SqlStore) -> None:
    await store.accept(said(1, "q1"))
    await store.edit(source(1), "third", 9.0)
    assert (await store.edit(source(1), "second", 8.0)).effect is Effect.SAME
    assert [q.text for q in (await claim_next(store, 1)).questions] == ["third"]


async def test_edit_of_a_question_that_was_reset_while_waiting_starts_no_turn(
    store: SqlStore,
) -> None:
    """No turn ever answered it, so there is no reply to rewrite."""
    await store.accept(said(1, "q1"))
    await store.reset(key())
    await store.undo_reset(key(), None)
    assert (await store.edit(source(1), "better", 9.0)).effect is Effect.STORED


# ── deletions ─────────────────────────────────────────────────────────────────────────────────
async def test_a_deleted_text_is_nowhere_in_the_file(tmp_path: Path) -> None:
    """Searches for the message, its route and the conversation's name, including free database
    pages."""
    secret, place = "The password is hunter2.", tmp_path / "store.db"
    async with opened(place) as store:
        await store.accept(said(1, secret, route={"title": secret}))
        await answer_next(store, 1, replace(ANSWER, content="No: hunter2", display="No: hunter2"))
        await store.erase(source(1), with_reply=True)
        await answer_next(store, 1)  # the reply's page is removed
    for file in tmp_path.iterdir():  # noqa: ASYNC240 - nothing else runs
        assert b"hunter2" not in file.read_bytes(), file.name
    assert look(place, "SELECT name FROM conversations") == [("",)]


async def test_a_deleted_question_is_in_no_later_request_and_is_not_stored_again(
    store: SqlStore,
) -> None:
    await ask_and_answer(store, 1)
    assert (await store.erase(source(1), with_reply=False)).effect is Effect.STORED
    assert (await store.accept(said(1, "q1"))).receipt is Receipt.KNOWN
    assert (await store.edit(source(1), "q1 again", 9.0)).effect is Effect.SAME
    assert (await store.erase(source(1), with_reply=False)).effect is Effect.SAME
    assert await history(store) == ["Forty-two."]


async def test_a_deletion_that_arrives_before_its_message_keeps_it_out(store: SqlStore) -> None:
    assert (await store.erase(source(2), with_reply=False)).effect is Effect.UNKNOWN
    assert (await store.accept(said(2))).receipt is Receipt.KNOWN
    with pytest.raises(CommandDone):
        await store.record_command(source(2))
    await store.accept(said(3), [said(1, "so"), said(2, "deleted")])
    assert len((await claim_next(store, 1)).questions) == 1
    assert await history(store) == ["so", "why?"]


async def test_tombstones_are_forgotten_after_a_while(place: Place) -> None:
    clock = ManualClock()
    async with opened(place, clock=clock) as store:
        await store.erase(source(1), with_reply=False)
        await clock.advance(TOMBSTONE_SECONDS + 1)
        await store.erase(source(2), with_reply=False)
    assert look(place, "SELECT source FROM tombstones") == [(source(2),)]


async def test_the_name_passes_to_the_next_question(store: SqlStore) -> None:
    await ask_and_answer(store, 1)
    await ask_and_answer(store, 2)
    await store.erase(source(1), with_reply=False)
    conversation = await store.find(key())
    assert conversation is not None
    assert conversation.name == "q2"


async def test_a_name_that_people_chose_stays(store: SqlStore, place: Place) -> None:
    await ask_and_answer(store, 1)
    change(place, "UPDATE conversations SET name = 'Plans'")
    await store.erase(source(1), with_reply=False)
    assert look(place, "SELECT name FROM conversations") == [("Plans",)]


async def test_a_waiting_turn_without_questions_ends(store: SqlStore, place: Place) -> None:
    for number in (1, 2):
        await store.accept(said(number))
    await store.erase(source(1), with_reply=False)
    assert states(place) == [("waiting", None)]
    await store.erase(source(2), with_reply=False)
    assert states(place) == [("done", "stopped")]
    assert await store.claim(1) is None
    assert (await store.reopen(key(), None)).effect is Effect.UNKNOWN
    await store.accept(said(3))
    assert [q.message_id for q in (await claim_next(store, 1)).asked] == ["m3"]


async def test_a_running_turn_continues_without_one_of_its_questions(store: SqlStore) -> None:
    for number in (1, 2):
        await store.accept(said(number, f"q{number}"))
    claim = await claim_next(store, 1)
    assert (await store.erase(source(1), with_reply=True)).effect is Effect.REOPENED
    await all_refused(store, claim.fence)
    again = await claim_next(store, 1)
    assert [q.text for q in again.asked] == ["q2"]
    assert await history(store) == ["q2"]


async def test_a_running_turn_without_questions_is_stopped(store: SqlStore) -> None:
    """The turn's holder may conclude it; after a crash the claim has no questions."""
    await store.accept(said(1))
    claim = await claim_next(store, 1)
    assert (await store.erase(source(1), with_reply=False)).effect is Effect.STOP
    after_a_crash = await claim_next(store, 1)
    assert after_a_crash.asked == ()
    await store.conclude(after_a_crash.fence, replace(ANSWER, outcome=Outcome.STOPPED))
    assert claim.asked != ()


@pytest.mark.parametrize("state", ["running", "concluded", "done"])
async def test_a_reply_is_removed_with_its_question_if_the_settings_say_so(
    store: SqlStore, place: Place, state: str
) -> None:
    await store.accept(said(1))
    claim = await claim_next(store, 1)
    for page in (0, 1):
        await store.record_shown(claim.fence, page, channel="c1", message_id=f"r{page}")
    if state != "running":
        await store.conclude(claim.fence, ANSWER)
    if state == "done":
        await store.finish(claim.fence)
    assert await store.erase(source(1), with_reply=True) == Change(Effect.REOPENED, 1, 1)
    await all_refused(store, claim.fence)
    taken = await claim_next(store, 1)
    assert taken.result is not None
    assert (taken.result.display, taken.result.content) == ("", "")
    assert [page.message_id for page in taken.pages] == ["r0", "r1"]
    for page in (1, 0):
        await store.record_removal(taken.fence, page)
    await store.finish(taken.fence)
    assert await history(store) == []
    assert look(place, "SELECT content, display FROM turns") == [("", "")]


async def test_a_reply_to_several_questions_is_removed_with_the_last_of_them(
    store: SqlStore,
) -> None:
    await ask_and_answer(store, 1, 2)
    assert (await store.erase(source(1), with_reply=True)).effect is Effect.STORED
    assert await history(store) == ["q2", "Forty-two."]
    assert (await store.erase(source(2), with_reply=True)).effect is Effect.REOPENED
    assert await history(store) == []


# ── deleted replies ───────────────────────────────────────────────────────────────────────────
async def test_deleting_a_page_removes_the_reply_from_the_history(
    store: SqlStore, place: Place
) -> None:
    await ask_and_answer(store, 1)
    assert (await store.erase("sim/w1/c1/r1", with_reply=False)).effect is Effect.STORED
    assert await history(store) == ["q1"]
    assert states(place) == [("done", "answered")]
    assert (await store.reopen(key(), None)).effect is Effect.REOPENED
    assert (await claim_next(store, 1)).pages == ()


async def test_deleting_one_page_removes_the_others(store: SqlStore) -> None:
    await store.accept(said(1))
    claim = await claim_next(store, 1)
    for page in range(3):
        await store.record_shown(claim.fence, page, channel="c1", message_id=f"r{page}")
    await store.conclude(claim.fence, ANSWER)
    await store.finish(claim.fence)
    assert (await store.erase("sim/w1/c1/r1", with_reply=False)).effect is Effect.REOPENED
    assert [page.message_id for page in (await claim_next(store, 1)).pages] == ["r0", "r2"]


async def test_deleting_a_page_during_the_reply_ends_the_turn(store: SqlStore) -> None:
    await store.accept(said(1))
    claim = await claim_next(store, 1)
    await store.record_shown(claim.fence, 0, channel="c1", message_id="r0")
    assert (await store.erase("sim/w1/c1/r0", with_reply=False)).effect is Effect.REOPENED
    await all_refused(store, claim.fence)
    taken = await claim_next(store, 1)
    assert taken.result is not None
    await store.finish(taken.fence)
    assert await store.list_unfinished("sim") == []


async def test_an_older_reply_is_taken_back_while_the_newest_turn_runs(store: SqlStore) -> None:
    """The newest turn's fence stays valid; the older reply is claimed after it, or at a restart."""
    await ask_and_answer(store, 1)
    await store.accept(said(2))
    newest = await claim_next(store, 1)
    assert await store.erase(source(1), with_reply=True) == Change(Effect.REOPENED, 1, 1)
    await store.conclude(newest.fence, ANSWER)
    await store.finish(newest.fence)
    taken = await claim_next(store, 1)
    assert (taken.fence.turn, taken.result is not None) == (1, True)


# ── undo of a reset ───────────────────────────────────────────────────────────────────────────
async def test_undo_brings_back_the_earlier_messages_and_keeps_the_newer_ones(
    store: SqlStore,
) -> None:
    await ask_and_answer(store, 1)
    await store.reset(key())
    await ask_and_answer(store, 2)
    assert await history(store, 2) == ["q2", "Forty-two."]
    after = await store.undo_reset(key(), None)
    assert after is not None
    assert after.epoch == 2
    assert await history(store, 2) == ["q1", "Forty-two.", "q2", "Forty-two."]


async def test_each_undo_reverts_one_reset_and_a_button_only_its_own(
    store: SqlStore,
) -> None:
    for number in (1, 2, 3):
        await ask_and_answer(store, number)
        await store.reset(key())
    assert await store.undo_reset(key(), 1) is None
    assert await store.undo_reset(key(), 3) is not None
    assert await store.undo_reset(key(), 3) is None
    assert await history(store, 4) == ["q3", "Forty-two."]
    assert await store.undo_reset(key(), None) is not None
    assert await store.undo_reset(key(), None) is not None
    assert await store.undo_reset(key(), None) is None
    assert [text for text in await history(store, 4) if text[0] == "q"] == ["q1", "q2", "q3"]


async def test_without_a_reset_there_is_nothing_to_undo(store: SqlStore) -> None:
    assert await store.undo_reset(key(), None) is None
    await ask_and_answer(store, 1)
    assert await store.undo_reset(key(), None) is None


async def test_a_running_turn_continues_through_a_reset_and_its_undo(
    store: SqlStore,
) -> None:
    await store.accept(said(1, "q1"))
    claim = await claim_next(store, 1)
    await store.reset(key())
    await store.undo_reset(key(), 1)
    await store.conclude(claim.fence, ANSWER)
    await store.finish(claim.fence)
    assert await history(store, 2) == ["q1", "Forty-two."]


async def test_deleted_messages_stay_deleted_after_an_undo(store: SqlStore) -> None:
    await ask_and_answer(store, 1, 2)
    await store.reset(key())
    await store.erase(source(1), with_reply=False)
    await store.undo_reset(key(), None)
    assert await history(store, 2) == ["q2", "Forty-two."]
