"""A message is stored once, and only in a conversation that exists or that it begins."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from bot.domain.conversations import Author, Visibility
from bot.domain.inbox import Accepted, Address, Receipt
from bot.store.store import SqlStore
from tests.support.store_kit import (
    ANN,
    BEN,
    Place,
    answer_next,
    claim_next,
    key,
    look,
    said,
)


@pytest.mark.parametrize("address", [Address.MENTION, Address.DIRECT])
async def test_a_message_to_the_bot_begins_a_conversation(
    store: SqlStore, address: Address
) -> None:
    accepted = await store.accept(
        said(1, "  How\n does\tit work? ", address=address, visibility=Visibility.PUBLIC)
    )
    assert accepted == Accepted(Receipt.QUESTION, 1, 1)
    found = await store.find(key())
    assert found is not None
    assert (found.id, found.key, found.name) == (1, key(), "How does it work?")
    assert (found.epoch, found.model, found.began_by) == (1, None, ANN)
    assert found.visibility is Visibility.PUBLIC


@pytest.mark.parametrize("address", [Address.FOLLOW_UP, Address.ASIDE])
async def test_a_message_in_an_unknown_thread_leaves_no_trace(
    store: SqlStore, place: Place, address: Address
) -> None:
    assert await store.accept(said(1, address=address)) == Accepted(Receipt.IGNORED)
    for table in ("conversations", "messages", "turns"):
        assert look(place, f"SELECT count(*) FROM {table}") == [(0,)]
    assert (await store.accept(said(1))).receipt is Receipt.QUESTION


async def test_resending_a_message_changes_nothing(store: SqlStore, place: Place) -> None:
    first = await store.accept(said(1))
    before = look(place, "SELECT * FROM conversations, messages, turns")
    again = said(1, "edited", address=Address.FOLLOW_UP, author=BEN)
    assert await store.accept(again) == Accepted(Receipt.KNOWN, first.conversation, first.turn)
    assert look(place, "SELECT * FROM conversations, messages, turns") == before
    await answer_next(store, first.conversation)
    assert await store.accept(said(1)) == Accepted(Receipt.KNOWN, first.conversation, first.turn)
    assert await store.list_unfinished("sim") == []


async def test_an_aside_becomes_history_without_a_turn(store: SqlStore) -> None:
    begun = await store.accept(said(1))
    await answer_next(store, begun.conversation)
    aside = await store.accept(said(2, "hey @ben", address=Address.ASIDE))
    assert aside == Accepted(Receipt.HISTORY, begun.conversation)
    assert await store.accept(said(2, address=Address.ASIDE)) == Accepted(
        Receipt.KNOWN, begun.conversation
    )
    assert await store.list_unfinished("sim") == []


async def test_questions_join_the_waiting_turn_and_later_ones_wait_for_the_next(
    store: SqlStore,
) -> None:
    first = await store.accept(said(1))
    second = await store.accept(said(2, address=Address.FOLLOW_UP))
    assert second.turn == first.turn
    await claim_next(store, first.conversation)
    third, fourth = await store.accept(said(3)), await store.accept(said(4))
    assert third.turn == fourth.turn != first.turn


async def test_the_same_thread_name_elsewhere_is_another_conversation(store: SqlStore) -> None:
    places = [key(), key("t2"), key(channel="c2"), key(platform="other")]
    found = [
        (await store.accept(said(n, where=place))).conversation for n, place in enumerate(places)
    ]
    assert len(set(found)) == len(places)


async def test_a_backlog_becomes_history_before_the_question(store: SqlStore) -> None:
    question = said(3, "so?")
    backlog = [said(2, "second", author=BEN), said(1, "first"), question, said(2, "again")]
    accepted = await store.accept(question, backlog)
    claim = await claim_next(store, accepted.conversation)
    assert [q.text for q in claim.questions] == ["so?"]
    rows = await store.history(1, epoch=1, before=claim.reply_index, limit=9)
    assert [(row.index, row.content) for row in rows] == [(2, "so?"), (1, "second"), (0, "first")]
    assert (await store.accept(said(1))).receipt is Receipt.KNOWN


async def test_a_backlog_is_ignored_unless_a_conversation_begins(store: SqlStore) -> None:
    begun = await store.accept(said(5))
    await store.accept(said(6), [said(1, "old")])
    await store.accept(said(7, where=key("t9"), address=Address.FOLLOW_UP), [said(2, "old")])
    claim = await claim_next(store, begun.conversation)
    rows = await store.history(1, epoch=1, before=claim.reply_index, limit=9)
    assert [row.content for row in rows] == ["why?", "why?"]
    assert (await store.accept(said(1))).receipt is Receipt.QUESTION


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "another"),  # a bare mention gives no name
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        ("word " * 40, ("word " * 16)[:79].rstrip() + "…"),
    ],
)
async def test_a_conversation_is_named_after_its_first_question(
    store: SqlStore, text: str, name: str
) -> None:
    await store.accept(said(1, text))
    await store.accept(said(2, "another"))
    found = await store.find(key())
    assert found is not None
    assert found.name == name


async def test_a_conversation_that_was_private_once_stays_private(store: SqlStore) -> None:
    for number, visibility in enumerate(
        (Visibility.PUBLIC, Visibility.PRIVATE, Visibility.PUBLIC), start=1
    ):
        await store.accept(said(number, visibility=visibility))
    found = await store.find(key())
    assert found is not None
    assert found.visibility is Visibility.PRIVATE


async def test_a_stored_question_has_everything_that_its_answer_needs(store: SqlStore) -> None:
    question = said(1, "why?", route={"thread": "1.2", "ä": "\ud800"})
    accepted = await store.accept(question)
    (kept,) = (await claim_next(store, accepted.conversation)).questions
    assert (kept.channel, kept.message_id, kept.author) == ("c1", "m1", ANN)
    assert (kept.text, kept.sent_at) == ("why?", 1.0)
    assert kept.route == question.route


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\0b", "a\ufffdb"),
        ("\ud83d\ude00!", "😀!"),
        ("\ud83d?", "\ufffd?"),
        ("عربي 漢字", "عربي 漢字"),
    ],
)
async def test_any_text_can_be_stored(store: SqlStore, text: str, kept: str) -> None:
    accepted = await store.accept(said(1, text, author=Author("U1", text)))
    (question,) = (await claim_next(store, accepted.conversation)).questions
    assert (question.text, question.author.name) == (kept, kept)


async def test_a_hundred_concurrent_deliveries_are_stored_as_one_question(
    store: SqlStore,
) -> None:
    results = await asyncio.gather(
        *(
            store.accept(said(1, address=address))
            for address in (Address.MENTION, Address.DIRECT)
            for _ in range(50)
        )
    )
    assert Counter(result.receipt for result in results) == {
        Receipt.QUESTION: 1,
        Receipt.KNOWN: 99,
    }
    assert {(result.conversation, result.turn) for result in results} == {(1, 1)}


async def test_a_hundred_concurrent_first_messages_begin_one_conversation(
    store: SqlStore,
) -> None:
    results = await asyncio.gather(*(store.accept(said(number)) for number in range(100)))
    assert {(result.conversation, result.turn) for result in results} == {(1, 1)}
    claim = await claim_next(store, 1)
    assert [question.message_id for question in claim.questions] == [f"m{n}" for n in range(100)]
