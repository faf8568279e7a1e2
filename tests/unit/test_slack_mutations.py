"""Mutates every recorded event and interaction that Slack sends to the adapter.

Nothing raises, everything is acknowledged, a person's question is found wherever possible, and no
other conversation is affected.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import structlog
from slack_sdk.web.async_client import AsyncWebClient

from adapters.slack import events
from adapters.slack.api import new_session
from adapters.slack.backfill import LAG
from adapters.slack.backfill_plan import next_page_pays, plan_channels, unread_threads
from adapters.slack.blocks import MessageBuilder
from adapters.slack.bolt import create_app
from adapters.slack.envelopes import dispatch, sanitize
from adapters.slack.events import Identity
from adapters.slack.interactions import SlackInteractionHandler
from adapters.slack.listeners import Listeners
from adapters.slack.mrkdwn import Mrkdwn
from adapters.slack.payloads import Payload
from adapters.slack.router import Router
from adapters.slack.workspace import Workspace
from bot.catchup.watermark_saver import WatermarkSaver
from bot.common.clock import SystemClock
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone
from bot.ports.clock import Clock
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.support.catalog import offering
from tests.support.fake_inbox import FakeInbox
from tests.support.mutations import Mutation, mutations
from tests.support.slack_kit import read_event

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


class RefusingApi:
    """A Web API that refuses every request immediately."""

    def __init__(self, session: Any, clock: Clock) -> None:
        self.session = session
        self.own_deletions: dict[str, bool] = {}
        self.rate_limiter = AccountRateLimiter(lambda _scope: None, clock)

    async def _refuse(self, method: str, **_: Any) -> Any:
        raise Gone("channel_not_found")

    read_paced = write_paced = _refuse

    async def respond(self, url: str, **_: Any) -> None:
        raise Gone("no such hook")


class Slack:
    """The listeners on Bolt's app, with an inbox that records what it receives."""

    def __init__(self, session: Any) -> None:
        clock = SystemClock()
        api = RefusingApi(session, clock)
        self.inbox, self.removals = FakeInbox(), list[Payload]()
        self.workspace = Workspace(me=ME, api=api, clock=clock)  # type: ignore[arg-type]
        self.keeper = WatermarkSaver(platform="slack", lag=LAG, inbox=self.inbox, clock=clock)
        self.listeners = Listeners(
            workspace=self.workspace,
            inbox=self.inbox,
            saver=self.keeper,
            builder=MessageBuilder(Mrkdwn(), clock),
            interactions=SlackInteractionHandler(
                inbox=self.inbox, workspace=self.workspace, models=offering("echo")
            ),
            prefix="",
            clock=clock,
            removed=self._remember_removal,
        )
        client = AsyncWebClient(session=session)
        self.app = create_app(signing_secret=None, client=client)
        Router(self._find).register(self.app)

    async def _remember_removal(self, body: Payload) -> None:
        self.removals.append(body)

    async def _find(self, _body: Payload) -> Self:
        return self

    @contextlib.contextmanager
    def handling(self) -> Iterator[None]:
        yield

    async def deliver(self, payload: Any) -> int:
        """Deliver `payload` to an empty inbox; returns the HTTP status of the response."""
        self.inbox.__init__()  # type: ignore[misc]
        self.removals.clear()
        return (await dispatch(self.app, payload, {})).status

    async def deliver_mutation(self, mutation: Mutation) -> int:
        """Like `deliver`, but a change too deep for Bolt to read skips Bolt, which is faster."""
        payload = mutation.payload
        if len(mutation.path) <= 4 or "event" not in mutation.path:
            return await self.deliver(payload)
        self.inbox.__init__()  # type: ignore[misc]
        await self.listeners.on_event(sanitize(payload))
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


async def test_every_recorded_payload_is_acknowledged(slack: Slack) -> None:
    for name, payload in PAYLOADS.items():
        assert await slack.deliver(payload) == 200, name


async def test_no_mutated_payload_raises_or_is_redelivered(slack: Slack) -> None:
    """No mutation ends or deletes another conversation."""
    with structlog.testing.capture_logs() as logs:
        await deliver_all_mutations(slack)
    assert [entry for entry in logs if "exc_info" in entry] == []


async def deliver_all_mutations(slack: Slack) -> None:
    tried, channel = 0, ConversationKey("slack", ME.team, CHANNEL, "")
    for name, mutation in all_mutations():
        context = (name, mutation.path, mutation.how)
        assert await slack.deliver_mutation(mutation) == 200, context
        others = [key for key in slack.inbox.gone_keys if key != channel]
        assert not others or "revoked" in name or "uninstalled" in name, context
        if others:
            assert slack.removals
        known = {"slack/T0HOME0001/C0GENERAL1/1763630000.123459"}
        assert set(slack.inbox.deletions) <= known or "delete" in name, context
        tried += 1
    print(f"{tried} mutations of {len(PAYLOADS)} payloads")
    assert tried > 10_000


# A message cannot be understood without its author and its channel.
ESSENTIAL = {("event",), ("event", "user"), ("event", "channel")}
# A change of these makes it another kind of event.
KIND_FIELDS = {("event", "subtype"), ("event", "bot_id"), ("event", "hidden")}


@pytest.mark.parametrize(
    "name", ["message_mention", "thread_reply", "direct_message", "agent_pane", "file_share"]
)
async def test_a_question_is_found_in_a_mutated_message(slack: Slack, name: str) -> None:
    """Author and conversation stay the same, unless an essential field is missing."""
    assert await slack.deliver(PAYLOADS[name]) == 200
    (wanted,) = slack.inbox.received
    for mutation in mutations(PAYLOADS[name]):
        if not mutation.path or mutation.path in ESSENTIAL | KIND_FIELDS:
            continue
        context = (mutation.path, mutation.how)
        await slack.deliver(mutation.payload)
        if mutation.path == ("type",) and mutation.how == "'text'":
            continue  # another kind of delivery
        if _changes_the_address(mutation):
            continue
        assert [one.author.id for one in slack.inbox.received] == [wanted.author.id], context
        (found,) = slack.inbox.received
        assert found.key.channel == wanted.key.channel, context
        assert found.text, context
        if mutation.path != ("event", "thread_ts"):
            assert found.key.thread == wanted.key.thread, context


def _changes_the_address(mutation: Mutation) -> bool:
    """Whether the change affects a field that decides whether the message is for the bot."""
    return (
        mutation.path
        in {
            ("event", "type"),  # another event
            ("event", "text"),  # which had the mention
            ("event", "thread_ts"),  # without it, the message is not in the bot's thread
            ("event", "ts"),
        }
        or mutation.path[:2] == ("authorizations", 0)
    )


async def test_a_new_message_without_a_ts_gets_the_events_ts(slack: Slack) -> None:
    body = PAYLOADS["direct_message"]
    event = {name: value for name, value in body["event"].items() if name != "ts"}
    await slack.deliver({**body, "event": event})
    (found,) = slack.inbox.received
    assert found.message_id == body["event"]["event_ts"]


@pytest.mark.parametrize("field", ["type", "authorizations", "team_id", "event_id", "api_app_id"])
async def test_a_question_is_found_without_its_envelopes_fields(slack: Slack, field: str) -> None:
    body = {name: one for name, one in PAYLOADS["direct_message"].items() if name != field}
    await slack.deliver(body)
    assert len(slack.inbox.received) == 1
    assert slack.inbox.received[0].key.workspace == ME.team


async def test_a_direct_message_without_its_channels_kind_is_recognized(slack: Slack) -> None:
    """This holds even while conversations.info fails."""
    body = PAYLOADS["direct_message"]
    event = {name: one for name, one in body["event"].items() if name != "channel_type"}
    await slack.deliver({**body, "event": event})
    assert [one.address.value for one in slack.inbox.received] == ["direct"]


def test_mutated_content_never_hides_the_question() -> None:
    """A malformed table, embed or file affects nothing else."""
    tried = 0
    base = PAYLOADS["direct_message"]
    for name, case in SHOWN.items():
        for mutation in mutations(case["message"]):
            if not isinstance(mutation.payload, dict) or mutation.path == ("text",):
                continue
            message = base["event"] | {"text": "and this?"} | mutation.payload
            message |= {"text": "and this?"}
            incoming = read_event({**base, "event": message}, ME, {})
            assert incoming is not None, (name, mutation.path, mutation.how)
            assert incoming.text.startswith("and this?"), (name, mutation.path, mutation.how)
            tried += 1
    print(f"{tried} mutations of {len(SHOWN)} messages")


def test_a_malformed_message_in_a_page_of_history_affects_no_other() -> None:
    """Reading the page and planning with it raise nothing."""
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
            read_event({"event": event}, ME, {})
        unread_threads(found, 0, [5])
        if found:
            next_page_pays(found, 0, [5])
        tried += 1
    assert tried > 200
    channel = {"id": "C1", "created": 1, "is_im": False, "is_private": True}
    for mutation in mutations(channel):
        if isinstance(mutation.payload, dict) and mutation.payload.get("id") == "C1":
            plans = plan_channels([mutation.payload], [], 0.0)
            assert [plan.id for plan in plans] == ["C1"]


async def test_a_delivery_that_always_fails_is_acknowledged_on_the_second_attempt(
    slack: Slack,
) -> None:
    """An unforeseen error gets one redelivery."""

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
    assert "hello" not in repr([entry["types"] for entry in failures])
