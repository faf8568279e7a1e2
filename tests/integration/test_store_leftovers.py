"""Leftovers on platforms, in each database."""

from __future__ import annotations

from bot.domain.leftovers import Leftover, LeftoverKind
from bot.domain.records import RecordScope
from tests.support.store_kit import Place, key, look, opened, said


async def test_a_leftover_stays_until_it_is_removed(place: Place) -> None:
    """Another start reads it, with its workspace; recording it twice changes nothing."""
    async with opened(place) as store:
        conversation = (await store.accept(said(1))).conversation
        assert conversation is not None
        left = [Leftover(conversation, kind, "c1", "m1") for kind in LeftoverKind]
        for each in (*left, *left):
            await store.add_leftover(each)
    async with opened(place) as store:
        found = await store.leftovers("sim")
        assert set(found) == set(left)
        assert {each.workspace for each in found} == {key().workspace}
        assert all(each.created_at > 0 for each in found)
        assert await store.leftovers("web") == []
        assert set(await store.leftovers_of(conversation)) == set(left)
        assert await store.leftovers_of(conversation + 1) == []
        await store.remove_leftover(left[0])
        await store.remove_leftover(left[0])
        assert set(await store.leftovers("sim")) == set(left[1:])


async def test_a_leftover_goes_with_its_conversation(place: Place) -> None:
    """None is recorded for a conversation that was deleted before."""
    async with opened(place) as store:
        conversation = (await store.accept(said(1))).conversation
        assert conversation is not None
        await store.add_leftover(Leftover(conversation, LeftoverKind.MESSAGE, "c1", "m1"))
        await store.add_leftover(Leftover(conversation + 1, LeftoverKind.MESSAGE, "c1", "m2"))
        assert len(await store.leftovers("sim")) == 1
        [(uid,)] = look(place, "SELECT uid FROM conversations")
        assert await store.library().delete(uid, RecordScope("sim", key().workspace)) is not None
    assert look(place, "SELECT count(*) FROM leftovers") == [(0,)]
