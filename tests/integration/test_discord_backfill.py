"""Catching up on Discord with the real client: missed messages, in as few requests as possible."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.discord.rest import Timeouts
from bot.domain.conversations import Conversation, ConversationKey, Visibility
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Address, Asked
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.discord_kit import running, until, wait_received
from tests.support.fake_inbox import FakeInbox

GUILD = str(c.GUILD)


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        yield sim


@pytest.fixture
async def inbox(sim: DiscordSim) -> FakeInbox:
    """An inbox whose watermarks cover everything said so far, in the guild and in private."""
    inbox = FakeInbox()
    async with running(sim, inbox):
        message = await sim.say(c.ALICE, c.CHANNEL, "before")
        await until(lambda: watermark(inbox, c.CHANNEL) >= message)
        await until(lambda: ("@me", "") in inbox.marks)
    return inbox


def watermark(inbox: FakeInbox, channel: int) -> int:
    """The stored watermark that applies to a channel; 0 if there is none."""
    found = (inbox.marks.get((GUILD, name)) for name in (str(channel), ""))
    return max((mark.position for mark in found if mark), default=0)


async def reads(sim: DiscordSim, since: int) -> list[str]:
    """The paths of requests for messages or lists of threads."""
    found = await sim.requests("GET", since)
    paths = [entry["path"] for entry in found]
    return [path for path in paths if path.endswith("/messages") or "/threads/" in path]


async def caught_up(sim: DiscordSim, inbox: FakeInbox, channel: int, message: int) -> None:
    await until(lambda: watermark(inbox, channel) >= message)
    await sim.wait_idle()


def said(inbox: FakeInbox) -> list[str]:
    return [message.text for page in inbox.read for message in page]


async def now(sim: DiscordSim) -> int:
    return len(await sim.requests())


def talked(thread: int, channel: int = c.CHANNEL, guild: str = GUILD) -> Conversation:
    """A conversation whose latest message is from now."""
    key = ConversationKey("discord", guild, str(channel), str(thread) if guild != "@me" else "")
    return Conversation(1, key, "", None, 1, time.time(), time.time(), Visibility.PUBLIC)


async def test_missed_messages_take_one_read_per_channel(sim: DiscordSim, inbox: FakeInbox) -> None:
    """A mention in a channel, a message in a thread, and a forum post."""
    thread = await sim.start_thread(c.ALICE, await sim.say(c.ALICE, c.CHANNEL_2, "x"), "t")
    mention = await sim.mention("in the channel")
    await sim.say(c.ALICE, thread, "in the thread")
    post = await sim.forum_post(c.BOB, "Post", "in a post", mention=True)
    before = await now(sim)
    async with running(sim, inbox):
        await wait_received(inbox, mention)
        await caught_up(sim, inbox, post, post)
        found = await reads(sim, before)
    assert sorted(said(inbox)) == ["# Post\n\nin a post", "in the channel", "in the thread"]
    assert len(found) == 4  # two channels, a thread, a post
    assert inbox.find("in the channel").address is Address.MENTION  # type: ignore[union-attr]


async def test_a_start_without_missed_messages_reads_nothing(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    before = await now(sim)
    async with running(sim, inbox):
        await sim.wait_idle()
        message = await sim.mention("live")
        await wait_received(inbox, message)
        assert await reads(sim, before) == []


async def test_the_first_start_answers_no_older_messages(sim: DiscordSim) -> None:
    await sim.mention("long ago")
    inbox = FakeInbox()
    async with running(sim, inbox):
        await until(lambda: (GUILD, "") in inbox.marks)
        live = await sim.mention("now")
        await wait_received(inbox, live)
        assert [m.text for m in inbox.received] == ["now"]
        assert await reads(sim, 0) == []


async def test_long_histories_are_read_in_order_in_pages_of_a_hundred(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    texts = [f"n{n}" for n in range(350)]
    for text in texts:
        last = await sim.mention(text)
    before = await now(sim)
    async with running(sim, inbox):
        await caught_up(sim, inbox, c.CHANNEL, last)
        assert len(await reads(sim, before)) == 4
    assert said(inbox) == texts


async def test_the_watermark_stays_before_messages_that_could_not_be_stored(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    ids = [await sim.mention(f"n{n}") for n in range(3)]
    inbox.missed_error = StoreUnavailable("full")
    async with running(sim, inbox):
        await sim.wait_idle()
        live = await sim.mention("live")
        await wait_received(inbox, live)
        await asyncio.sleep(1.5)  # watermarks are stored after a second
        assert watermark(inbox, c.CHANNEL) < ids[0]
    inbox.missed_error = None
    async with running(sim, inbox):
        await caught_up(sim, inbox, c.CHANNEL, live)
    assert said(inbox)[-4:] == ["n0", "n1", "n2", "live"]


async def test_a_resumed_session_misses_nothing_without_reads(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    async with running(sim, inbox):
        await sim.wait_idle()
        before = await now(sim)
        await sim.disconnect("op7")
        message = await sim.mention("while it was away")
        await wait_received(inbox, message)
        assert await reads(sim, before) == []


async def test_a_new_session_reads_what_was_said_since_the_last_one(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    async with running(sim, inbox):
        live = await sim.mention("live")
        await wait_received(inbox, live)
        await caught_up(sim, inbox, c.CHANNEL, live)
        read = len(said(inbox))  # on a slow machine, the first catch-up may read it too
        await sim.offline()
        missed = await sim.mention("missed")
        before = await now(sim)
        await sim.online()
        await until(lambda: inbox.connections == 3, 60)  # the library's delays grow
        await wait_received(inbox, missed)
        await sim.wait_idle()
        assert len(await reads(sim, before)) == 1
    assert said(inbox)[read:] == ["missed"]


async def test_a_session_that_ends_during_the_reads_continues_them_in_the_next_one(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """Pages that were accepted are not read again."""
    texts = [f"n{n}" for n in range(250)]
    for text in texts:
        last = await sim.mention(text)
    await sim.call("fault", match=f"channels/{c.CHANNEL}/messages", skip=1, delay=2.0)
    before = await now(sim)
    async with running(sim, inbox):
        await until(lambda: len(inbox.read) == 1)
        await sim.disconnect("invalid_session", resumable=False)
        await until(lambda: watermark(inbox, c.CHANNEL) >= last)
        await until(lambda: inbox.connections == 3)  # or the test ends while it connects
        assert len(await reads(sim, before)) in (3, 4)  # one may have been canceled
    assert said(inbox) == texts


async def test_channels_without_permission_are_skipped_without_a_request(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """Without the history permission, Discord would return an empty list."""
    await sim.set_permissions(c.CHANNEL_2, deny=("read_message_history",))
    hidden = await sim.add_channel("hidden")
    await sim.set_permissions(hidden, deny=("view_channel",))
    await sim.mention("not to be read", channel=c.CHANNEL_2)
    await sim.mention("not to be seen", channel=hidden)
    message = await sim.mention("to be read")
    before = await now(sim)
    async with running(sim, inbox):
        await caught_up(sim, inbox, c.CHANNEL, message)
        assert await reads(sim, before) == [f"/api/v10/channels/{c.CHANNEL}/messages"]
    assert said(inbox) == ["to be read"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "body": {"message": "down"}},
        {"drop": True},
        {
            "status": 429,
            "body": {"message": "slow", "retry_after": 0.5, "global": False},
            "headers": {"Via": "1.1 sim", "Retry-After": "0.5"},
        },
    ],
)
async def test_a_failed_read_is_retried(
    sim: DiscordSim, inbox: FakeInbox, fault: dict[str, Any]
) -> None:
    message = await sim.mention("found at last")
    await sim.call("fault", match=f"GET /api/v10/channels/{c.CHANNEL}/messages", times=2, **fault)
    async with running(sim, inbox):
        await wait_received(inbox, message)
    assert said(inbox) == ["found at last"]


async def test_live_messages_do_not_wait_for_a_slow_read(sim: DiscordSim, inbox: FakeInbox) -> None:
    await sim.mention("missed")
    await sim.call("fault", match=f"GET /api/v10/channels/{c.CHANNEL}/messages", delay=8.0)
    async with running(sim, inbox):
        live = await sim.mention("live")
        await wait_received(inbox, live)
        assert inbox.read == []


async def test_a_single_archived_thread_is_read_and_several_are_looked_up_in_a_list(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """People wrote in threads and closed them while the bot was offline."""
    threads = [
        await sim.start_thread(c.ALICE, await sim.say(c.ALICE, c.CHANNEL, "x"), f"t{n}")
        for n in range(4)
    ]
    async with running(sim, inbox):
        await sim.wait_idle()
        await until(lambda: watermark(inbox, c.CHANNEL) >= threads[-1])
    alone = await sim.start_thread(c.BOB, await sim.say(c.BOB, c.CHANNEL_2, "y"), "alone")
    await sim.say(c.ALICE, threads[2], "one of several")
    await sim.say(c.BOB, alone, "the only one")
    for thread in (*threads, alone):
        await sim.archive(thread)
    inbox.active_conversations = [*map(talked, threads), talked(alone, c.CHANNEL_2)]
    before = await now(sim)
    async with running(sim, inbox):
        await until(lambda: len(said(inbox)) >= 2)
        await sim.wait_idle()
        found = await reads(sim, before)
    assert sorted(said(inbox)) == ["one of several", "the only one"]
    assert len(found) == 4  # a list and a thread that it names; the single one; its channel
    assert {m.address for page in inbox.read for m in page} == {Address.FOLLOW_UP}


async def test_known_direct_messages_are_read(sim: DiscordSim, inbox: FakeInbox) -> None:
    """Discord does not list any others."""
    known = await sim.dm(c.ALICE, "in private")
    for n in range(120):
        last = await sim.dm(c.ALICE, f"n{n}")
    await sim.dm(c.BOB, "never seen")
    inbox.active_conversations = [talked(0, known["channel"], "@me")]
    before = await now(sim)
    async with running(sim, inbox):
        message = await wait_received(inbox, known["message"])
        assert message.address is Address.DIRECT
        assert message.key.channel == str(known["channel"])
        await wait_received(inbox, last["message"])
        await sim.wait_idle()
        assert len(await reads(sim, before)) == 2  # pages
    assert len(said(inbox)) == 121


async def test_a_guild_that_the_bot_joins_is_followed_immediately_without_its_past(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    async with running(sim, inbox):
        await sim.wait_idle()
        before = await now(sim)
        new = await sim.add_guild("another")
        await until(lambda: (str(new["guild"]), "") in inbox.marks)
        message = await sim.mention("hello", channel=new["channel"])
        await wait_received(inbox, message)
        assert await reads(sim, before) == []


async def test_a_message_that_could_not_be_stored_is_read_again(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """The watermark stays before the message until it is stored."""
    thread = await sim.start_thread(c.ALICE, await sim.say(c.ALICE, c.CHANNEL, "x"), "t")
    async with running(sim, inbox, timeouts=Timeouts(again=0.5)):
        inbox.error = StoreUnavailable("full")
        message = await sim.say(c.ALICE, thread, "do not lose me")
        await sim.wait_idle()
        assert watermark(inbox, thread) < message
        inbox.error = None
        await wait_received(inbox, message)
        await until(lambda: watermark(inbox, thread) >= message)


def asked(message: int, channel: int = c.CHANNEL, thread: int | None = None) -> Asked:
    """A question that the core has stored."""
    key = ConversationKey("discord", GUILD, str(c.CHANNEL), str(thread or message))
    return Asked(key, str(channel), str(message), message)


async def test_edits_and_deletions_before_the_first_read_are_found(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """A message returned by the read shows its edit; only a missing one costs a request."""
    async with running(sim, inbox):
        first = await sim.mention("before")
        await caught_up(sim, inbox, c.CHANNEL, first)
    edited, deleted = await sim.mention("a questoin"), await sim.mention("a secret")
    inbox.latest_questions = [asked(edited), asked(deleted)]
    inbox.conversations = {a.source: a.key for a in inbox.latest_questions}
    await sim.edit(edited, f"<@{c.BOT}> a question")
    await sim.delete(deleted)
    before = await now(sim)
    async with running(sim, inbox):
        await until(lambda: inbox.deletions)
        await sim.wait_idle()
        found = [entry["path"] for entry in await sim.requests("/messages/", before)]
    read = [(m.text, m.edited_at is not None) for page in inbox.read for m in page]
    assert ("a question", True) in read
    assert inbox.deletions == [asked(deleted).source]
    assert [path.rpartition("/")[2] for path in found] == [str(deleted)]


async def test_last_questions_are_rechecked_for_edits_and_deletions(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """Each costs one request; an unchanged question is not reported."""
    async with running(sim, inbox):
        ids = [await sim.mention(f"question {n}") for n in range(4)]
        await caught_up(sim, inbox, c.CHANNEL, ids[-1])
    await sim.edit(ids[0], f"<@{c.BOT}> another question")
    await sim.delete(ids[1])
    inbox.latest_questions = [asked(id_) for id_ in ids[:3]]
    inbox.conversations = {a.source: a.key for a in inbox.latest_questions}
    before = await now(sim)
    async with running(sim, inbox):
        await until(lambda: inbox.edits and inbox.deletions)
        await sim.wait_idle()
        found = [entry["path"] for entry in await sim.requests("/messages/", before)]
    assert [(m.text, m.message_id) for m, _ in inbox.edits] == [("another question", str(ids[0]))]
    assert inbox.deletions == [asked(ids[1]).source]
    assert len(found) == 3


async def test_rechecks_stay_within_the_rate_limit_of_their_route(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """The channel has more last questions than its rate limit window allows requests."""
    async with running(sim, inbox):
        ids = [await sim.mention(f"question {n}") for n in range(7)]
        await caught_up(sim, inbox, c.CHANNEL, ids[-1])
    await sim.set_limits(buckets={"read": [5, 4.0]})
    inbox.latest_questions = [asked(id_) for id_ in ids]
    inbox.conversations = {a.source: a.key for a in inbox.latest_questions}
    before = await now(sim)
    async with running(sim, inbox):

        async def is_rechecked() -> bool:
            return len(await sim.requests("/messages/", before)) == len(ids)

        await sim.until(is_rechecked)
    assert (await sim.state())["limited"] == 0


IMPOSSIBLE = "9223372036854775807"  # of the year 2084


@pytest.mark.parametrize(
    ("event", "field"),
    [("MESSAGE_CREATE", "d.id"), ("GUILD_CREATE", "d.channels.*.last_message_id")],
)
async def test_an_impossible_id_does_not_end_the_reading_of_missed_messages(
    sim: DiscordSim, inbox: FakeInbox, event: str, field: str
) -> None:
    """It would count as the newest message of its channel and of the guild, until its time."""
    await sim.call("fault_event", name=event, put={field: IMPOSSIBLE})
    async with running(sim, inbox):
        live = await sim.mention("live")
        await wait_received(inbox, live)
        await caught_up(sim, inbox, c.CHANNEL, live)
    missed = [await sim.mention("missed", channel=where) for where in (c.CHANNEL, c.CHANNEL_2)]
    async with running(sim, inbox):
        for message in missed:
            await wait_received(inbox, message)
