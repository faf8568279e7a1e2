"""What was said on Slack while nothing arrived: found at the start, with few requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.slack.events import position
from bot.domain.conversations import Conversation, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Asked, Watermark
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.slack_kit import FakeInbox, running, until


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


@pytest.fixture
async def inbox(sim: SlackSim) -> FakeInbox:
    """One that has seen everything until now; nothing comes again by itself afterwards."""
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.say(ids.ALICE, ids.GENERAL, "before", mention=True)
        await until(lambda: inbox.received)
        await until(lambda: (ids.TEAM, ids.GENERAL) in inbox.marks)
    await sim.delivery(retry_scale=0.0)
    await sim.offline()
    inbox.received.clear()
    return inbox


async def away(sim: SlackSim) -> None:
    """Wait until Slack has given up everything that was said, and let the bot come back."""

    async def given_up() -> bool:
        return not (await sim.state())["pending"]

    await sim.until(given_up)
    await sim.online()


async def reads(sim: SlackSim, since: int) -> list[str]:
    found = await sim.requests("conversations", since)
    names = [entry["path"].rpartition("/")[2] for entry in found]
    return [name for name in names if name != "conversations.info"]  # asked for live ones too


async def now(sim: SlackSim) -> int:
    return len(await sim.requests())


async def caught_up(sim: SlackSim, count: int) -> bool:
    """Whether so many reads were answered."""
    found = await sim.requests("conversations")
    return sum(entry["answered"] is not None for entry in found) >= count


def talked(channel: str, thread: str) -> Conversation:
    key = ConversationKey("slack", ids.TEAM, channel, thread)
    return Conversation(1, key, "", None, 1, time.time(), time.time())


def said(inbox: FakeInbox) -> list[str]:
    return [message.text for message in inbox.received]


async def test_what_was_asked_meanwhile_is_found(sim: SlackSim, inbox: FakeInbox) -> None:
    """A mention, its thread, a reply in a known thread, and a direct message."""
    root = next(iter(inbox.sources)).rpartition("/")[2]
    inbox.talked_in = [talked(ids.GENERAL, root)]
    mention = await sim.say(ids.ALICE, ids.GENERAL, "a new question", mention=True)
    await sim.say(ids.BOB, ids.GENERAL, "its thread", thread_ts=mention)
    await sim.say(ids.ALICE, ids.GENERAL, "goes on", thread_ts=root)
    await sim.say(ids.BOB, ids.GENERAL, "people among themselves")
    direct = await sim.open_direct(ids.ALICE)
    await sim.say(ids.ALICE, direct, "in private")
    await away(sim)
    before = await now(sim)
    async with running(sim, inbox):
        await until(lambda: len(inbox.received) >= 4)
        await until(lambda: inbox.marks[ids.TEAM, ids.GENERAL].position > 0)
        found = await reads(sim, before)
    assert sorted(said(inbox)) == ["a new question", "goes on", "in private", "its thread"]
    history, replies = "conversations.history", "conversations.replies"
    # Three channels (one of them direct), two threads of one channel.
    assert sorted(found) == [*[history] * 3, *[replies] * 2, "users.conversations"]
    assert not (await sim.state())["ratelimited"]


async def test_the_first_start_ever_answers_nothing_of_the_past(sim: SlackSim) -> None:
    await sim.delivery(retry_scale=0.0)
    await sim.offline()
    await sim.say(ids.ALICE, ids.GENERAL, "long ago", mention=True)
    await away(sim)
    inbox = FakeInbox()
    async with running(sim, inbox):
        await until(lambda: (ids.TEAM, "") in inbox.marks)
        await sim.say(ids.ALICE, ids.GENERAL, "now", mention=True)
        await until(lambda: inbox.received)
        assert said(inbox) == ["now"]
        assert await reads(sim, 0) == []


@pytest.mark.parametrize("without", [[], ["response_metadata"]])
async def test_long_histories_are_read_page_by_page_and_brought_in_order(
    sim: SlackSim, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch, without: list[str]
) -> None:
    """In a channel the newest page comes first, in a thread the oldest; even without a cursor."""
    monkeypatch.setattr("adapters.slack.backfill.PAGE", 20)
    questions = [f"q{n}" for n in range(50)]
    for text in questions:
        root = await sim.say(ids.ALICE, ids.GENERAL, text, mention=True)
    replies = [f"r{n}" for n in range(45)]
    for text in replies:
        await sim.say(ids.ALICE, ids.GENERAL, text, thread_ts=root)
    await away(sim)
    await sim.call("fault", pattern=r".*conversations\.(history|replies)", times=99, remove=without)
    before = await now(sim)
    async with running(sim, inbox):
        await until(lambda: len(inbox.received) >= 95)
        found = await reads(sim, before)
    assert said(inbox) == [*questions, *replies]
    assert found.count("conversations.replies") == 3  # the root comes with each page
    assert found.count("conversations.history") == 3 + 2  # and the other two channels


async def test_a_mention_in_a_thread_that_people_began_meanwhile_is_found(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    root = await sim.say(ids.BOB, ids.GENERAL, "people among themselves")
    await sim.say(ids.ALICE, ids.GENERAL, "and you?", thread_ts=root, mention=True)
    await away(sim)
    async with running(sim, inbox):
        await until(lambda: inbox.received)
    assert said(inbox) == ["and you?"]
    assert inbox.received[0].in_old_thread


async def test_a_short_loss_of_the_connection_reads_nothing_and_slack_brings_it(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """And no watermark moves until nothing can come late any more."""
    await sim.delivery(retry_scale=0.01)
    await sim.online()
    async with running(sim, inbox):
        await sim.until(lambda: caught_up(sim, 4))
        before = await now(sim)
        await sim.drop()
        between = await sim.say(ids.ALICE, ids.GENERAL, "in between", mention=True)
        await until(lambda: inbox.received)
        await sim.connected()
        assert await reads(sim, before) == []
    assert said(inbox) == ["in between"]
    assert inbox.marks[ids.TEAM, ids.GENERAL].position < position(between)


async def test_a_read_that_ends_after_a_short_loss_lets_no_watermark_pass_what_was_lost(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """It began before the loss, so it says nothing of it; the process may die before Slack delivers
    again, and the next start must look behind the loss.
    """
    await away(sim)
    since = await now(sim)
    await sim.call("fault", match="conversations.history", delay=3.0, times=9)
    async with running(sim, inbox):

        async def reading() -> bool:
            return bool(await sim.requests("conversations.history", since))

        async def over() -> bool:
            found = await sim.requests("conversations.history", since)
            return len(found) >= 3 and all(entry["answered"] is not None for entry in found)

        await sim.until(reading)
        await sim.drop()
        await sim.connected()
        await sim.until(over)
        mark = inbox.marks[ids.TEAM, ids.GENERAL]
        await sim.say(ids.ALICE, ids.GENERAL, "later", mention=True)
        await until(lambda: "later" in said(inbox))
    assert inbox.marks[ids.TEAM, ids.GENERAL] == mark


async def test_after_a_long_one_everything_is_read(
    sim: SlackSim, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.slack.backfill.SHORT_OUTAGE", 0.0)
    await sim.online()
    async with running(sim, inbox):
        await until(lambda: inbox.marks[ids.TEAM, ""].position)
        await sim.offline()
        await sim.drop()
        await sim.say(ids.ALICE, ids.GENERAL, "given up", mention=True)
        await away(sim)
        await until(lambda: inbox.received)
    assert said(inbox) == ["given up"]


async def test_channels_are_known_by_their_conversations_where_they_may_not_be_listed(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    scopes = [scope for scope in ids.SCOPES if scope != "mpim:read"]
    await sim.scopes(scopes)
    inbox.talked_in = [talked(ids.GENERAL, "1700000000.000100")]
    await sim.say(ids.ALICE, ids.GENERAL, "still found", mention=True)
    await away(sim)
    async with running(sim, inbox):
        await until(lambda: inbox.received)
    assert said(inbox) == ["still found"]
    assert inbox.received[0].visibility.value == "public"


async def test_a_channel_that_may_not_be_read_is_skipped(sim: SlackSim, inbox: FakeInbox) -> None:
    await sim.scopes([scope for scope in ids.SCOPES if scope != "groups:history"])
    await sim.say(ids.ALICE, ids.PRIVATE, "not to be read", mention=True)
    await sim.say(ids.ALICE, ids.GENERAL, "to be read", mention=True)
    await away(sim)
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
async def test_a_read_that_fails_is_tried_again(
    sim: SlackSim, inbox: FakeInbox, fault: dict[str, Any]
) -> None:
    await sim.say(ids.ALICE, ids.GENERAL, "found at last", mention=True)
    await away(sim)
    await sim.call("fault", match="conversations.history", times=3, **fault)
    async with running(sim, inbox):
        await until(lambda: inbox.received, seconds=20)
    assert said(inbox) == ["found at last"]


async def test_no_watermark_passes_what_could_not_be_stored(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    missed = await sim.say(ids.ALICE, ids.GENERAL, "missed", mention=True)
    await away(sim)
    inbox.missed_error = StoreUnavailable("full")
    async with running(sim, inbox):
        await sim.say(ids.ALICE, ids.GENERAL, "live", mention=True)
        await until(lambda: inbox.received)
        await asyncio.sleep(1.5)  # what would be stored is stored after a second
        assert inbox.marks[ids.TEAM, ids.GENERAL].position < position(missed)
    inbox.missed_error = None
    async with running(sim, inbox):
        await until(lambda: len(inbox.received) == 2)
    assert sorted(said(inbox)) == ["live", "missed"]


async def test_a_start_that_dies_while_it_reads_leaves_the_rest_to_the_next(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """However often it dies: a thread that was read is not read again, as it has nothing new."""
    await sim.online()
    async with running(sim, inbox):
        roots = [await sim.say(ids.ALICE, ids.GENERAL, "root", mention=True) for _ in range(4)]
        await until(lambda: len(inbox.received) == 4)
    inbox.talked_in = [talked(ids.GENERAL, root) for root in roots]
    inbox.received.clear()
    await sim.offline()
    for root in roots:
        await sim.say(ids.ALICE, ids.GENERAL, f"under {root}", thread_ts=root)
    await away(sim)
    lives = 0
    while len(inbox.received) < len(roots):
        lives += 1
        done = {channel for _, channel in inbox.marks if "/" in channel}
        since = await now(sim)
        async with running(sim, inbox):
            await until(
                lambda done=done: {c for _, c in inbox.marks if "/" in c} > done, seconds=20
            )
        asked = await sim.requests("conversations.replies", since)
        threads = [f"{ids.GENERAL}/{request['query']['ts']}" for request in asked]
        assert not done & set(threads)
        assert len(set(threads)) == len(threads)
    assert 1 < lives <= len(roots)
    assert sorted(said(inbox)) == sorted(f"under {root}" for root in roots)


async def test_threads_come_in_the_order_in_which_they_were_read_the_longest_ago(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """Or none of them would ever be read where lives are short and others have the newest words.

    The channel's watermark follows the lowest of them, so that the rest is less next time.
    """
    await sim.online()
    async with running(sim, inbox):
        roots = [await sim.say(ids.ALICE, ids.GENERAL, "root", mention=True) for _ in range(3)]
        await until(lambda: len(inbox.received) == 3)
    inbox.talked_in = [talked(ids.GENERAL, root) for root in roots]
    await sim.offline()
    said = [position(await sim.say(ids.ALICE, ids.GENERAL, "x", thread_ts=r)) for r in roots]
    await away(sim)
    for root, mark in zip(roots[1:], said, strict=False):
        spot = ids.TEAM, f"{ids.GENERAL}/{root}"
        inbox.marks[spot] = Watermark("slack", *spot, mark)
    since = await now(sim)
    async with running(sim, inbox):
        await until(lambda: inbox.marks[ids.TEAM, ids.GENERAL].position == said[0])
        await until(lambda: inbox.marks[ids.TEAM, ids.GENERAL].position == said[2])
    reads_of = await sim.requests("conversations.replies", since)
    assert [request["query"]["ts"] for request in reads_of] == roots


async def test_what_was_changed_right_after_it_was_said_is_found(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """Before the watermark was stored: one that is there says itself that it was edited, and only
    one that is not costs a look."""
    edited = await sim.say(ids.ALICE, ids.GENERAL, "a questoin", mention=True)
    deleted = await sim.say(ids.ALICE, ids.GENERAL, "a secret", mention=True)
    inbox.asked_last = [
        Asked(ConversationKey("slack", ids.TEAM, ids.GENERAL, ts), ids.GENERAL, ts, position(ts))
        for ts in (edited, deleted)
    ]
    await sim.edit(ids.GENERAL, edited, "a question", mention=True)
    await sim.delete(ids.GENERAL, deleted)
    await away(sim)
    since = await now(sim)
    async with running(sim, inbox):
        await until(lambda: inbox.deletions)
        looks = await sim.requests("conversations.replies", since)
    assert [(m.text, m.edited_at is not None) for m in inbox.received] == [("a question", True)]
    assert [source.rpartition("/")[2] for source in inbox.deletions] == [deleted]
    assert [request["query"]["ts"] for request in looks] == [deleted]


async def test_the_last_question_is_looked_at_for_an_edit_and_a_deletion(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """A question that began a thread, one in a thread, one that is as it was: one request each."""
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
    await away(sim)
    questions = [(root, reply), (third, third), (fourth, fourth), (root, root)]
    inbox.asked_last = [
        Asked(ConversationKey("slack", ids.TEAM, ids.GENERAL, at), ids.GENERAL, ts, position(ts))
        for at, ts in questions
    ]
    inbox.sources |= {one.source: one.key for one in inbox.asked_last}
    async with running(sim, inbox):
        await until(lambda: inbox.edits and len(inbox.deletions) == 2)
    assert [m.text for m, _ in inbox.edits] == ["changed"]
    assert {source.rpartition("/")[2] for source in inbox.deletions} == {reply, fourth}
