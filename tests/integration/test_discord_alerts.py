"""A mention in a Discord channel brings the posts of other bots directly above it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from adapters.discord.adapter import DiscordAdapter
from bot.domain.inbox import Incoming
from bot.inbox.posts_above import MAX_AGE
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.discord_kit import running, wait_received
from tests.support.fake_inbox import FakeInbox

EMBED = {"title": "DiskFull", "description": "**/var** is at 99 %", "type": "rich"}
FILE = {"filename": "df.txt", "content_type": "text/plain", "text": "99 %"}
HISTORY = f"GET /api/v10/channels/{c.CHANNEL}/messages"


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        yield sim


@pytest.fixture
async def adapter(sim: DiscordSim, inbox: FakeInbox) -> AsyncIterator[DiscordAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


async def ask(sim: DiscordSim, inbox: FakeInbox, **more: Any) -> Incoming:
    return await wait_received(inbox, await sim.mention("what is this?", **more))


def described(backlog: Sequence[Incoming]) -> list[tuple[str, str]]:
    return [(one.author.name, one.text) for one in backlog]


async def history_reads(sim: DiscordSim) -> list[dict[str, Any]]:
    """The history reads before a message; the backfill reads after one."""
    return [one for one in await sim.requests(HISTORY) if "before" in str(one)]


async def test_an_alert_above_a_mention_is_history_with_its_embeds_and_files(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    alert = await sim.say(c.OTHER_BOT, embeds=[EMBED], attachments=[FILE])
    question = await ask(sim, inbox)
    assert question.stands_alone
    (entry,) = await adapter.backlog(question)
    assert entry.author.name == "weather-bot"
    assert entry.text == "Embed:\n> DiskFull\n>\n> **/var** is at 99 %"
    assert [file.name for file in entry.attachments] == ["df.txt"]
    assert (entry.key, entry.position) == (question.key, alert)
    assert await history_reads(sim) == []


async def test_two_mentions_below_one_alert_both_see_it(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    await sim.say(c.OTHER_BOT, content="Disk full.", webhook=True)
    first, second = await ask(sim, inbox), await ask(sim, inbox, user=c.BOB)
    (one,), (other,) = await adapter.backlog(first), await adapter.backlog(second)
    assert one.text == other.text == "Disk full."
    assert one.source != other.source


async def test_peoples_messages_between_are_skipped(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    await sim.say(c.OTHER_BOT, content="Disk full.")
    await sim.say(c.BOB, content="again?")
    await sim.say(c.OTHER_BOT, content="CPU hot.")
    await sim.say(c.BOB, content="looking")
    question = await ask(sim, inbox)
    expected = [("weather-bot", "Disk full."), ("weather-bot", "CPU hot.")]
    assert described(await adapter.backlog(question)) == expected
    for _ in range(3):
        await sim.say(c.BOB, content="lunch?")
    assert await adapter.backlog(await ask(sim, inbox)) == []


async def test_an_edited_alert_is_shown_as_it_is_and_a_deleted_one_is_not(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    alert = await sim.say(c.OTHER_BOT, content="FIRING")
    mistake = await sim.say(c.OTHER_BOT, content="a mistake")
    await sim.edit(alert, "RESOLVED")
    await sim.delete(mistake)
    question = await ask(sim, inbox)
    assert described(await adapter.backlog(question)) == [("weather-bot", "RESOLVED")]


async def test_an_alert_older_than_an_hour_does_not_count(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    await sim.say(c.OTHER_BOT, content="Disk full.")
    question = await ask(sim, inbox)
    later = replace(question, sent_at=question.sent_at + MAX_AGE + 60)
    assert await adapter.backlog(later) == []


async def test_after_a_restart_the_channel_is_read_once(sim: DiscordSim, inbox: FakeInbox) -> None:
    await sim.say(c.OTHER_BOT, content="Disk full.")
    async with running(sim, inbox) as adapter:
        first, second = await ask(sim, inbox), await ask(sim, inbox)
        for question in (first, second):
            assert described(await adapter.backlog(question)) == [("weather-bot", "Disk full.")]
    (read,) = await history_reads(sim)
    assert "limit=10" in str(read) or "'limit': '10'" in str(read)


async def test_a_channel_that_may_not_be_read_is_not_asked_for(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    await sim.say(c.OTHER_BOT, content="Disk full.")
    await sim.set_permissions(c.CHANNEL, deny=("read_message_history",))
    async with running(sim, inbox) as adapter:
        assert await adapter.backlog(await ask(sim, inbox)) == []
    assert await history_reads(sim) == []


async def test_replies_threads_and_direct_messages_are_unchanged(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    alert = await sim.say(c.OTHER_BOT, content="Disk full.")
    reply = await ask(sim, inbox, reply_to=alert)
    assert reply.text == "weather-bot wrote:\n> Disk full.\n\nwhat is this?"
    thread = await sim.start_thread(c.BOB, alert, "alert")
    in_thread = await ask(sim, inbox, channel=thread)
    direct = await wait_received(inbox, (await sim.dm(c.ALICE, "hi"))["message"])
    assert not any(one.stands_alone for one in (reply, in_thread, direct))
    assert described(await adapter.backlog(in_thread)) == [("weather-bot", "Disk full.")]


async def test_proxied_messages_and_the_bots_own_are_not_posts(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    await sim.say(c.BOT, content="An answer.")
    proxied = await sim.say_by_proxy(f"<@{c.BOT}> hello", "Zoe", tags="z:")
    await wait_received(inbox, proxied["message"])
    assert await adapter.backlog(await ask(sim, inbox)) == []
