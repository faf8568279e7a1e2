"""People who may not ask, in the database: withheld questions, notices, participants."""

from __future__ import annotations

import asyncio

import pytest

from bot.domain.context import Summary
from bot.domain.errors import LostOwnership
from bot.domain.inbox import Address
from bot.domain.turns import Fence
from bot.store import access
from tests.support.clock import ManualClock
from tests.support.store_kit import (
    BEN,
    Place,
    answer_next,
    claim_next,
    key,
    look,
    opened,
    said,
)

pytestmark = pytest.mark.asyncio


async def test_withheld_questions_are_no_history(place: Place) -> None:
    """A summary that covers a withheld question is dropped, and one being written is not saved."""
    async with opened(place) as store:
        await store.accept(said(1, "first"))
        await store.accept(said(2, "second", author=BEN))
        claim = await claim_next(store, 1)
        first, second = claim.questions
        contexts, summary = store.contexts(), Summary("about both", 2, "m")

        async def revision() -> int:
            return (await contexts.read_state(1, epoch=1, model="m")).revision

        before = await revision()
        assert await contexts.save_summary(1, epoch=1, revision=before, summary=summary)
        await store.withhold(claim.fence, {second.id})
        assert (await contexts.read_state(1, epoch=1, model="m")).summary is None
        assert not await contexts.save_summary(1, epoch=1, revision=before, summary=summary)
        assert [m.content for m in await store.history(1, epoch=1, before=9, limit=9)] == ["first"]
        assert await contexts.count_messages(1, epoch=1, start=0, before=9) == 1
        [mine, theirs] = (await claim_next(store, 1)).questions
        assert not mine.withheld and theirs.withheld
        with pytest.raises(LostOwnership):
            await store.withhold(claim.fence, ())
        newest = Fence(claim.fence.turn, claim.fence.attempt + 1)
        now = await revision()
        await store.withhold(newest, {second.id})
        assert await revision() == now  # nothing changed
        await store.withhold(newest, {first.id})
        found = await store.history_from(1, epoch=1, start=0, before=9, limit=9)
        assert [message.content for message in found] == ["second"]


async def test_a_person_gets_a_notice_once_a_day(place: Place) -> None:
    """Several of the person's messages may be handled at the same time."""
    clock = ManualClock()
    async with opened(place, clock=clock) as store:

        async def due(person: str, channel: str = "c1") -> bool:
            return await store.refusal_due(key(channel=channel), person, "no reason")

        assert sorted(await asyncio.gather(*(due("U1") for _ in range(20)))) == [False] * 19 + [
            True
        ]
        assert not await due("U1", "c2") and await due("U2")
        clock.jump(access.TOLD_SECONDS - 1)
        assert not await due("U1")
        clock.jump(1)
        assert await due("U1") and not await due("U1")
    audited = look(place, "SELECT count(*) FROM audit WHERE action = 'access.refused'")
    assert audited == [(3,)]


async def test_who_took_part_and_who_asked(place: Place) -> None:
    async with opened(place) as store:
        assert await store.took_part(key(), "U1") is None and not await store.askers(key(), None)
        await store.accept(said(1))
        await store.accept(said(2, author=BEN, address=Address.ASIDE))
        await answer_next(store, 1)
        assert [await store.took_part(key(), each) for each in ("U1", "U2", "U3")] == [
            True,
            True,
            False,
        ]
        assert [author.id for author in await store.askers(key(), None)] == ["U1"]
        await store.erase(said(1).source, with_reply=False)
        assert not await store.askers(key(), 1) and not await store.askers(key("t2"), 1)
