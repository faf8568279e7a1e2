"""Texts and numbers that a database cannot store as they are, in any column, on both engines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.conversations import Author
from bot.domain.inbox import Effect, Incoming, Receipt, Watermark
from bot.domain.leftovers import Leftover, LeftoverKind
from bot.domain.model import Usage
from bot.domain.spending import Booking, Quote, Reserved, Spender
from bot.store.store import SqlStore
from bot.store.values import storable_parameters
from tests.support.store_kit import ANSWER, claim_next, key, said

ODD, KEPT = "a\ud800b\0c", "a\ufffdb\ufffdc"
HUGE, LARGEST = 2**70, 2**63 - 1


def odd_messages() -> list[Incoming]:
    """Messages with an odd text in one field each, and one with a huge position."""
    fields = ("channel", "message_id", "text")
    parts = ("platform", "workspace", "channel", "thread")
    keys = [replace(key(f"k{part}"), **{part: ODD}) for part in parts]
    return [
        *(replace(said(n, where=key(f)), **{f: ODD}) for n, f in enumerate(fields)),
        *(said(10 + number, where=where) for number, where in enumerate(keys)),
        said(20, where=key("author"), author=Author(ODD, ODD)),
        said(21, where=key("route"), route={ODD: ODD}),
        replace(said(22, where=key("position")), position=HUGE),
    ]


@pytest.mark.parametrize("odd", odd_messages(), ids=lambda odd: str(odd.position))
async def test_a_message_is_stored_found_changed_and_erased(store: SqlStore, odd: Incoming) -> None:
    accepted = await store.accept(odd)
    assert accepted.receipt is Receipt.QUESTION
    assert (await store.accept(odd)).receipt is Receipt.KNOWN
    assert await store.find(odd.key) is not None
    assert (await store.edit(odd.source, f"{ODD}!", 5.0)).effect is Effect.STORED
    claim = await claim_next(store, accepted.conversation)
    assert claim.questions[0].text == f"{KEPT}!"
    assert (await store.stop(odd.key, None)).effect is Effect.STOP
    assert await store.reset(odd.key, source=f"{odd.source}/reset") is not None
    assert (await store.erase(odd.source, with_reply=False)).effect is Effect.STOP


async def test_a_reply_is_stored(store: SqlStore) -> None:
    await store.accept(said(1))
    claim = await claim_next(store, 1)
    await store.record_intent(claim.fence, 0)
    await store.record_shown(claim.fence, 0, channel=ODD, message_id=ODD)
    usage = Usage(HUGE, HUGE)
    odd = replace(ANSWER, model=ODD, finish_reason=ODD, usage=usage, estimated_tokens=HUGE)
    await store.conclude(claim.fence, odd)
    again = await claim_next(store, 1)
    assert again.result is not None
    assert (again.result.model, again.result.finish_reason) == (KEPT, KEPT)
    assert again.result.usage == Usage(LARGEST, LARGEST)
    assert again.pages[0].message_id == KEPT


async def test_what_buttons_and_commands_name_is_looked_up(store: SqlStore) -> None:
    await store.accept(said(1))
    assert (await store.stop(key(), HUGE)).effect is Effect.UNKNOWN
    assert (await store.reopen(key(), HUGE)).effect is Effect.UNKNOWN
    assert (await store.show_version(key(), HUGE)).effect is Effect.UNKNOWN
    assert not await store.feedback().set_comment(key(), HUGE, ODD, ODD)
    assert await store.took_part(key(), ODD) is False
    assert await store.author_of(ODD) is None
    chosen = await store.choose_model(key(), ODD)
    assert chosen is not None
    assert chosen.model == KEPT


async def test_records_of_the_platforms_are_stored(store: SqlStore) -> None:
    await store.accept(said(1))
    await store.move_watermarks([Watermark(ODD, ODD, ODD, HUGE)])
    assert await store.watermarks(ODD) == [Watermark(ODD, KEPT, KEPT, LARGEST)]
    leftover = Leftover(1, LeftoverKind.FILE, ODD, ODD)
    await store.add_leftover(leftover)
    assert [each.name for each in await store.leftovers_of(1)] == [KEPT]
    await store.remove_leftover(leftover)
    assert await store.leftovers_of(1) == []
    await store.keep_out(ODD)
    await store.record_command(f"{ODD}/command")
    assert await store.refusal_due(key(), ODD, ODD)
    assert not await store.refusal_due(key(), ODD, ODD)


async def test_the_books_take_any_model_person_and_number(store: SqlStore) -> None:
    books, spender = store.spending(), Spender(key(), Author(ODD, ODD))
    reserved = await books.reserve(spender, [], Quote(ODD, HUGE, HUGE, HUGE, 1.0), "2026-11-30")
    assert isinstance(reserved, Reserved)
    await books.record_progress(reserved.id, ODD, HUGE)
    await books.settle(reserved.id, [Booking(ODD, Usage(12, 3), 5)], [])


def test_ordinary_parameters_are_passed_on_unchanged() -> None:
    ordinary = {"text": "日本 😀", "number": -(2**63) + 1, "none": None, "bytes": b"\0"}
    assert storable_parameters(ordinary) is ordinary
    assert storable_parameters((-HUGE, HUGE, 1.5, "\ud83d\ude00")) == (-(2**63), LARGEST, 1.5, "😀")
