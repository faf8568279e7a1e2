"""Which reads a gap takes: as few as possible, judged by counts that know the whole world."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from adapters.discord import backfill_plan as discord_plans
from adapters.discord.backfill_plan import Newest, not_shown
from adapters.slack import backfill_plan as slack_plans
from adapters.slack.backfill_plan import MOST_SILENT, goes_on, places, stamp
from bot.domain.conversations import Conversation, ConversationKey

SECOND = 1 << 22  # of a snowflake, roughly: a millisecond is one step


def conversation(thread: str, channel: str = "c1", updated_at: float = 1_000.0) -> Conversation:
    key = ConversationKey("sim", "w", channel, thread)
    return Conversation(1, key, "", None, 1, 0.0, updated_at)


# ── Discord ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("seed", range(10))
def test_discord_reads_the_places_with_news_and_no_other(seed: int) -> None:
    chance = random.Random(seed)
    decided = {str(n): chance.randint(0, 1_000) * SECOND for n in range(60)}
    newest = {n: mark + chance.choice([0, 0, -3, 5]) * SECOND for n, mark in decided.items()}
    found = discord_plans.to_read(
        [Newest(n, max(0, last), chance.random() < 0.5) for n, last in newest.items()],
        decided.__getitem__,
    )
    assert {place.channel for place in found} == {n for n in newest if newest[n] > decided[n]}


def test_discord_reads_our_threads_first_then_threads_then_channels_the_newest_first() -> None:
    every = [
        Newest("channel", 9 * SECOND),
        Newest("thread", 8 * SECOND, thread=True),
        Newest("old", 1 * SECOND, thread=True, known=True),
        Newest("new", 2 * SECOND, thread=True, known=True),
    ]
    order = [place.channel for place in discord_plans.to_read(every, lambda _: 0)]
    assert order == ["new", "old", "thread", "channel"]


def test_discord_looks_for_threads_that_are_not_active_any_more_where_people_spoke_lately() -> None:
    every = [
        conversation("active"),
        conversation("archived"),
        conversation("other", channel="c2"),
        conversation("forgotten", updated_at=10.0),
    ]
    found = not_shown(every, ["c1", "c2", "active"], since=500.0)
    threads = {channel: [c.key.thread for c in them] for channel, them in found.items()}
    assert threads == {"c1": ["archived"], "c2": ["other"]}


# ── Slack ─────────────────────────────────────────────────────────────────────────────────────
class Channel:
    """A channel's top level: a message a minute; `changed` roots have replies after `after`."""

    def __init__(self, messages: int, after: int, roots: list[int], changed: set[int]) -> None:
        self.after, self.roots = after, roots
        self.messages: list[dict[str, Any]] = []
        for minute in reversed(range(1, messages + 1)):
            at = minute * 60_000_000
            message = {"ts": stamp(at)}
            if at in roots:
                latest = max(after, at) + 1 if at in changed else at
                message["latest_reply"] = stamp(latest)
            self.messages.append(message)

    def reads(self, page: int) -> int:
        """What the plan takes: pages of history, and threads one by one."""
        pages, read = 0, self.messages[:0]
        while True:
            pages += 1
            read = self.messages[: pages * page]
            more = len(read) < len(self.messages)
            if not (more and goes_on(read, self.after, self.roots, page)):
                return pages + len(slack_plans.to_read(read, self.after, self.roots))

    def fewest(self, page: int, changed: set[int]) -> int:
        """The best that any number of pages gives, counted by trying them all."""
        counts = []
        for pages in range(1, -(-len(self.messages) // page) + 1):
            reached = slack_plans.position(self.messages[: pages * page][-1]["ts"])
            if reached > self.after and pages * page < len(self.messages):
                continue  # something that was missed is not read
            hidden = [root for root in self.roots if root < reached]
            shown = [root for root in changed if root >= reached]
            counts.append(pages + len(hidden) + len(shown))
        return min(counts)


@pytest.mark.parametrize("seed", range(40))
def test_slack_reads_at_most_a_fifth_more_than_the_best_plan(seed: int) -> None:
    chance = random.Random(seed)
    messages, page = chance.randint(1, 3_000), 100
    before = chance.randint(0, messages)  # when the gap began, in minutes
    known = chance.sample(range(1, before + 1), min(before, chance.randint(0, 40)))
    roots = [minute * 60_000_000 for minute in known]
    likely = chance.choice([0.0, 0.1, 0.5, 1.0])
    changed = {root for root in roots if chance.random() < likely}
    channel = Channel(messages, before * 60_000_000, roots, changed)
    assert channel.reads(page) <= 1.2 * channel.fewest(page, changed) + 1


def test_slack_reads_what_was_missed_however_many_pages_it_takes() -> None:
    assert Channel(1_000, 0, [], set()).reads(100) == 10
    assert Channel(1_000, 990 * 60_000_000, [], set()).reads(100) == 1


def test_slack_reads_the_channels_first_where_people_talked_with_the_bot_last() -> None:
    channels = [{"id": id_} for id_ in ("c0", "c1", "c2")]
    talked = [conversation("9.0", "c2", 900.0), conversation("8.0", "c1", 800.0)]
    found = places(channels, talked, since=850.0)
    assert [place.id for place in found] == ["c2", "c1", "c0"]
    assert [place.roots for place in found] == [(9_000_000,), (), ()]


def test_slack_reads_a_limited_number_of_direct_messages_in_which_nobody_ever_asked() -> None:
    now = time.time()
    direct = [{"id": f"D{n}", "is_im": True, "created": n} for n in range(MOST_SILENT + 50)]
    found = {place.id for place in places(direct, [conversation("1.0", "D0", now)], now - 60)}
    assert len(found) == MOST_SILENT + 1
    assert "D0" in found
    assert f"D{MOST_SILENT + 49}" in found


def test_a_position_as_slack_says_it_and_back() -> None:
    for at in (0, 1, 1_700_000_000_000_123):
        assert slack_plans.position(stamp(at)) == at
