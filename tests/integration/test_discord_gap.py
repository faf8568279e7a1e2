"""What was said while no events came: found on the real client, read as seldom as possible."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.domain import Address, Conversation, ConversationKey, Visibility, Watermark
from bot.errors import StoreUnavailable
from tests.discord_kit import RecordingInbox, received, running, until
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim

GUILD = str(c.GUILD)


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        yield sim


@pytest.fixture
async def inbox(sim: DiscordSim) -> RecordingInbox:
    """One that has seen everything until now, in the guild and in direct messages."""
    inbox = RecordingInbox()
    async with running(sim, inbox):
        message = await sim.say(c.ALICE, c.CHANNEL, "before")
        await until(lambda: mark(inbox, c.CHANNEL) >= message)
        await until(lambda: ("@me", "") in inbox.marks)
    return inbox


def mark(inbox: RecordingInbox, channel: int, guild: str = GUILD) -> int:
    own, floor = inbox.marks.get((guild, str(channel))), inbox.marks.get((guild, ""))
    return max(m.position for m in (own, floor, Watermark("", "", "", 0)) if m)


async def reads(sim: DiscordSim, since: int) -> list[str]:
    """The requests that read messages or lists of threads."""
    found = await sim.requests("GET", since)
    paths = [entry["path"] for entry in found]
    return [path for path in paths if path.endswith("/messages") or "/threads/" in path]


async def caught_up(sim: DiscordSim, inbox: RecordingInbox, channel: int, message: int) -> None:
    await until(lambda: mark(inbox, channel) >= message)
    await sim.wait_idle()


def said(inbox: RecordingInbox) -> list[str]:
    return [message.text for page in inbox.read for message in page]


async def now(sim: DiscordSim) -> int:
    return len(await sim.requests())


def talked(thread: int, channel: int = c.CHANNEL, guild: str = GUILD) -> Conversation:
    """A conversation of a moment ago."""
    import time

    key = ConversationKey("discord", guild, str(channel), str(thread) if guild != "@me" else "")
    return Conversation(1, key, "", None, 1, time.time(), time.time(), Visibility.PUBLIC)


async def test_what_was_asked_meanwhile_is_found_and_read_once(
    sim: DiscordSim, inbox: RecordingInbox
) -> None:
    """A mention in a channel, a message in a thread, a forum post: one read for each place."""
    thread = await sim.start_thread(c.ALICE, await sim.say(c.ALICE, c.CHANNEL_2, "x"), "t")
    mention = await sim.mention("in the channel")
    await sim.say(c.ALICE, thread, "in the thread")
    post = await sim.forum_post(c.BOB, "Post", "in a post", mention=True)
    before = await now(sim)
    async with running(sim, inbox):
        await received(inbox, mention)
        await caught_up(sim, inbox, post, post)
        found = await reads(sim, before)
    assert sorted(said(inbox)) == ["# Post\n\nin a post", "in the channel", "in the thread"]
    assert len(found) == 4  # two channels, a thread, a post
    assert inbox.text_of("in the channel").address is Address.MENTION  # type: ignore[union-attr]


async def test_a_start_after_which_nothing_was_missed_reads_nothing(
    sim: DiscordSim, inbox: RecordingInbox
) -> None:
    before = await now(sim)
    async with running(sim, inbox):
        await sim.wait_idle()
        message = await sim.mention("live")
        await received(inbox, message)
        assert await reads(sim, before) == []


async def test_the_first_start_ever_answers_nothing_of_the_past(sim: DiscordSim) -> None:
    await sim.mention("long ago")
    inbox = RecordingInbox()
    async with running(sim, inbox):
        await until(lambda: (GUILD, "") in inbox.marks)
        live = await sim.mention("now")
        await received(inbox, live)
        assert [m.text for m in inbox.received] == ["now"]
        assert await reads(sim, 0) == []


async def test_thousands_of_messages_are_read_in_pages_of_a_hundred_and_in_order(
    sim: DiscordSim, inbox: RecordingInbox
) -> None:
    texts = [f"n{n}" for n in range(350)]
    for text in texts:
        last = await sim.mention(text)
    before = await now(sim)
    async with running(sim, inbox):
        await caught_up(sim, inbox, c.CHANNEL, last)
        assert len(await reads(sim, before)) == 4
    assert said(inbox) == texts


async def test_the_watermark_follows_page_by_page_and_never_passes_what_could_not_be_stored(
    sim: DiscordSim, inbox: RecordingInbox
) -> None:
    ids = [await sim.mention(f"n{n}") for n in range(3)]
    inbox.missed_error = StoreUnavailable("full")
    async with running(sim, inbox):
        await sim.wait_idle()
        live = await sim.mention("live")
        await received(inbox, live)
        await asyncio.sleep(1.5)  # what would be stored is stored after a second
        assert mark(inbox, c.CHANNEL) < ids[0]
    inbox.missed_error = None
    async with running(sim, inbox):
        await caught_up(sim, inbox, c.CHANNEL, live)
    assert said(inbox)[-4:] == ["n0", "n1", "n2", "live"]
