"""Catching up on Slack: missed messages, in as few requests as possible."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from adapters.slack.events import position
from adapters.slack.outages import REDELIVERY_SECONDS
from bot.common.local_cluster import LocalCluster
from bot.domain.conversations import Conversation, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Asked, Gap, Incoming, Watermark
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_kit import running, until


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


@pytest.fixture
async def inbox(sim: SlackSim) -> FakeInbox:
    """An inbox whose watermarks cover everything so far; Slack is offline and will not retry."""
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.say(ids.ALICE, ids.GENERAL, "before", mention=True)
        await until(lambda: inbox.received)
        await until(lambda: (ids.TEAM, ids.GENERAL) in inbox.marks)
    await sim.delivery(retry_scale=0.0)
    await sim.offline()
    inbox.received.clear()
    return inbox


async def come_back(sim: SlackSim) -> None:
    """Go online after Slack has given up all deliveries."""

    async def has_given_up() -> bool:
        return not (await sim.state())["pending"]

    await sim.until(has_given_up)
    await sim.online()


async def reads(sim: SlackSim, since: int) -> list[str]:
    found = await sim.requests("conversations", since)
    names = [entry["path"].rpartition("/")[2] for entry in found]
    return [name for name in names if name != "conversations.info"]  # live messages need it too


async def now(sim: SlackSim) -> int:
    return len(await sim.requests())


async def caught_up(sim: SlackSim, count: int) -> bool:
    """Whether the histories of `count` channels were answered."""
    found = await sim.requests("conversations.history")
    return sum(entry["answered"] is not None for entry in found) >= count


def conversation_at(channel: str, thread: str) -> Conversation:
    key = ConversationKey("slack", ids.TEAM, channel, thread)
    return Conversation(1, key, "", None, 1, time.time(), time.time())


def said(inbox: FakeInbox) -> list[str]:
    return [message.text for message in inbox.received]


async def test_missed_messages_take_one_read_per_channel_and_thread(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """The missed messages are a mention, its thread, a reply in a known thread, and a direct
    message."""
    root = next(iter(inbox.conversations)).rpartition("/")[2]
    inbox.active_conversations = [conversation_at(ids.GENERAL, root)]
    mention = await sim.say(ids.ALICE, ids.GENERAL, "a new question", mention=True)
    await sim.say(ids.BOB, ids.GENERAL, "its thread", thread_ts=mention)
    await sim.say(ids.ALICE, ids.GENERAL, "continues", thread_ts=root)
    await sim.say(ids.BOB, ids.GENERAL, "people among themselves")
    direct = await sim.open_direct(ids.ALICE)
    await sim.say(ids.ALICE, direct, "in private")
    await come_back(sim)
    before = await now(sim)
    async with running(sim, inbox):
        await until(lambda: len(inbox.received) >= 4)
        await until(lambda: inbox.marks[ids.TEAM, ids.GENERAL].position > 0)
        found = await reads(sim, before)
    assert sorted(said(inbox)) == ["a new question", "continues", "in private", "its thread"]
    history, replies = "conversations.history", "conversations.replies"
    # Three channels (one is a direct message), two threads of one channel.
    assert sorted(found) == [*[history] * 3, *[replies] * 2, "users.conversations"]
    assert not (await sim.state())["ratelimited"]


async def test_the_first_start_answers_no_older_messages(sim: SlackSim) -> None:
    await sim.delivery(retry_scale=0.0)
    await sim.offline()
    await sim.say(ids.ALICE, ids.GENERAL, "long ago", mention=True)
    await come_back(sim)
    inbox = FakeInbox()
    async with running(sim, inbox):
        await until(lambda: (ids.TEAM, "") in inbox.marks)
        await sim.say(ids.ALICE, ids.GENERAL, "now", mention=True)
        await until(lambda: inbox.received)
        assert said(inbox) == ["now"]
        assert await reads(sim, 0) == []


@pytest.mark.parametrize("without", [[], ["response_metadata"]])
async def test_long_histories_are_read_page_by_page_and_accepted_in_order(
    sim: SlackSim, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch, without: list[str]
) -> None:
    """A channel's newest page comes first, a thread's oldest; this works even if Slack sends no
    cursor."""
    monkeypatch.setattr("adapters.slack.history.PAGE", 20)
    questions = [f"q{n}" for n in range(50)]
    for text in questions:
        root = await sim.say(ids.ALICE, ids.GENERAL, text, mention=True)
    replies = [f"r{n}" for n in range(45)]
    for text in replies:
        await sim.say(ids.ALICE, ids.GENERAL, text, thread_ts=root)
    await come_back(sim)
    await sim.call("fault", pattern=r".*conversations\.(history|replies)", times=99, remove=without)
    before = await now(sim)
    async with running(sim, inbox):
        await until(lambda: len(inbox.received) >= 95)
        found = await reads(sim, before)
    assert said(inbox) == [*questions, *replies]
    assert found.count("conversations.replies") == 3  # each page includes the root
    assert (
        found.count("conversations.history") == 3 + 2
    )  # and one for each of the other two channels


async def test_a_mention_in_a_thread_that_began_during_the_gap_is_found(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    root = await sim.say(ids.BOB, ids.GENERAL, "people among themselves")
    await sim.say(ids.ALICE, ids.GENERAL, "and you?", thread_ts=root, mention=True)
    await come_back(sim)
    async with running(sim, inbox):
        await until(lambda: inbox.received)
    assert said(inbox) == ["and you?"]
    assert inbox.received[0].in_old_thread


async def test_a_message_with_a_ts_in_the_future_hides_no_missed_message(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """Watermarks never move back."""
    await come_back(sim)
    odd = {"type": "message", "channel": ids.GENERAL, "user": ids.ALICE, "channel_type": "channel"}
    odd |= {"text": f"<@{ids.BOT_USER}> odd", "ts": "9999999999.000100"}
    async with running(sim, inbox):
        await sim.until(lambda: caught_up(sim, 3))
        await sim.inject("events_api", [{"type": "event_callback", "event": odd}])
        await until(lambda: inbox.find("odd"))
        await until(lambda: inbox.marks[ids.TEAM, ids.GENERAL].position)
    await sim.offline()
    await sim.say(ids.ALICE, ids.GENERAL, "missed", mention=True)
    await come_back(sim)
    async with running(sim, inbox):
        await until(lambda: inbox.find("missed"))


async def test_after_a_short_outage_slack_redelivers_and_nothing_is_read(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """No watermark moves before the last possible redelivery."""
    await sim.delivery(retry_scale=0.01)
    await sim.online()
    async with running(sim, inbox):
        await sim.until(lambda: caught_up(sim, 3))
        before = await now(sim)
        await sim.drop()
        between = await sim.say(ids.ALICE, ids.GENERAL, "in between", mention=True)
        await until(lambda: inbox.received)
        await sim.connected()
        assert await reads(sim, before) == []
    assert said(inbox) == ["in between"]
    assert inbox.marks[ids.TEAM, ids.GENERAL].position < position(between)


async def test_a_read_that_ends_after_a_short_outage_does_not_move_watermarks_past_it(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """The read began before the outage and may not contain its messages.

    If the process dies before Slack redelivers them, the next start must read them.
    """
    await come_back(sim)
    since = await now(sim)
    await sim.call("fault", match="conversations.history", delay=3.0, times=9)
    async with running(sim, inbox):

        async def reading() -> bool:
            return bool(await sim.requests("conversations.history", since))

        async def is_finished() -> bool:
            found = await sim.requests("conversations.history", since)
            return len(found) >= 3 and all(entry["answered"] is not None for entry in found)

        await sim.until(reading)
        await sim.drop()
        await sim.connected()
        await sim.until(is_finished)
        mark = inbox.marks[ids.TEAM, ids.GENERAL]
        await sim.say(ids.ALICE, ids.GENERAL, "later", mention=True)
        await until(lambda: "later" in said(inbox))
    assert inbox.marks[ids.TEAM, ids.GENERAL] == mark


async def test_after_a_long_outage_missed_messages_are_read(
    sim: SlackSim, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.slack.outages.SHORT_OUTAGE", 0.0)
    await sim.online()
    async with running(sim, inbox):
        await until(lambda: inbox.marks[ids.TEAM, ""].position)
        await sim.offline()
        await sim.drop()
        await sim.say(ids.ALICE, ids.GENERAL, "given up", mention=True)
        await come_back(sim)
        await until(lambda: inbox.received)
    assert said(inbox) == ["given up"]


async def test_without_the_scope_to_list_channels_those_with_a_conversation_are_read(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    scopes = [scope for scope in ids.SCOPES if scope != "mpim:read"]
    await sim.scopes(scopes)
    inbox.active_conversations = [conversation_at(ids.GENERAL, "1700000000.000100")]
    await sim.say(ids.ALICE, ids.GENERAL, "still found", mention=True)
    await come_back(sim)
    async with running(sim, inbox):
        await until(lambda: inbox.received)
    assert said(inbox) == ["still found"]
    assert inbox.received[0].visibility.value == "public"


async def test_a_channel_without_the_scope_to_read_it_is_skipped(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    await sim.scopes([scope for scope in ids.SCOPES if scope != "groups:history"])
    await sim.say(ids.ALICE, ids.PRIVATE, "not to be read", mention=True)
    await sim.say(ids.ALICE, ids.GENERAL, "to be read", mention=True)
    await come_back(sim)
    async with running(sim, inbox):
        await until(lambda: inbox.received)
        await until(lambda: (ids.TEAM, ids.GENERAL) in inbox.marks)
    assert said(inbox) == ["to be read"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"drop": True},
        {
            "status": 429,
            "body": {"ok": False, "error": "ratelimited"},
            "headers": {"Retry-After": "1"},
        },
    ],
)
async def test_a_failed_read_is_retried(
    sim: SlackSim, inbox: FakeInbox, fault: dict[str, Any]
) -> None:
    await sim.say(ids.ALICE, ids.GENERAL, "found at last", mention=True)
    await come_back(sim)
    await sim.call("fault", match="conversations.history", times=3, **fault)
    async with running(sim, inbox):
        await until(lambda: inbox.received)
    assert said(inbox) == ["found at last"]


async def test_the_watermark_stays_before_messages_that_could_not_be_stored(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    missed = await sim.say(ids.ALICE, ids.GENERAL, "missed", mention=True)
    await come_back(sim)
    inbox.missed_error = StoreUnavailable("full")
    async with running(sim, inbox):
        await sim.say(ids.ALICE, ids.GENERAL, "live", mention=True)
        await until(lambda: inbox.received)
        await asyncio.sleep(1.5)  # watermarks are stored after a second
        assert inbox.marks[ids.TEAM, ids.GENERAL].position < position(missed)
    inbox.missed_error = None
    async with running(sim, inbox):
        await until(lambda: len(inbox.received) == 2)
    assert sorted(said(inbox)) == ["live", "missed"]


async def test_a_start_that_dies_during_the_reads_leaves_the_rest_to_the_next(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """No thread is read twice, however often the process dies."""
    await sim.online()
    async with running(sim, inbox):
        roots = [await sim.say(ids.ALICE, ids.GENERAL, "root", mention=True) for _ in range(4)]
        await until(lambda: len(inbox.received) == 4)
    inbox.active_conversations = [conversation_at(ids.GENERAL, root) for root in roots]
    inbox.received.clear()
    await sim.offline()
    for root in roots:
        await sim.say(ids.ALICE, ids.GENERAL, f"under {root}", thread_ts=root)
    await come_back(sim)
    starts = 0
    while len(inbox.received) < len(roots):
        starts += 1
        done = {channel for _, channel in inbox.marks if "/" in channel}
        since = await now(sim)
        async with running(sim, inbox):
            await until(lambda done=done: {c for _, c in inbox.marks if "/" in c} > done)
        asked = await sim.requests("conversations.replies", since)
        threads = [f"{ids.GENERAL}/{request['query']['ts']}" for request in asked]
        assert not done & set(threads)
        assert len(set(threads)) == len(threads)
    assert 1 < starts <= len(roots)
    assert sorted(said(inbox)) == sorted(f"under {root}" for root in roots)


async def test_the_thread_that_was_read_the_longest_ago_is_read_first(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """Otherwise a bot that dies often would never get to quiet threads.

    The channel's watermark follows the oldest unread thread, so the next start reads less.
    """
    await sim.online()
    async with running(sim, inbox):
        roots = [await sim.say(ids.ALICE, ids.GENERAL, "root", mention=True) for _ in range(3)]
        await until(lambda: len(inbox.received) == 3)
    inbox.active_conversations = [conversation_at(ids.GENERAL, root) for root in roots]
    await sim.offline()
    said = [position(await sim.say(ids.ALICE, ids.GENERAL, "x", thread_ts=r)) for r in roots]
    await come_back(sim)
    for root, mark in zip(roots[1:], said, strict=False):
        ref = ids.TEAM, f"{ids.GENERAL}/{root}"
        inbox.marks[ref] = Watermark("slack", *ref, mark)
    since = await now(sim)
    async with running(sim, inbox):
        await until(lambda: inbox.marks[ids.TEAM, ids.GENERAL].position == said[0])
        await until(lambda: inbox.marks[ids.TEAM, ids.GENERAL].position == said[2])
    reads_of = await sim.requests("conversations.replies", since)
    assert [request["query"]["ts"] for request in reads_of] == roots


async def test_edits_and_deletions_before_the_first_read_are_found(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """A message returned by the read shows its edit; only a missing one costs a request."""
    edited = await sim.say(ids.ALICE, ids.GENERAL, "a questoin", mention=True)
    deleted = await sim.say(ids.ALICE, ids.GENERAL, "a secret", mention=True)
    inbox.latest_questions = [
        Asked(ConversationKey("slack", ids.TEAM, ids.GENERAL, ts), ids.GENERAL, ts, position(ts))
        for ts in (edited, deleted)
    ]
    await sim.edit(ids.GENERAL, edited, "a question", mention=True)
    await sim.delete(ids.GENERAL, deleted)
    await come_back(sim)
    since = await now(sim)
    async with running(sim, inbox):
        await until(lambda: inbox.deletions)
        rechecks = await sim.requests("conversations.replies", since)
    assert [(m.text, m.edited_at is not None) for m in inbox.received] == [("a question", True)]
    assert [source.rpartition("/")[2] for source in inbox.deletions] == [deleted]
    assert [request["query"]["ts"] for request in rechecks] == [deleted]


async def test_last_questions_are_rechecked_for_edits_and_deletions(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """Each costs one request: a thread's root, a reply, and an unchanged question."""
    await sim.online()
    async with running(sim, inbox):
        root = await sim.say(ids.ALICE, ids.GENERAL, "first", mention=True)
        reply = await sim.say(ids.ALICE, ids.GENERAL, "second", thread_ts=root)
        third = await sim.say(ids.ALICE, ids.GENERAL, "third", mention=True)
        fourth = await sim.say(ids.ALICE, ids.GENERAL, "fourth", mention=True)
        await until(lambda: len(inbox.received) == 4)
        await until(lambda: inbox.marks[ids.TEAM, ids.GENERAL].position >= position(fourth))
    await sim.offline()
    await sim.delete(ids.GENERAL, reply)
    await sim.edit(ids.GENERAL, third, "changed", mention=True)
    await sim.delete(ids.GENERAL, fourth)
    await come_back(sim)
    questions = [(root, reply), (third, third), (fourth, fourth), (root, root)]
    inbox.latest_questions = [
        Asked(ConversationKey("slack", ids.TEAM, ids.GENERAL, at), ids.GENERAL, ts, position(ts))
        for at, ts in questions
    ]
    inbox.conversations |= {one.source: one.key for one in inbox.latest_questions}
    async with running(sim, inbox):
        await until(lambda: inbox.edits and len(inbox.deletions) == 2)
    assert [m.text for m, _ in inbox.edits] == ["changed"]
    assert {source.rpartition("/")[2] for source in inbox.deletions} == {reply, fourth}


# ── messages that other processes lost ────────────────────────────────────────────────────────
async def test_a_gap_is_read_again_behind_the_watermarks(
    sim: SlackSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process stored the mention, the reply in a thread and the direct message."""
    for name in ("LOOK_SECONDS", "SHORTEST_REST"):
        monkeypatch.setattr(f"bot.catchup.gap_reader.{name}", 0.05)
    inbox = FakeInbox()
    async with running(sim, inbox):
        began = time.time()
        root = await sim.say(ids.ALICE, ids.GENERAL, "known", mention=True)
        direct = await sim.open_direct(ids.ALICE)
        await until(lambda: inbox.received)
        inbox.active_conversations = [conversation_at(ids.GENERAL, root)]
        inbox.before_receive = lost = _Lost()
        await sim.say(ids.ALICE, ids.GENERAL, "a lost mention", mention=True)
        await sim.say(ids.ALICE, ids.GENERAL, "a lost reply", thread_ts=root)
        await sim.say(ids.ALICE, direct, "lost in private")
        await until(lambda: len(lost.texts) == 3)
        inbox.before_receive = lambda _incoming: None
        inbox.conversations = {
            source: key for source, key in inbox.conversations.items() if root in source
        }
        inbox.received = [each for each in inbox.received if each.text == "known"]
        inbox.open_gaps = [Gap("early", began + 99.0, False), Gap("one", began, False)]
        await until(lambda: len(inbox.received) == 4)
        assert sorted(said(inbox)[1:]) == ["a lost mention", "a lost reply", "lost in private"]
        before = len(inbox.read)
        inbox.open_gaps = [Gap("one", began, True)]
        await until(lambda: not inbox.open_gaps)
        assert len(inbox.read) > before
    assert len(inbox.received) == 4


async def test_the_next_process_reads_the_threads_that_the_last_one_did_not_reach(
    sim: SlackSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads with messages since then are read from that point; others cost nothing more."""
    for name in ("LOOK_SECONDS", "SHORTEST_REST"):
        monkeypatch.setattr(f"bot.catchup.gap_reader.{name}", 0.05)
    inbox, began = FakeInbox(), time.time()
    async with running(sim, inbox):
        await until(lambda: inbox.marks)
    roots = [await sim.say(ids.ALICE, ids.GENERAL, f"root {n}", mention=True) for n in range(3)]
    for root in roots:
        await sim.say(ids.BOB, ids.GENERAL, f"in {root}", thread_ts=root)
    inbox.open_gaps = [Gap("one", began, True)]

    async def read_replies(before: int) -> list[str]:
        found = await sim.requests("conversations.replies", before)
        return sorted(entry["query"]["ts"] for entry in found)

    async with running(sim, inbox):
        await until(lambda: not inbox.open_gaps)
    assert len(inbox.reads) == 3
    del inbox.reads[f"{ids.GENERAL}/{roots[1]}"]  # the process died before this one
    await sim.say(ids.BOB, ids.GENERAL, "news", thread_ts=roots[2])
    before = await now(sim)
    inbox.open_gaps = [Gap("two", began, True)]
    async with running(sim, inbox):
        await until(lambda: not inbox.open_gaps)
    assert await read_replies(before) == roots[1:]
    assert "news" in said(inbox)
    read = inbox.reads[f"{ids.GENERAL}/{roots[2]}"]
    assert read.since <= position(roots[2]) < read.reached
    earlier, before = position(roots[0]) / 1e6 - 60.0, await now(sim)
    inbox.reads = {name: replace(one, since=one.reached) for name, one in inbox.reads.items()}
    inbox.open_gaps = [Gap("three", earlier, True)]
    async with running(sim, inbox):
        await until(lambda: not inbox.open_gaps)
    assert await read_replies(before) == roots, "a read from later on does not cover what is older"


async def test_a_first_read_skips_threads_of_which_all_messages_are_known(
    sim: SlackSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second read, once the gap has settled, does not skip them: an unknown deletion may hide a
    loss."""
    for name in ("LOOK_SECONDS", "SHORTEST_REST"):
        monkeypatch.setattr(f"bot.catchup.gap_reader.{name}", 0.05)
    inbox, began = FakeInbox(), time.time()
    async with running(sim, inbox):
        await until(lambda: inbox.marks)
    roots = [await sim.say(ids.ALICE, ids.GENERAL, f"root {n}", mention=True) for n in range(2)]
    for root in roots:
        await sim.say(ids.BOB, ids.GENERAL, f"in {root}", thread_ts=root)
    inbox.known_replies = {roots[0]: 1, roots[1]: 0}
    inbox.open_gaps = [Gap("one", began, False)]
    async with running(sim, inbox):
        await until(lambda: inbox.reads)
        assert list(inbox.reads) == [f"{ids.GENERAL}/{roots[1]}"]
        inbox.open_gaps = [Gap("one", began, True)]
        await until(lambda: not inbox.open_gaps)
    assert len(inbox.reads) == 2


class _Reporting(LocalCluster):
    """Remembers of how many last seconds an event may be lost."""

    def __init__(self, told: list[float]) -> None:
        super().__init__()
        self._told = told

    def report_gap(self, seconds: float) -> None:
        self._told.append(seconds)


async def test_whatever_may_cost_an_event_is_reported(sim: SlackSim) -> None:
    """Each connection that replaces another, and each delivery that could not be stored."""
    inbox, told = FakeInbox(), list[float]()
    async with running(sim, inbox, cluster=_Reporting(told)):
        await until(lambda: told)
        await sim.disconnect(grace=0.1)
        await until(lambda: len(told) == 2)
        inbox.error = StoreUnavailable("away")
        await sim.say(ids.ALICE, ids.GENERAL, "lost", mention=True)
        await until(lambda: REDELIVERY_SECONDS in told)
    assert told[2] == 0.0


class _Lost:
    """Remembers every message received."""

    def __init__(self) -> None:
        self.texts: set[str] = set()

    def __call__(self, incoming: Incoming) -> None:
        self.texts.add(incoming.text)
