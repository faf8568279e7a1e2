"""Leftovers on the platforms, as both databases store them."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.leftovers import Leftover, LeftoverKind
from bot.domain.records import RecordScope
from bot.privacy.retention import DAY_SECONDS, RetentionKeeper
from bot.store.store import SqlStore
from tests.support.clock import ManualClock
from tests.support.store_kit import Place, answer_next, key, look, opened, said


async def test_leftovers_are_kept_until_they_are_removed(store: SqlStore) -> None:
    for number, platform in enumerate(("sim", "other"), start=1):
        await store.accept(said(number, where=key(platform=platform)))
        await answer_next(store, number)
    page = Leftover(1, LeftoverKind.MESSAGE, "c1", "m1")
    status = Leftover(1, LeftoverKind.STATUS, "c1", "t1")
    elsewhere = Leftover(2, LeftoverKind.FILE, "c2", "f1")
    unknown = Leftover(99, LeftoverKind.FILE, "c2", "f1")
    for each in (page, page, status, elsewhere, unknown):
        await store.add_leftover(each)
    found = await store.leftovers("sim")
    assert {(each.kind, each.name) for each in found} == {(page.kind, "m1"), (status.kind, "t1")}
    assert {each.workspace for each in found} == {key().workspace}
    assert await store.leftovers("other") == [elsewhere]
    counted = (await store.load()).leftovers
    assert [(each.platform, each.kind, each.count) for each in counted] == [
        ("other", "file", 1),
        ("sim", "message", 1),
        ("sim", "status", 1),
    ]
    assert counted[0].oldest_at == (await store.leftovers("other"))[0].created_at
    await store.remove_leftover(page)
    assert await store.leftovers_of(1) == [status]
    await store.remove_leftover(page)  # recording it twice is no error
    assert await store.leftovers("sim") == [status]


async def test_a_leftover_outlives_the_process_and_its_conversation(place: Place) -> None:
    """Of an erased conversation its row has nothing but the address of what the bot removes."""
    async with opened(place) as store:
        conversation = (await store.accept(said(1))).conversation
        assert conversation is not None
        left = [Leftover(conversation, kind, "c1", "m1") for kind in LeftoverKind]
        for each in left:
            await store.add_leftover(each)
    async with opened(place) as store:
        found = await store.leftovers("sim")
        assert set(found) == set(left)
        assert all(each.created_at > 0 for each in found)
        [(uid,)] = look(place, "SELECT uid FROM conversations")
        assert await store.library().delete(uid, RecordScope("sim", key().workspace)) is not None
        assert await store.leftovers("other") == []
        found = await store.leftovers("sim")
        assert set(found) == {replace(each, conversation=0) for each in left}
        assert {each.workspace for each in found} == {key().workspace}
        assert not await store.is_busy(0)
        counted = (await store.load()).leftovers
        assert [(each.platform, each.count) for each in counted] == [("sim", 1)] * len(left)
        await store.remove_leftover(left[0])  # by the process that recorded it
        await store.remove_leftover(found[1])  # by another one
    assert set(look(place, "SELECT * FROM leftovers")) == {
        (None, each.kind.value, "c1", "m1", each.created_at, "sim", key().workspace)
        for each in found
        if each.kind not in (left[0].kind, found[1].kind)
    }


async def test_a_leftover_that_no_platform_removes_is_given_up(place: Place) -> None:
    """Of an erased conversation: an adapter that does not run any more gives up nothing."""
    clock = ManualClock()
    async with opened(place, clock=clock) as store:
        for number, thread in enumerate(("a", "b"), start=1):
            conversation = (await store.accept(said(number, where=key(thread)))).conversation
            assert conversation is not None
            await store.add_leftover(Leftover(conversation, LeftoverKind.MESSAGE, "c1", thread))
        [(uid,)] = look(place, "SELECT uid FROM conversations WHERE thread = 'a'")
        assert await store.library().delete(uid, RecordScope("sim", key().workspace)) is not None

        async def days(_: object) -> int:
            return 0

        keeper = RetentionKeeper(store=store.privacy(), days=days, clock=clock)
        await keeper.prune()
        assert len(await store.leftovers("sim")) == 2
        clock.jump(DAY_SECONDS + 1.0)
        await keeper.prune()
        assert [each.name for each in await store.leftovers("sim")] == ["b"]
