"""Versions of questions and answers in both databases."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.attachments import IncomingAttachment
from bot.domain.errors import RecordHeld
from bot.domain.feedback import Vote
from bot.domain.inbox import Effect, Incoming, Receipt
from bot.domain.privacy import Person
from bot.privacy.exporting import Exporter
from bot.privacy.forgetting import Forgetter
from bot.store import branches, feedback_export
from bot.store.store import SqlStore
from tests.support.branch_tree import check_random_history
from tests.support.privacy_kit import BOB, EVE, rows_with_traces, traces
from tests.support.store_kit import (
    ANN,
    ANSWER,
    Place,
    answer_next,
    check,
    claim_next,
    connected,
    key,
    look,
    opened,
    said,
)

EVERYTHING = 10**6


def edited(number: int, text: str, of: Incoming) -> Incoming:
    """Another version of a question."""
    return replace(said(number, text, where=of.key, author=of.author), revises=of.source)


async def texts(store: SqlStore, conversation: int = 1) -> list[str]:
    """The conversation as the model gets it, oldest message first."""
    rows = await store.history(conversation, epoch=1, before=EVERYTHING, limit=100)
    return [row.content for row in reversed(rows)]


async def answer(store: SqlStore, text: str, conversation: int = 1) -> int:
    """Answer the next turn; returns its id."""
    result = replace(ANSWER, content=text, display=text)
    return (await answer_next(store, conversation, result)).fence.turn


async def versions(store: SqlStore) -> list[list[int]]:
    return [[number for number, _ in place] for place in await store.library().versions(1)]


@pytest.mark.parametrize("seed", [101, 102, 103])
async def test_random_histories_show_the_branch_of_the_tree(place: Place, seed: int) -> None:
    async with opened(place):
        pass  # which creates the schema
    with connected(place) as db:
        check_random_history(db, seed, steps=60)
    check(place)


async def test_a_dead_process_loses_no_version(place: Place) -> None:
    """Between a press of "try again" and its answer, the earlier version can be shown again."""
    async with opened(place) as store:
        await store.accept(said(1, "q"))
        first = await answer(store, "a1")
        change = await store.answer_again(key(), first, model="other")
        assert change.effect is Effect.REOPENED
        claim = await claim_next(store, 1)
        assert (claim.fence.turn, claim.conversation.model) == (change.turn, "other")
        assert [each.text for each in claim.questions] == ["q"]
    async with opened(place) as store:
        assert await versions(store) == [[1, 2]]
        again = await claim_next(store, 1)
        assert again.fence.attempt == claim.fence.attempt + 1
        assert (await store.show_version(key(), 1)).effect is Effect.BUSY
        await store.conclude(again.fence, ANSWER)
        await store.finish(again.fence)
        assert await texts(store) == ["q", ANSWER.content]
        assert (await store.show_version(key(), 1)).effect is Effect.STORED
        assert await texts(store) == ["q", "a1"]
        found = await store.find(key())
        assert found is not None
        assert found.model is None


async def test_votes_and_costs_stay_with_their_answer(store: SqlStore) -> None:
    await store.accept(said(1, "q"))
    first = await answer(store, "a1")
    assert await store.feedback().set_vote(key(), first, ANN.id, Vote.DOWN, "wrong")
    await store.answer_again(key(), None)
    second = await answer(store, "a2")
    await store.feedback().set_vote(key(), second, ANN.id, Vote.UP)
    found = await store.feedback().votes(key(), ANN.id)
    assert {turn: each.vote for turn, each in found.items()} == {
        first: Vote.DOWN,
        second: Vote.UP,
    }
    [shown] = await store.library().replies(1, limit=9)
    assert (shown.turn, shown.content, shown.usage) == (second, "a2", ANSWER.usage)
    hidden = await store.library().reply(first)
    assert hidden is not None
    assert (hidden.content, hidden.usage) == ("a1", ANSWER.usage)


async def test_an_edited_question_keeps_its_files_until_the_last_version_goes(
    place: Place,
) -> None:
    file = IncomingAttachment(name="a.txt", data=b"alpha", identity="F1")
    async with opened(place) as store:
        first = said(1, "read this", attachments=[file])
        await store.accept(first)
        await answer(store, "a1")
        again = edited(2, "read it well", first)
        assert (await store.accept(again)).receipt is Receipt.QUESTION
        assert (await store.accept(again)).receipt is Receipt.KNOWN
        await answer(store, "a2")
        digest = hashlib.sha256(b"alpha").hexdigest()
        assert look(place, "SELECT digest FROM attachments") == [(digest,), (digest,)]
        library = store.library()
        shown = (await library.latest(1, limit=9))[0]
        assert [each.name for each in shown.attachments] == ["a.txt"]
        for each in await library.versions_of(1, shown.uid):
            assert len(look(place, "SELECT 1 FROM files")) == 1
            await library.erase(1, each.uid)
        assert look(place, "SELECT 1 FROM files") == []
    check(place)


async def test_only_ones_own_shown_question_is_edited_and_only_so_often(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = said(1, "q1")
    await store.accept(first)
    with pytest.raises(RecordHeld, match="being answered"):
        await store.accept(edited(2, "q2", first))
    await answer(store, "a1")
    with pytest.raises(RecordHeld, match="as it is shown now"):
        await store.accept(replace(edited(2, "q2", first), author=BOB))
    monkeypatch.setattr(branches, "MOST_VERSIONS", 2)
    await store.accept(edited(2, "q2", first))
    await answer(store, "a2")
    with pytest.raises(RecordHeld, match="as it is shown now"):
        await store.accept(edited(3, "q3", first))
    with pytest.raises(RecordHeld, match="50 versions"):
        await store.accept(edited(3, "q3", said(2)))
    assert (await store.answer_again(key(), None)).effect is Effect.REOPENED
    await answer(store, "a3")
    assert (await store.answer_again(key(), None)).effect is Effect.FULL
    await store.reset(key())
    assert (await store.answer_again(key(), None)).effect is Effect.SUPERSEDED
    assert (await store.show_version(key(), 0)).effect is Effect.SUPERSEDED
    with pytest.raises(RecordHeld, match="started over"):
        await store.accept(edited(3, "q3", said(2)))


async def test_a_link_shows_the_branch_of_its_moment_and_knows_that_another_is_shown(
    place: Place,
) -> None:
    async with opened(place) as store:
        shares = store.shares()
        await store.accept(said(1, "q"))
        await answer(store, "a1")
        await store.answer_again(key(), None)
        await answer(store, "a2")
        link = await shares.share(key(), ANN.id)
        assert link is not None
        for version, has_news in ((1, True), (2, False)):
            await store.show_version(key(), version)
            known = await shares.of_conversation(key())
            assert known is not None
            assert known.has_news is has_news
            read = await shares.messages(link.uid, after=-1, limit=9)
            assert [each.content for each in read] == ["q", "a2"]
        await store.show_version(key(), 1)
        updated = await shares.share(key(), ANN.id)
        assert updated is not None
        assert updated.has_news is False
        read = await shares.messages(link.uid, after=-1, limit=9)
        assert [each.content for each in read] == ["q", "a1"]


async def test_erasure_and_export_know_every_version(place: Place) -> None:
    """This is among messages of others, since a conversation of one person is deleted as a
    whole."""
    person, where = Person("sim", "w1", EVE.id), key()
    async with opened(place) as store:
        first = said(1, "evelynmark one", author=EVE)
        await store.accept(first)
        await store.accept(said(2, "bobmark too", author=BOB))
        await answer(store, "you said evelynmark one")
        await store.accept(edited(3, "evelynmark two", first))
        await answer(store, "you said evelynmark two")
        await store.answer_again(where, None)
        await answer(store, "you did say evelynmark two")
        exporter = Exporter(store=store.privacy(), audit=store.audit())
        lines = [line async for line in exporter.lines(person, by=EVE.id, key=where)]
        for text in ("mark one", "mark two", "said evelynmark two", "did say"):
            assert any(text in line for line in lines), text
        forgetter = Forgetter(store=store.privacy(), audit=store.audit())
        await forgetter.forget(person, by="admin", key=where)
        if not isinstance(place, Path):
            assert rows_with_traces(place, [b"evelynmark"]) == []
        assert look(place, "SELECT count(*) FROM messages WHERE content = 'bobmark too'") == [(1,)]
    check(place)
    if isinstance(place, Path):
        assert traces(place, [b"evelynmark"]) == {}


async def test_a_person_is_forgotten_while_another_answer_is_written(place: Place) -> None:
    """The running turn answers an earlier turn's question, and must not outlive it."""
    async with opened(place) as store:
        await store.accept(said(1, "evelynmark", author=EVE))
        await store.accept(said(2, "bobmark", author=BOB))
        await answer(store, "a1")
        await store.answer_again(key(), None)
        claim = await claim_next(store, 1)
        forgetter = Forgetter(store=store.privacy(), audit=store.audit())
        await forgetter.forget(Person("sim", "w1", EVE.id), by="admin", key=key())
        again = await claim_next(store, 1)
        assert again.fence.attempt > claim.fence.attempt + 1  # reopened, not only claimed again
        assert [each.text for each in again.asked] == ["bobmark"]
    check(place)


async def test_a_rated_answer_is_exported_with_its_own_branch(place: Place) -> None:
    async with opened(place) as store:
        first = said(1, "q1")
        await store.accept(first)
        await answer(store, "a1")
        await store.accept(said(2, "q2"))
        rated = await answer(store, "a2")
        await store.feedback().set_vote(key(), rated, ANN.id, Vote.UP)
        await store.accept(edited(3, "q3", first))
        await answer(store, "a3")
    with connected(place) as db:
        [case] = feedback_export.read_cases(db, feedback_export.Selection())
    assert [each.content for each in case.messages] == ["q1", "a1", "q2"]
    assert (case.questions, case.reply.text) == (1, "a2")
