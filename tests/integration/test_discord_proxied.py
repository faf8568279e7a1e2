"""Proxied messages of PluralKit and Tupperbox: a webhook's message is the person's question."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.discord.adapter import DiscordAdapter
from bot.domain.inbox import Address
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.discord_kit import running, until, wait_received
from tests.support.fake_inbox import FakeInbox

BOT = f"<@{c.BOT}>"


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        yield sim


@pytest.fixture
async def adapter(sim: DiscordSim, inbox: FakeInbox) -> AsyncIterator[DiscordAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


def source(message: int, channel: int = c.CHANNEL) -> str:
    return f"discord/{c.GUILD}/{channel}/{message}"


@pytest.mark.parametrize("deleted_first", [False, True])
async def test_the_webhooks_message_replaces_the_persons(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter, deleted_first: bool
) -> None:
    ids = await sim.say_by_proxy(
        f"{BOT} what is this?", "Robin", tags="R: ", deleted_first=deleted_first
    )
    got = await wait_received(inbox, ids["message"])
    assert (got.text, got.address) == ("what is this?", Address.MENTION)
    assert (got.author.id, got.author.name) == (str(c.ALICE), "Robin")
    assert got.key.thread == str(ids["message"])
    assert inbox.replacements == [source(ids["original"])]
    assert inbox.deletions == ([source(ids["original"])] if deleted_first else [])


async def test_a_persona_continues_in_a_thread(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    root = await sim.say(c.BOB, content="Let us talk.")
    thread = await sim.start_thread(c.BOB, root, "talk")
    ids = await sim.say_by_proxy("and now?", "Robin", channel=thread)
    got = await wait_received(inbox, ids["message"])
    assert (got.address, got.author.name) == (Address.FOLLOW_UP, "Robin")


async def test_other_webhooks_messages_are_not_questions(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Only a message that repeats a deleted message in the same channel is one."""
    await sim.mention("from a feed", webhook=True)
    stays = await sim.mention("is this mine?")
    await sim.mention("is this mine?", webhook=True, user=c.BOB)
    gone = await sim.mention("something quite different")
    await sim.delete(gone)
    await sim.mention("not what was deleted", webhook=True)
    elsewhere = await sim.mention("in one channel")
    await sim.delete(elsewhere)
    await sim.mention("in one channel", webhook=True, channel=c.CHANNEL_2)
    last = await sim.mention("the last one")
    await wait_received(inbox, last)
    people = [stays, gone, elsewhere, last]
    assert [m.message_id for m in inbox.received] == [str(message) for message in people]
    assert inbox.replacements == []


async def test_one_original_is_replaced_once(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    ids = await sim.say_by_proxy(f"{BOT} once", "Robin")
    await wait_received(inbox, ids["message"])
    await sim.mention("once", webhook=True)
    await wait_received(inbox, await sim.mention("the last one"))
    assert len(inbox.received) == 3


async def test_an_edit_through_the_proxy_is_the_persons_edit(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    ids = await sim.say_by_proxy(f"{BOT} frist", "Robin")
    got = await wait_received(inbox, ids["message"])
    inbox.conversations[got.source] = got.key
    await sim.edit(ids["message"], f"{BOT} first")
    await until(lambda: inbox.edits)
    assert [edit.text for edit, _ in inbox.edits] == ["first"]
    feed = await sim.mention("from a feed", webhook=True)
    await sim.edit(feed, f"{BOT} from a feed, edited")
    await wait_received(inbox, await sim.mention("the last one"))
    assert len(inbox.edits) == 1


async def test_a_replacement_during_a_lost_session_is_found_by_the_backfill(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """The session is lost between the person's message and the webhook's."""
    original = await sim.mention("who am I?")
    await wait_received(inbox, original)
    await sim.offline()
    repeated = await sim.say(c.ALICE, content=f"{BOT} who am I?", webhook=True)
    await sim.delete(original)
    await sim.online()
    await until(lambda: inbox.replacements)
    got = await wait_received(inbox, repeated)
    assert (got.text, got.author.id) == ("who am I?", str(c.ALICE))
