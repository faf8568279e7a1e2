"""A mention in a Slack channel brings the posts of other bots directly above it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from adapters.slack.adapter import SlackAdapter
from bot.domain.errors import PlatformError
from bot.domain.inbox import Incoming
from bot.inbox.posts_above import MAX_AGE
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_kit import running, until

HISTORY = "conversations.history"
BLOCK = {"type": "section", "text": {"type": "mrkdwn", "text": "*api* is down since 10:00"}}
ATTACHMENT = {"color": "danger", "title": "DiskFull", "text": "/var is at 99 %"}


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


@pytest.fixture
async def slack(sim: SlackSim, inbox: FakeInbox) -> AsyncIterator[SlackAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


async def post(sim: SlackSim, text: str, **more: Any) -> str:
    return await sim.say(ids.OTHER_BOT_USER, ids.GENERAL, text, username="Alerts", **more)


async def wait_for(inbox: FakeInbox, ts: str) -> Incoming:
    found = await until(lambda: [one for one in inbox.received if one.message_id == ts])
    assert isinstance(found[0], Incoming)
    return found[0]


async def ask(sim: SlackSim, inbox: FakeInbox, user: str = ids.ALICE, **more: Any) -> Incoming:
    ts = await sim.say(user, ids.GENERAL, "what is this?", mention=True, **more)
    return await wait_for(inbox, ts)


async def texts_above(slack: SlackAdapter, question: Incoming) -> list[str]:
    return [one.text for one in await slack.backlog(question)]


async def history_reads(sim: SlackSim) -> list[dict[str, Any]]:
    """The history reads before a message; the backfill has no `latest`."""
    return [one for one in await sim.requests(HISTORY) if "latest" in str(one)]


async def test_an_alert_above_a_mention_is_quoted_with_all_its_parts(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    file = ("df.txt", "text/plain", b"99 %")
    alert = await post(sim, "Incident 7", blocks=[BLOCK], attachments=[ATTACHMENT], files=[file])
    question = await ask(sim, inbox)
    assert question.stands_alone
    (entry,) = await slack.backlog(question)
    assert entry.text.startswith("Alerts wrote:\n> Incident 7")
    assert "api is down since 10:00" in entry.text.replace("*", "")
    assert "DiskFull" in entry.text
    assert "/var is at 99 %" in entry.text
    assert [file.name for file in entry.attachments] == ["df.txt"]
    assert entry.key == question.key
    assert entry.message_id.startswith(alert)
    assert entry.position < question.position
    assert await history_reads(sim) == []


async def test_two_mentions_below_two_alerts_both_see_them(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    await post(sim, "one")
    await post(sim, "two")
    first, second = await ask(sim, inbox), await ask(sim, inbox, ids.BOB)
    expected = ["Alerts wrote:\n> one", "Alerts wrote:\n> two"]
    assert await texts_above(slack, first) == await texts_above(slack, second) == expected
    sources = {one.source for q in (first, second) for one in await slack.backlog(q)}
    assert len(sources) == 4


async def test_peoples_messages_between_are_skipped(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    alert = await post(sim, "one")
    await sim.say(ids.BOB, ids.GENERAL, "again?")
    for _ in range(4):  # thread replies are not in the channel
        await sim.say(ids.BOB, ids.GENERAL, "looking", thread_ts=alert)
    question = await ask(sim, inbox)
    assert await texts_above(slack, question) == ["Alerts wrote:\n> one"]
    for _ in range(3):
        await sim.say(ids.BOB, ids.GENERAL, "lunch?")
    assert await texts_above(slack, await ask(sim, inbox)) == []


async def test_an_edited_alert_is_shown_as_it_is_and_a_deleted_one_is_not(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    alert, mistake = await post(sim, "FIRING"), await post(sim, "a mistake")
    await sim.edit(ids.GENERAL, alert, "RESOLVED")
    await sim.delete(ids.GENERAL, mistake)
    assert await texts_above(slack, await ask(sim, inbox)) == ["Alerts wrote:\n> RESOLVED"]


async def test_an_alert_older_than_an_hour_does_not_count(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    await post(sim, "one")
    question = await ask(sim, inbox)
    later = replace(question, sent_at=question.sent_at + MAX_AGE + 60)
    assert await texts_above(slack, later) == []


async def test_after_a_restart_the_channel_is_read_once(sim: SlackSim, inbox: FakeInbox) -> None:
    await post(sim, "one")
    async with running(sim, inbox) as slack:
        first, second = await ask(sim, inbox), await ask(sim, inbox)
        for question in (first, second):
            assert await texts_above(slack, question) == ["Alerts wrote:\n> one"]
    assert len(await history_reads(sim)) == 1


async def test_a_channel_that_cannot_be_read_fails_once(sim: SlackSim, inbox: FakeInbox) -> None:
    """The inbox then answers without it."""
    async with running(sim, inbox) as slack:
        question = await ask(sim, inbox)
        await sim.remove_from_channel(ids.GENERAL)
        with pytest.raises(PlatformError):
            await slack.backlog(question)
        assert await texts_above(slack, question) == []
    assert len(await history_reads(sim)) == 1


async def test_threads_and_direct_messages_are_unchanged(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    alert = await post(sim, "one")
    in_thread = await ask(sim, inbox, thread_ts=alert)
    direct = await wait_for(inbox, await sim.say(ids.ALICE, ids.DM_ALICE, "hi"))
    assert not in_thread.stands_alone
    assert not direct.stands_alone
    assert await texts_above(slack, in_thread) == ["Alerts wrote:\n> one"]


async def test_the_bots_own_messages_are_no_posts(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    await sim.say(ids.BOT_USER, ids.GENERAL, "An answer")
    assert await texts_above(slack, await ask(sim, inbox)) == []
