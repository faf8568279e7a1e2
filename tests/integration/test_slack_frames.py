"""Malformed Socket Mode frames: at most one frame is lost, and the bot keeps listening."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.slack import socket
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_isolation import JumpClock
from tests.support.slack_kit import running, socket_adapter, until

PAYLOADS: tuple[Any, ...] = (None, [], "text", 7, {}, {"type": None}, {"event": None})
TYPES: tuple[Any, ...] = ("events_api", "interactive", "slash_commands", "brand_new", "", None, 7)


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


def frames() -> list[str]:
    """Envelopes with each field missing, null or of another type, and other frames."""
    whole: dict[str, Any] = {"type": "events_api", "envelope_id": "e1", "payload": {"a": 1}}
    odd = [{key: value for key, value in whole.items() if key != gone} for gone in whole]
    odd += [whole | {key: value} for key in whole for value in (None, 7, [], {})]
    odd += [whole | {"type": kind, "payload": payload} for kind in TYPES for payload in PAYLOADS]
    odd += [whole | {"retry_attempt": value, "retry_reason": value} for value in (None, "x", [{}])]
    plain = ["", "{", "{}", "[]", "null", "7", '"text"', "{nonsense", "[" * 50_000, "\u2028"]
    return plain + [json.dumps(one) for one in odd]


async def test_malformed_frames_affect_nothing_else(sim: SlackSim) -> None:
    """There is no traceback, the connection stays open, and the next message arrives."""
    inbox = FakeInbox()
    with capture_logs() as lines:
        async with running(sim, inbox):
            for frame in frames():
                assert await sim.frame(frame) == 1
            await sim.frame("bytes", binary=True)
            await sim.say(ids.ALICE, ids.DM_ALICE, "still there?")
            await until(lambda: inbox.received)
            assert inbox.connections == 1
    assert [line for line in lines if line.get("exc_info")] == []


async def test_a_malformed_envelope_is_acknowledged(sim: SlackSim) -> None:
    """Slack would resend it three times."""
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.frame(json.dumps({"type": "events_api", "envelope_id": "odd", "payload": []}))

        async def is_acknowledged() -> bool:
            answers = (await sim.state())["unknown_acks"]
            return any(json.loads(one).get("envelope_id") == "odd" for one in answers)

        await sim.until(is_acknowledged)


@pytest.mark.parametrize("reason", ["brand_new_reason", "link_disabled", None, 7])
async def test_any_disconnect_leads_to_a_new_connection(sim: SlackSim, reason: Any) -> None:
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.frame(json.dumps({"type": "disconnect", "reason": reason}))
        await until(lambda: inbox.connections == 2)
        await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await until(lambda: inbox.received)


async def test_a_connection_lost_within_a_frame_is_replaced(sim: SlackSim) -> None:
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.frame('{"type": "events_', cut=True)
        await until(lambda: inbox.connections == 2)
        await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await until(lambda: inbox.received)


@pytest.mark.parametrize("hello", ["", "{}", '{"type": "hello", "num_connections": "x"}', "hi"])
async def test_events_are_served_without_a_valid_hello(
    sim: SlackSim, hello: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inbox hears of each connection exactly once."""
    monkeypatch.setattr(socket, "HELLO_SECONDS", 0.0)
    await sim.links(hello=hello)
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await until(lambda: inbox.received)
        assert inbox.connections == 1


async def test_an_address_that_does_not_answer_is_replaced(sim: SlackSim) -> None:
    """The next address, from another apps.connections.open, works."""
    await sim.links(stalls=True)
    inbox, clock = FakeInbox(), JumpClock()
    adapter = socket_adapter(sim, clock=clock, request_seconds=0.3)
    async with running(sim, inbox, adapter=adapter, waits=False):

        async def enough_attempts() -> bool:
            return bool(await sim.requests("/link/"))

        await sim.until(enough_attempts)
        assert not adapter.health().ok
        await sim.links(stalls=False)
        await until(lambda: inbox.connections)
        assert adapter.health().ok


async def test_a_refused_app_token_is_retried_once_a_minute(sim: SlackSim) -> None:
    """The bot keeps running, and health shows the problem."""
    inbox, clock = FakeInbox(), JumpClock()
    async with running(sim, inbox, clock=clock) as adapter:
        refusal = {"ok": False, "error": "not_allowed_token_type"}
        asked = len(await sim.requests("connections.open"))
        await sim.call("fault", match="connections.open", times=1_000, status=200, body=refusal)
        await sim.drop()
        await until(lambda: not adapter.health().ok)

        async def is_shown() -> bool:
            clock.jump(1.0)
            return "SLACK_APP_TOKEN" in adapter.health().details.get("trouble", "")

        await sim.until(is_shown, pause=0.02)
        assert len(await sim.requests("connections.open")) - asked <= 4
        await sim.call("clear")
        clock.jump(61.0)
        await until(lambda: adapter.health().ok)


async def test_a_revoked_token_is_logged_once_and_causes_few_requests(sim: SlackSim) -> None:
    """Requests fail without being sent until the token works again, which the bot notices."""
    inbox, clock = FakeInbox(), JumpClock()
    with capture_logs() as lines:
        async with running(sim, inbox, clock=clock) as adapter:
            refusal = {"ok": False, "error": "token_revoked"}
            await sim.call("fault", match="/api/", times=10_000, status=200, body=refusal)
            before = len(await sim.requests("/api/"))
            for number in range(20):
                await sim.say(ids.ALICE, ids.DM_ALICE, f"<@{ids.BOB}> {number}", raw=True)
            await until(lambda: len(inbox.received) == 20)
            await until(lambda: not adapter.health().ok)
            assert "token_revoked" in adapter.health().details["trouble"]
            assert len(await sim.requests("/api/")) - before <= 8
            await sim.call("clear")
            clock.jump(3_700.0)
            await sim.say(ids.ALICE, ids.DM_ALICE, "again")
            await until(lambda: adapter.health().ok)
    said = [line for line in lines if "refuses the bot token" in line["event"]]
    assert len(said) == 1
