"""What was said on Slack while nothing arrived: found at the start, with few requests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from bot.domain import Conversation, ConversationKey
from bot.errors import StoreUnavailable
from tests.integration.slack_world import FakeInbox, running, until
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim


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
    return [entry["path"].rpartition("/")[2] for entry in found]


async def now(sim: SlackSim) -> int:
    return len(await sim.requests())


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
