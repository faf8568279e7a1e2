"""Every small change of every event and interaction that the Slack adapter is sent.

Nothing raises, everything is acknowledged, a person's question is still found where it can be, and
nothing happens to anybody else's conversation.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from slack_bolt.async_app import AsyncApp

from adapters.slack import events
from adapters.slack.adapter import SlackAdapter
from adapters.slack.api import new_session
from adapters.slack.backfill import LAG
from adapters.slack.backfill_plan import goes_on, places, to_read
from adapters.slack.blocks import MessageBuilder
from adapters.slack.envelopes import dispatch, tidied
from adapters.slack.events import Identity
from adapters.slack.interactions import Commands
from adapters.slack.listeners import ConnectionProblem, Listeners
from adapters.slack.mrkdwn import Mrkdwn
from adapters.slack.workspace import Workspace
from bot.catchup.backfill import WatermarkSaver
from bot.common.clock import SystemClock
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone
from tests.support.mutations import Mutation, mutations
from tests.support.slack_kit import FakeInbox

FIXTURES = Path(__file__).parents[1] / "fixtures" / "slack"
FILES = ("messages", "no_messages", "other_events", "interactions")
PAYLOADS: dict[str, Any] = {
    name: payload
    for file in FILES
    for name, payload in json.loads((FIXTURES / f"{file}.json").read_text()).items()
}
SHOWN = json.loads((FIXTURES / "shown.json").read_text())
ME = Identity("T0HOME0001", "U0BOT00001", "B0BOT00001")
CHANNEL = "C0GENERAL1"


class Silent:
    """A Web API that knows nothing and refuses everything, at once."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.own_deletions: dict[str, bool] = {}

    async def paced_read(self, method: str, **_: Any) -> Any:
        raise Gone("channel_not_found")

    paced_write = paced_read

    async def respond(self, url: str, **_: Any) -> None:
        raise Gone("no such hook")


class Slack:
    """The listeners on Bolt's app, with an inbox that keeps what reaches it."""

    def __init__(self, session: Any) -> None:
        clock, api = SystemClock(), Silent(session)
        self.inbox, self.trouble = FakeInbox(), ConnectionProblem()
        self.workspace = Workspace(me=ME, api=api, clock=clock)  # type: ignore[arg-type]
        self.keeper = WatermarkSaver(platform="slack", lag=LAG, inbox=self.inbox, clock=clock)
        self.listeners = Listeners(
            workspace=self.workspace,
            inbox=self.inbox,
            keeper=self.keeper,
            bodies=MessageBuilder(Mrkdwn()),
            commands=Commands(inbox=self.inbox, workspace=self.workspace, models=["echo"]),
            prefix="",
            trouble=self.trouble,
        )
        adapter = SlackAdapter(bot_token="xoxb-x", app_token="xapp-x", clock=clock)
        self.app: AsyncApp = adapter._app(ME, api, self.listeners)  # type: ignore[arg-type]

    async def status(self, payload: Any) -> int:
        """What a delivery is answered; nothing of earlier ones is left in the inbox."""
        self.inbox.__init__()  # type: ignore[misc]
        self.trouble.text = ""
        return (await dispatch(self.app, payload, {})).status

    async def answer(self, mutation: Mutation) -> int:
        """As `status`; what is too deep in an event for Bolt to look at goes past it."""
        payload = mutation.payload
        if len(mutation.path) <= 4 or "event" not in mutation.path:
            return await self.status(payload)
        self.inbox.__init__()  # type: ignore[misc]
        await self.listeners._event(tidied(payload))
        return 200

    async def aclose(self) -> None:
        await self.listeners.aclose()
        await self.keeper.aclose()
        await self.workspace.aclose()


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    session = new_session()
    running = Slack(session)
    yield running
    await running.aclose()
    await session.close()


def all_mutations() -> Iterator[tuple[str, Mutation]]:
    for name, payload in PAYLOADS.items():
        yield from ((name, mutation) for mutation in mutations(payload))


async def test_every_recorded_payload_is_acknowledged_as_it_is(slack: Slack) -> None:
    for name, payload in PAYLOADS.items():
        assert await slack.status(payload) == 200, name


async def test_no_changed_payload_raises_or_comes_again(slack: Slack) -> None:
    """Nor does it end anything but what it names."""
    with structlog.testing.capture_logs() as logs:
        await no_changed_payload_raises_or_comes_again(slack)
    assert [entry for entry in logs if "exc_info" in entry] == []


async def no_changed_payload_raises_or_comes_again(slack: Slack) -> None:
    tried, where = 0, ConversationKey("slack", ME.team, CHANNEL, "")
    for name, mutation in all_mutations():
        context = (name, mutation.path, mutation.how)
        assert await slack.answer(mutation) == 200, context
        gone = slack.inbox.places_gone
        everything = [key for key in gone if key != where]
        assert not everything or "revoked" in name or "uninstalled" in name, context
        if everything:
            assert slack.trouble.text
        known = {"slack/T0HOME0001/C0GENERAL1/1763630000.123459"}
        assert set(slack.inbox.deletions) <= known or "delete" in name, context
        tried += 1
    print(f"{tried} changed payloads of {len(PAYLOADS)}")
    assert tried > 10_000


# What a message cannot be understood without: who wrote it, where, and that it was written.
ESSENTIAL = {("event",), ("event", "user"), ("event", "channel")}
# With these it is another event.
OTHERWISE = {("event", "subtype"), ("event", "bot_id"), ("event", "hidden")}


@pytest.mark.parametrize(
    "name", ["message_mention", "thread_reply", "direct_message", "agent_pane", "file_share"]
)
async def test_a_question_is_found_in_a_changed_message(slack: Slack, name: str) -> None:
    """Its author is answered, in the same conversation; but for what it cannot do without."""
    assert await slack.status(PAYLOADS[name]) == 200
    (wanted,) = slack.inbox.received
    for mutation in mutations(PAYLOADS[name]):
        if not mutation.path or mutation.path in ESSENTIAL | OTHERWISE:
            continue
        context = (mutation.path, mutation.how)
        await slack.status(mutation.payload)
        if mutation.path == ("type",) and mutation.how == "'text'":
            continue  # another kind of delivery
        if _says_otherwise(mutation):
            continue
        assert [one.author.id for one in slack.inbox.received] == [wanted.author.id], context
        (found,) = slack.inbox.received
        assert found.key.channel == wanted.key.channel, context
        assert found.text, context
        if mutation.path != ("event", "thread_ts"):
            assert found.key.thread == wanted.key.thread, context


def _says_otherwise(mutation: Mutation) -> bool:
    """What the change says, or hides, is what decides whether the message is for the bot."""
    return (
        mutation.path
        in {
            ("event", "type"),  # "text": another event
            ("event", "text"),  # the mention was in it
            ("event", "thread_ts"),  # outside its thread it is people's talk
            ("event", "ts"),
        }
        or mutation.path[:2] == ("authorizations", 0)
    )


async def test_a_new_message_without_its_ts_has_its_events(slack: Slack) -> None:
    body = PAYLOADS["direct_message"]
    event = {name: value for name, value in body["event"].items() if name != "ts"}
    await slack.status({**body, "event": event})
    (found,) = slack.inbox.received
    assert found.message_id == body["event"]["event_ts"]


@pytest.mark.parametrize("field", ["type", "authorizations", "team_id", "event_id", "api_app_id"])
async def test_a_question_is_found_without_fields_around_it(slack: Slack, field: str) -> None:
    body = {name: one for name, one in PAYLOADS["direct_message"].items() if name != field}
    await slack.status(body)
    assert len(slack.inbox.received) == 1
    assert slack.inbox.received[0].key.workspace == ME.team


async def test_a_direct_message_without_its_channels_kind_is_answered(slack: Slack) -> None:
    """Also while Slack does not say what kind of channel it is."""
    body = PAYLOADS["direct_message"]
    event = {name: one for name, one in body["event"].items() if name != "channel_type"}
    await slack.status({**body, "event": event})
    assert [one.address.value for one in slack.inbox.received] == ["direct"]


def test_every_changed_content_is_read() -> None:
    """Of what a message shows: a broken table costs itself, and never the question beside it."""
    tried = 0
    base = PAYLOADS["direct_message"]
    for name, case in SHOWN.items():
        for mutation in mutations(case["message"]):
            if not isinstance(mutation.payload, dict) or mutation.path == ("text",):
                continue
            message = base["event"] | {"text": "and this?"} | mutation.payload
            message |= {"text": "and this?"}
            incoming = events.read({**base, "event": message}, ME, {})
            assert incoming is not None, (name, mutation.path, mutation.how)
            assert incoming.text.startswith("and this?"), (name, mutation.path, mutation.how)
            tried += 1
    print(f"{tried} changed contents of {len(SHOWN)}")


def test_a_changed_page_of_history_costs_what_is_changed_only() -> None:
    """What is read after a gap is put in order and planned with; one message may be broken."""
    base = PAYLOADS["direct_message"]["event"]
    first = base | {"ts": "1763630000.000100", "thread_ts": "1763630000.000100"}
    first |= {"latest_reply": "1763630009.000100", "reply_count": 2}
    second = base | {"ts": "1763630001.000100", "edited": {"user": "U1", "ts": "1763630002.000000"}}
    page = {"ok": True, "messages": [first, second], "response_metadata": {"next_cursor": "x"}}
    tried = 0
    for mutation in mutations(page):
        found = events.history(mutation.payload) if isinstance(mutation.payload, dict) else []
        if mutation.path[:2] == ("messages", 0):
            assert found[-1] == second, (mutation.path, mutation.how)
        for message in found:
            event = {**message, "type": "message", "channel": CHANNEL, "channel_type": "im"}
            events.read({"event": event}, ME, {})
        to_read(found, 0, [5])
        if found:
            goes_on(found, 0, [5])
        tried += 1
    assert tried > 200
    channel = {"id": "C1", "created": 1, "is_im": False, "is_private": True}
    for mutation in mutations(channel):
        if isinstance(mutation.payload, dict) and mutation.payload.get("id") == "C1":
            assert [place.id for place in places([mutation.payload], [], 0.0)] == ["C1"]


async def test_delivery_that_always_fails_is_acknowledged_at_its_second_try(slack: Slack) -> None:
    """An error that was not foreseen gets one more delivery, and is then taken as it is."""

    async def broken(_incoming: Any) -> None:
        raise KeyError("a mistake")

    async def status(attempt: str) -> int:
        slack.inbox.before_receive = broken
        body = PAYLOADS["direct_message"]
        return (await dispatch(slack.app, body, {"x-slack-retry-num": attempt})).status

    with structlog.testing.capture_logs() as logs:
        assert [await status(attempt) for attempt in "0123"] == [500, 200, 200, 200]
    failures = [entry for entry in logs if entry["log_level"] == "error"]
    assert all("KeyError" in repr(entry["exc_info"]) for entry in failures)
    assert "hello" not in repr([entry["shape"] for entry in failures])
