"""Votes on replies in the database."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.feedback import Feedback, MadeWith, Vote, VoteEffect
from bot.store.store import SqlStore
from tests.support.store_kit import ANN, ANSWER, BEN, Place, claim_next, key, look, opened, said


async def answer(store: SqlStore, number: int = 1, content: str = "Forty-two.") -> int:
    """Ask and answer a question; returns the turn's id."""
    accepted = await store.accept(said(number))
    claim = await claim_next(store, accepted.conversation)
    made_with = MadeWith("ops", "d1gest", 3)
    await store.conclude(claim.fence, replace(ANSWER, content=content, made_with=made_with))
    await store.finish(claim.fence)
    return claim.fence.turn


async def test_one_changeable_vote_for_each_person_and_reply(place: Place) -> None:
    async with opened(place) as store:
        votes, turn = store.feedback(), await answer(store)
        assert await votes.press(key(), turn, ANN.id, Vote.UP) is VoteEffect.COUNTED
        assert not await votes.set_comment(key(), turn, ANN.id, "only on a thumbs-down")
        assert await votes.press(key(), turn, ANN.id, Vote.DOWN) is VoteEffect.COUNTED
        assert await votes.set_comment(key(), turn, ANN.id, " wrong \ud800 year " + "x" * 3_000)
        assert await votes.press(key(), turn, BEN.id, Vote.UP) is VoteEffect.COUNTED
        [row] = look(place, "SELECT vote, comment FROM feedback WHERE person = 'U1'")
        assert row[0] == "down"
        assert row[1].startswith("wrong \N{REPLACEMENT CHARACTER} year")
        assert len(row[1]) == 2_000
        assert (await votes.votes(key(), BEN.id)) == {turn: Feedback(turn, Vote.UP)}
        assert await votes.press(key(), turn, ANN.id, Vote.DOWN) is VoteEffect.TAKEN_BACK
        assert await votes.votes(key(), ANN.id) == {}
        assert await votes.set_vote(key(), turn, ANN.id, Vote.DOWN, "again")
        assert await votes.set_vote(key(), turn, ANN.id, Vote.UP, "no comment on this")
        assert await votes.votes(key(), ANN.id) == {turn: Feedback(turn, Vote.UP)}
        [made] = look(place, "SELECT profile, prompt_digest, context_start FROM turns")
        assert made == ("ops", "d1gest", 3)


async def test_a_vote_needs_the_reply_of_this_conversation(place: Place) -> None:
    """A button that names a turn of another place, or one without an answer, has no effect."""
    async with opened(place) as store:
        votes, turn, empty = store.feedback(), await answer(store), await answer(store, 2, "")
        for where, number in (
            (key("t2"), turn),
            (key(channel="c2"), turn),
            (key(platform="web"), turn),
            (key(), turn + 100),
            (key(), empty),
        ):
            assert await votes.press(where, number, ANN.id, Vote.UP) is VoteEffect.UNKNOWN
            assert not await votes.set_vote(where, number, ANN.id, Vote.UP)
            assert not await votes.set_comment(where, number, ANN.id, "x")
        assert look(place, "SELECT count(*) FROM feedback") == [(0,)]


async def test_votes_go_with_the_reply(place: Place) -> None:
    """A retry, a deleted page and a deleted conversation remove them; other replies' votes stay."""
    async with opened(place) as store:
        votes, first, second = store.feedback(), await answer(store), await answer(store, 2)
        for turn in (first, second):
            await votes.press(key(), turn, ANN.id, Vote.DOWN)
        await store.reopen(key(), second)
        assert look(place, "SELECT turn_id FROM feedback") == [(first,)]
        assert look(place, f"SELECT profile, context_start FROM turns WHERE id = {second}") == [
            (None, None)
        ]
        claim = await claim_next(store, 1)
        await store.record_shown(claim.fence, 0, channel="c1", message_id="r1")
        await store.conclude(claim.fence, ANSWER)
        await store.finish(claim.fence)
        await votes.press(key(), second, ANN.id, Vote.DOWN)
        await store.erase("sim/w1/c1/r1", with_reply=False)
        assert look(place, "SELECT turn_id FROM feedback") == [(first,)]
