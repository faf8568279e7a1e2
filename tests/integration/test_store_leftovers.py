"""Leftovers on the platforms, as both databases store them."""

from __future__ import annotations

from bot.domain.leftovers import Leftover, LeftoverKind
from bot.store.store import SqlStore
from tests.support.store_kit import answer_next, key, said


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
    await store.remove_leftover(page)
    assert await store.leftovers_of(1) == [status]
    await store.remove_leftover(page)  # twice is no error
    assert await store.leftovers("sim") == [status]
