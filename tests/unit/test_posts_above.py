"""Which posts by other bots stand above a mention, and when a channel is read for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bot.domain.errors import Unsettled
from bot.inbox.posts_above import MAX_AGE, MAX_CHANNELS, RecentPosts, Seen, choose
from tests.support.clock import ManualClock

NOW = 1_000_000.0


def seen(layout: str) -> list[Seen[str]]:
    """A channel's messages, oldest first: `p` is a person's, any other letter a bot's post."""
    return [
        Seen(n, NOW - len(layout) + n, None if letter == "p" else letter)
        for n, letter in enumerate(layout)
    ]


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("", ""),
        ("a", "a"),
        ("ab", "ab"),
        ("abcdefg", "cdefg"),
        ("appp", "a"),
        ("apppp", ""),
        ("papbpp", "ab"),
        ("appbpp", "b"),
        ("pppp", ""),
    ],
)
def test_the_posts_directly_above_count(layout: str, expected: str) -> None:
    """At most five posts count, with at most three messages by people below the highest one."""
    chosen = choose(seen(layout), len(layout), NOW)
    assert "".join(str(one.post) for one in chosen.posts) == expected


def test_what_follows_the_mention_does_not_count() -> None:
    chosen = choose(seen("abpppp"), 1, NOW)
    assert [one.post for one in chosen.posts] == ["a"]


def test_an_old_post_does_not_count() -> None:
    posts = [Seen(1, NOW - MAX_AGE - 1, "old"), Seen(2, NOW - MAX_AGE, "new")]
    chosen = choose(posts, 3, NOW)
    assert [one.post for one in chosen.posts] == ["new"]
    assert chosen.certain


class Channel:
    """A channel that counts how often it is read."""

    def __init__(self, *messages: Seen[str], error: Exception | None = None) -> None:
        self.messages, self.error, self.reads = messages, error, 0

    async def read(self) -> Sequence[Seen[str]]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.messages


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def recent(clock: ManualClock) -> RecentPosts[str]:
    return RecentPosts(clock)


async def test_what_events_reported_needs_no_reading(
    recent: RecentPosts[str], clock: ManualClock
) -> None:
    channel, now = Channel(), clock.time()
    recent.add("c", Seen(1, now, "alert"))
    assert await recent.above("c", 2, now, channel.read) == ["alert"]
    assert channel.reads == 0


async def test_a_channel_is_read_once_per_connection(
    recent: RecentPosts[str], clock: ManualClock
) -> None:
    now = clock.time()
    channel = Channel(Seen(1, now, "alert"))
    found = await asyncio.gather(*(recent.above("c", 2, now, channel.read) for _ in range(2)))
    assert list(found) == [["alert"], ["alert"]]
    assert channel.reads == 1
    recent.restart()
    assert await recent.above("c", 2, now, channel.read) == ["alert"]
    assert channel.reads == 2


async def test_a_failed_reading_is_not_repeated(
    recent: RecentPosts[str], clock: ManualClock
) -> None:
    channel = Channel(error=Unsettled("no answer"))
    with pytest.raises(Unsettled):
        await recent.above("c", 2, clock.time(), channel.read)
    assert await recent.above("c", 3, clock.time(), channel.read) == []
    assert channel.reads == 1


async def test_nothing_is_read_an_hour_after_the_connection_began(
    recent: RecentPosts[str], clock: ManualClock
) -> None:
    channel = Channel()
    assert await recent.above("c", 2, clock.time() + MAX_AGE, channel.read) == []
    assert channel.reads == 0


async def test_edits_and_deletions_apply(recent: RecentPosts[str], clock: ManualClock) -> None:
    channel, now = Channel(), clock.time()
    recent.add("c", Seen(1, now, "firing"))
    recent.add("c", Seen(2, now, "gone"))
    recent.add("c", Seen(3, now))
    recent.change("c", 1, "resolved")
    recent.change("c", 3, "a person's")
    recent.change("c", 9, "unknown")
    recent.change("other", 1, "unknown")
    recent.drop("c", 2)
    recent.drop("other", 2)
    assert await recent.above("c", 4, now, channel.read) == ["resolved"]


async def test_memory_is_bounded(recent: RecentPosts[str], clock: ManualClock) -> None:
    now = clock.time()
    for number in range(MAX_CHANNELS + 1):
        recent.add(str(number), Seen(1, now, "alert"))
    for position in range(1_000):
        recent.add("1", Seen(position, now, "alert"))
        recent.add("2", Seen(position, now))
    assert len(recent._channels) == MAX_CHANNELS
    assert [len(recent._channels[name].messages) for name in "12"] == [5, 20]
