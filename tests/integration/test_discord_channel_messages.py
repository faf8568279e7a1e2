"""Messages that address no one, in channels where the bot answers all messages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.domain.inbox import Address, Incoming
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.support.discord_kit import running, until, wait_received
from tests.support.fake_inbox import FakeInbox


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    async with LocalDiscord() as sim:
        await sim.set_limits(on=False)
        yield sim


async def talk(sim: LocalDiscord, channel: int) -> dict[int, str]:
    """Post all kinds of messages in a channel; returns the texts of those that address no one."""
    plain = await sim.say(c.ALICE, channel, "plain")
    of_bob = await sim.say(c.BOB, channel, "of Bob")
    of_bot = await sim.say(c.OTHER_BOT, channel, "It rains.")
    posted = await sim.say(c.ALICE, channel, "It snows.", webhook=True)
    for text in (f"hey <@{c.BOB}>", "hey @everyone", f"hey <@&{c.TEAM_ROLE}>"):
        await sim.say(c.ALICE, channel, text)
    await sim.say(c.ALICE, channel, "to Bob", reply_to=of_bob)
    await sim.say(c.ALICE, channel, "to Bob, silently", reply_to=of_bob, ping=False)
    await sim.say(c.ALICE, channel, "pinned", type=c.PIN_NOTICE)
    gone = await sim.say(c.BOB, channel, f"<@{c.ALICE}> soon deleted")
    await sim.say(c.ALICE, channel, "to what is gone", reply_to=gone)
    await sim.delete(gone)
    answers = {
        plain: "plain",
        of_bob: "of Bob",
        await sim.say(c.ALICE, channel, f"<@{c.ALICE}> to myself"): "to myself",
    }
    for reply_to, text in ((plain, "to my own"), (of_bot, "to a bot"), (posted, "to a webhook")):
        answers[await sim.say(c.ALICE, channel, text, reply_to=reply_to)] = text
    file = {"filename": "a.txt", "content_type": "text/plain", "text": "x"}
    answers[await sim.say(c.BOB, channel, attachments=[file])] = ""
    return answers


def reported(inbox: FakeInbox, *channels: int) -> dict[int, Incoming]:
    """The reported messages of these channels that address no one."""
    names = set(map(str, channels))
    return {
        int(message.message_id): message
        for message in inbox.received
        if message.key.channel in names and message.address is Address.CHANNEL
    }


async def test_messages_to_no_one_in_particular_are_reported(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """Both live and missed ones are reported, in a listed channel or category, but in no other
    channel."""
    category = await sim.add_channel("Support", "category")
    inside = await sim.add_channel("help-1", category=category)
    inbox.listening = frozenset({str(c.CHANNEL), str(category)})
    async with running(sim, inbox):
        live = {**await talk(sim, c.CHANNEL), **await talk(sim, inside)}
        await talk(sim, c.CHANNEL_2)
        await wait_received(inbox, await sim.mention("the last one", user=c.CAROL))
        found = reported(inbox, c.CHANNEL, inside)
        assert {text for id_, text in live.items() if id_ not in found} == set()
        assert found.keys() == live.keys()
        for id_, text in live.items():
            assert text in found[id_].text
            assert found[id_].key.thread == str(id_)
            assert found[id_].route["mode"] == "thread"
        assert {m.address for m in inbox.received} == {Address.CHANNEL, Address.MENTION}
    missed = {**await talk(sim, c.CHANNEL), **await talk(sim, inside)}
    await talk(sim, c.CHANNEL_2)
    async with running(sim, inbox):
        await until(lambda: missed.keys() <= reported(inbox, c.CHANNEL, inside).keys())
        await sim.wait_idle(0.1)
        assert reported(inbox, c.CHANNEL, inside).keys() == {*live, *missed}
        assert reported(inbox, c.CHANNEL_2) == {}


async def test_an_edit_may_make_a_message_address_no_one(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """An edit may also add a mention; the core gets every version of a message that it knows."""
    inbox.listening = frozenset({str(c.CHANNEL)})
    async with running(sim, inbox):
        message = await sim.say(c.ALICE, c.CHANNEL, f"<@{c.BOB}> why?")
        elsewhere = await sim.say(c.ALICE, c.CHANNEL_2, f"<@{c.BOB}> why?")
        for each in (elsewhere, message):
            await sim.edit(each, "why?")
        await until(lambda: inbox.edits)
        [(edited, _)] = inbox.edits
        assert (edited.message_id, edited.address) == (str(message), Address.CHANNEL)
        known = await sim.say(c.ALICE, c.CHANNEL, "and who?")
        await wait_received(inbox, known)
        await sim.edit(known, f"<@{c.BOB}> and who?")
        await until(lambda: len(inbox.edits) == 2)
        assert inbox.edits[1][0].message_id == str(known)


async def test_a_forum_post_is_a_question_where_the_bot_answers_all(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """Its first message is the question, and later ones follow up. In other channels, only a
    mention is."""
    inbox.listening = frozenset({str(c.FORUM)})
    async with running(sim, inbox):
        post = await sim.forum_post(c.ALICE, "A bug", "It crashes.")
        first = await wait_received(inbox, post)
        assert (first.address, first.key.thread) == (Address.CHANNEL, str(post))
        assert (first.route["mode"], first.text) == ("here", "# A bug\n\nIt crashes.")
        more = await wait_received(inbox, await sim.say(c.ALICE, post, "On Mondays."))
        assert more.address is Address.FOLLOW_UP
        asked = await sim.forum_post(c.ALICE, "Who can help?", f"<@{c.BOB}> can you?")
        assert (await wait_received(inbox, asked)).address is Address.ASIDE
