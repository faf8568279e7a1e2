"""Everything that a Slack message shows reaches the core: live, from an old thread, from a backfill
and after an edit."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.slack.adapter import SlackAdapter
from bot.common.clock import SystemClock
from bot.domain.inbox import Watermark
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_kit import running, until

FIXTURES = Path(__file__).parents[1] / "fixtures" / "slack"
SHOWN: dict[str, Any] = json.loads((FIXTURES / "shown.json").read_text())
FORWARD = SHOWN["forward_by_id_with_file"]["message"]["attachments"]
TABLE = SHOWN["pasted_table_alone"]["message"]["attachments"]
ALERT = {"type": "section", "text": {"type": "mrkdwn", "text": "api is down since 10:00"}}


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


@pytest.fixture
async def slack(sim: SlackSim, inbox: FakeInbox) -> AsyncIterator[SlackAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


def shares(author: str) -> list[dict[str, Any]]:
    return [
        {"is_share": True, "author_id": author, "text": f"ask <@{ids.ALICE}> in <#{ids.RANDOM}>"}
    ]


async def test_a_forwarded_message_has_the_names_of_people_and_channels(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    """Some names occur only in the forwarded message, and some channels have no label."""
    await sim.say(ids.ALICE, ids.DM_ALICE, "", attachments=shares(ids.BOB))
    await until(lambda: inbox.received)
    assert inbox.received[0].text == "Forwarded message from bob:\n> ask @alice in #random"
    text = f"<@{ids.BOT_USER}> look in <#{ids.RANDOM}|> and <#C0SECRET01>, <@U0STRANGER>"
    await sim.say(ids.ALICE, ids.GENERAL, text, raw=True)
    await until(lambda: len(inbox.received) == 2)
    assert inbox.received[1].text == "look in #random and #unknown-channel, @unknown-user"


async def test_a_table_and_a_forwarded_file_are_read(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    await sim.say(ids.ALICE, ids.GENERAL, "", mention=True, attachments=[*TABLE, *FORWARD])
    await until(lambda: inbox.received)
    text = inbox.received[0].text
    assert text.startswith("Table:\n> | Name |")
    assert "Forwarded message from" in text
    assert len(inbox.received[0].attachments) == 1


async def test_an_edit_includes_forwarded_messages(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    ts = await sim.say(ids.ALICE, ids.GENERAL, "why", mention=True, attachments=TABLE)
    await until(lambda: inbox.received)
    await sim.edit(ids.GENERAL, ts, "why?", mention=True)
    await until(lambda: inbox.edits)
    assert inbox.edits[0][0].text == inbox.received[0].text.replace("why", "why?")


async def test_an_alert_is_quoted_before_peoples_messages_in_its_thread(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    """Another bot's replies in the thread do not count."""
    alert = await sim.say(
        ids.OTHER_BOT_USER, ids.GENERAL, "Incident 7", blocks=[ALERT], username="Alerts\nAlice"
    )
    await sim.say(ids.BOB, ids.GENERAL, "", thread_ts=alert, attachments=shares(ids.BOB))
    await sim.say(ids.OTHER_BOT_USER, ids.GENERAL, "still down", thread_ts=alert)
    await sim.say(ids.ALICE, ids.GENERAL, "what now?", thread_ts=alert, mention=True)
    asked = await until(lambda: [one for one in inbox.received if one.text == "what now?"])
    backlog = await slack.backlog(asked[0])
    assert [one.text for one in backlog] == [
        "Alerts Alice wrote:\n> Incident 7\n>\n> Embed:\n> > api is down since 10:00",
        "Forwarded message from bob:\n> ask @alice in #random",
    ]
    assert backlog[0].author == asked[0].author
    assert backlog[0].message_id == alert
    assert backlog[0].position < backlog[1].position < asked[0].position


async def test_the_bots_own_or_a_deleted_root_message_is_not_quoted(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    root = await sim.say(ids.BOT_USER, ids.GENERAL, "An answer")
    gone = await sim.say(ids.BOB, ids.GENERAL, "a mistake")
    for number, thread in enumerate((root, gone)):
        await sim.say(ids.BOB, ids.GENERAL, "so", thread_ts=thread)
        if thread == gone:
            await sim.delete(ids.GENERAL, gone)
        await sim.say(ids.ALICE, ids.GENERAL, f"ask {number}", thread_ts=thread, mention=True)
        asked = await until(lambda n=number: [m for m in inbox.received if m.text == f"ask {n}"])
        assert [one.text for one in await slack.backlog(asked[0])] == ["so"]


async def test_a_backfill_reads_everything_shown_and_skips_only_malformed_parts(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """One message has an invalid `latest_reply`, another an invalid table."""
    start = int(SystemClock().time() * 1_000_000)
    for place in ("", ids.GENERAL, ids.DM_ALICE):
        inbox.marks[(ids.TEAM, place)] = Watermark("slack", ids.TEAM, place, start)
    first = await sim.say(ids.ALICE, ids.DM_ALICE, "", attachments=TABLE)
    await sim.say(ids.ALICE, ids.DM_ALICE, "and this", blocks=[{"type": "table", "rows": {"x": 1}}])
    odd = {"messages.*.latest_reply": {"ts": 1}, "response_metadata": "none"}
    await sim.call("fault", match="conversations.history", times=9, put=odd)
    async with running(sim, inbox):
        await until(lambda: len(inbox.received) == 2)
    assert [one.text.split("\n")[0] for one in inbox.received] == ["Table:", "and this"]
    assert inbox.received[0].message_id == first
