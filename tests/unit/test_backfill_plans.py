"""Which channels and threads a catch-up reads: the fewest requests, computed with full
knowledge."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from adapters.discord.backfill_plan import ChannelState, group_archived, select_unread
from adapters.slack.backfill_plan import (
    MAX_SILENT,
    next_page_pays,
    plan_channels,
    stamp,
    unread_threads,
)
from adapters.slack.events import position
from bot.domain.conversations import Conversation, ConversationKey

MILLISECOND = 1 << 22  # in snowflakes


def conversation(thread: str, channel: str = "c1", updated_at: float = 1_000.0) -> Conversation:
    key = ConversationKey("sim", "w", channel, thread)
    return Conversation(1, key, "", None, 1, 0.0, updated_at)


# ── Discord ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("seed", range(10))
def test_discord_reads_exactly_the_channels_with_news(seed: int) -> None:
    chance = random.Random(seed)
    watermarks = {str(n): chance.randint(0, 1_000) * MILLISECOND for n in range(60)}
    newest = {
        channel: max(0, watermark + chance.choice([0, 0, -3, 5]) * MILLISECOND)
        for channel, watermark in watermarks.items()
    }
    states = [ChannelState(n, last, chance.random() < 0.5) for n, last in newest.items()]
    found = select_unread(states, watermarks.__getitem__)
    assert {state.channel for state in found} == {n for n in newest if newest[n] > watermarks[n]}


def test_discord_reads_the_bots_threads_first_then_other_threads_then_channels() -> None:
    states = [
        ChannelState("channel", 9 * MILLISECOND),
        ChannelState("thread", 8 * MILLISECOND, thread=True),
        ChannelState("old", 1 * MILLISECOND, thread=True, known=True),
        ChannelState("new", 2 * MILLISECOND, thread=True, known=True),
    ]
    order = [state.channel for state in select_unread(states, lambda _: 0)]
    assert order == ["new", "old", "thread", "channel"]


def test_discord_looks_up_recent_conversations_whose_thread_is_not_active() -> None:
    conversations = [
        conversation("active"),
        conversation("archived"),
        conversation("other", channel="c2"),
        conversation("forgotten", updated_at=10.0),
    ]
    found = group_archived(conversations, ["c1", "c2", "active"], since=500.0)
    threads = {channel: [c.key.thread for c in archived] for channel, archived in found.items()}
    assert threads == {"c1": ["archived"], "c2": ["other"]}


# ── Slack ─────────────────────────────────────────────────────────────────────────────────────
class Channel:
    """A channel with one message a minute; threads in `changed` have replies after `after`."""

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

    def requests(self, page: int) -> int:
        """The number of requests in our plan: pages of the channel, and single threads."""
        pages = 0
        while True:
            pages += 1
            read = self.messages[: pages * page]
            more = len(read) < len(self.messages)
            if not (more and next_page_pays(read, self.after, self.roots, page)):
                return pages + len(unread_threads(read, self.after, self.roots))

    def fewest_requests(self, page: int, changed: set[int]) -> int:
        """The number of requests in the best plan, found by trying every number of pages."""
        counts = []
        for pages in range(1, -(-len(self.messages) // page) + 1):
            reached = position(self.messages[: pages * page][-1]["ts"])
            if reached > self.after and pages * page < len(self.messages):
                continue  # these pages would leave missed messages unread
            hidden = [root for root in self.roots if root < reached]
            shown = [root for root in changed if root >= reached]
            counts.append(pages + len(hidden) + len(shown))
        return min(counts)


@pytest.mark.parametrize("seed", range(40))
def test_slack_sends_at_most_a_fifth_more_requests_than_the_best_plan(seed: int) -> None:
    chance = random.Random(seed)
    messages, page = chance.randint(1, 3_000), 100
    gap_start = chance.randint(0, messages)  # in minutes
    known = chance.sample(range(1, gap_start + 1), min(gap_start, chance.randint(0, 40)))
    roots = [minute * 60_000_000 for minute in known]
    likelihood = chance.choice([0.0, 0.1, 0.5, 1.0])
    changed = {root for root in roots if chance.random() < likelihood}
    channel = Channel(messages, gap_start * 60_000_000, roots, changed)
    assert channel.requests(page) <= 1.2 * channel.fewest_requests(page, changed) + 1


def test_slack_reads_pages_until_all_missed_messages_are_read() -> None:
    assert Channel(1_000, 0, [], set()).requests(100) == 10
    assert Channel(1_000, 990 * 60_000_000, [], set()).requests(100) == 1


def test_slack_reads_the_channels_with_the_latest_conversations_first() -> None:
    channels = [{"id": id_} for id_ in ("c0", "c1", "c2")]
    conversations = [conversation("9.0", "c2", 900.0), conversation("8.0", "c1", 800.0)]
    plans = plan_channels(channels, conversations, since=850.0)
    assert [plan.id for plan in plans] == ["c2", "c1", "c0"]
    assert [plan.roots for plan in plans] == [(9_000_000,), (), ()]


def test_slack_reads_a_limited_number_of_direct_messages_without_a_conversation() -> None:
    now = time.time()
    direct = [{"id": f"D{n}", "is_im": True, "created": n} for n in range(MAX_SILENT + 50)]
    plans = plan_channels(direct, [conversation("1.0", "D0", now)], now - 60)
    found = {plan.id for plan in plans}
    assert len(found) == MAX_SILENT + 1
    assert "D0" in found
    assert f"D{MAX_SILENT + 49}" in found


def test_slack_timestamps_convert_to_positions_and_back() -> None:
    for at in (0, 1, 1_700_000_000_000_123):
        assert position(stamp(at)) == at
