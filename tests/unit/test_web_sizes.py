"""How much one answer, and one user's feed, may hold."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.web.hub import KEPT_CHARACTERS, KEPT_EVENTS, Feed
from adapters.web.page_size import first, newest, read_newest


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ([], []),
        ([5], [5]),
        ([99], [99]),
        ([1, 2, 3], [1, 2, 3]),
        ([9, 4, 6], [4, 6]),
        ([4, 99], [99]),
    ],
)
def test_the_newest_that_fit_are_kept_and_the_last_one_always(
    sizes: list[int], kept: list[int]
) -> None:
    assert newest(sizes, int, 10) == kept
    assert first(sizes[::-1], int, 10) == kept[::-1]


@pytest.mark.parametrize(("size", "there"), [(1, 5_000), (40_000, 5_000), (1, 70), (1, 64)])
async def test_no_more_is_read_than_is_wanted(size: int, there: int) -> None:
    """Long entries are not read by the thousand to be thrown away."""
    read: list[int] = []

    async def last(limit: int) -> Sequence[int]:
        read.append(min(limit, there))
        return [size] * min(limit, there)

    found = await read_newest(last, int, most=1_000, left=1_000_000)
    assert len(found) == min(1_000, there, 1_000_000 // size)
    assert max(read) * size <= 4 * 1_000_000


def test_a_feed_keeps_events_by_number_and_by_size() -> None:
    """Whoever comes for one that is not kept reads all again; the newest is always kept."""
    feed = Feed()
    for _ in range(10):
        feed.push("message", dict, size=KEPT_CHARACTERS // 4)
    assert len(feed.since(feed.number - 4) or ()) == 4
    assert feed.since(feed.number - 5) is None
    feed.push("message", dict, size=2 * KEPT_CHARACTERS)
    assert len(feed.since(feed.number - 1) or ()) == 1
    for _ in range(100):
        feed.push("reply", dict, key="one", size=KEPT_CHARACTERS // 2)
    for _ in range(2 * KEPT_EVENTS):
        feed.push("thread", dict)
    assert len(feed.since(feed.number - KEPT_EVENTS) or ()) == KEPT_EVENTS
    assert feed._characters == 0
