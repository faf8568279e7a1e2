"""Socket Mode when Slack's frames are odd: one frame is lost at most, and the bot listens on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.slack import socket
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.slack_isolation import JumpClock
from tests.support.slack_kit import FakeInbox, running, socket_adapter, until

PAYLOADS: tuple[Any, ...] = (None, [], "text", 7, {}, {"type": None}, {"event": None})
TYPES: tuple[Any, ...] = ("events_api", "interactive", "slash_commands", "brand_new", "", None, 7)


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


def frames() -> list[str]:
    """Envelopes with every field missing, null or of another type, and what is no envelope."""
    whole: dict[str, Any] = {"type": "events_api", "envelope_id": "e1", "payload": {"a": 1}}
    odd = [{key: value for key, value in whole.items() if key != gone} for gone in whole]
    odd += [whole | {key: value} for key in whole for value in (None, 7, [], {})]
    odd += [whole | {"type": kind, "payload": payload} for kind in TYPES for payload in PAYLOADS]
    odd += [whole | {"retry_attempt": value, "retry_reason": value} for value in (None, "x", [{}])]
    plain = ["", "{", "{}", "[]", "null", "7", '"text"', "{nonsense", "[" * 50_000, "\u2028"]
    return plain + [json.dumps(one) for one in odd]


async def test_odd_frames_harm_nothing(sim: SlackSim) -> None:
    """No traceback, the connection stays, and the next message arrives."""
    inbox = FakeInbox()
    with capture_logs() as lines:
        async with running(sim, inbox):
            for frame in frames():
                assert await sim.frame(frame) == 1
            await sim.frame("bytes", binary=True)
            await sim.say(ids.ALICE, ids.DM_ALICE, "still there?")
            await until(lambda: inbox.received)
            assert len(inbox.connections) == 1
    assert [line for line in lines if line.get("exc_info")] == []


async def test_an_envelope_that_cannot_be_used_is_acknowledged(sim: SlackSim) -> None:
    """Slack would send it again, three times."""
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.frame(json.dumps({"type": "events_api", "envelope_id": "odd", "payload": []}))

        async def acknowledged() -> bool:
            answers = (await sim.state())["unknown_acks"]
            return any(json.loads(one).get("envelope_id") == "odd" for one in answers)

        await sim.until(acknowledged)


@pytest.mark.parametrize("reason", ["brand_new_reason", "link_disabled", None, 7])
async def test_a_disconnect_for_whatever_reason_leads_to_a_new_connection(
    sim: SlackSim, reason: Any
) -> None:
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.frame(json.dumps({"type": "disconnect", "reason": reason}))
        await until(lambda: len(inbox.connections) == 2)
        await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await until(lambda: inbox.received)


async def test_a_connection_that_ends_within_a_frame_is_made_again(sim: SlackSim) -> None:
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.frame('{"type": "events_', cut=True)
        await until(lambda: len(inbox.connections) == 2, seconds=20)
        await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await until(lambda: inbox.received)


@pytest.mark.parametrize("hello", ["", "{}", '{"type": "hello", "num_connections": "x"}', "hi"])
async def test_events_count_without_a_proper_hello(
    sim: SlackSim, hello: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core is told that events arrive, once for a connection."""
    monkeypatch.setattr(socket, "HELLO_SECONDS", 0.0)
    await sim.links(hello=hello)
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await until(lambda: inbox.received)
        assert len(inbox.connections) == 1


async def test_an_address_that_never_accepts_is_given_up(sim: SlackSim) -> None:
    """The next one, from another apps.connections.open, does."""
    await sim.links(stalls=True)
    inbox, clock = FakeInbox(), JumpClock()
    adapter = socket_adapter(sim, clock=clock, request_seconds=0.3)
    async with running(sim, inbox, adapter=adapter, waits=False):

        async def tried() -> bool:
            return bool(await sim.requests("/link/"))

        await sim.until(tried)
        assert not adapter.health().ok
        await sim.links(stalls=False)
        await until(lambda: inbox.connections, seconds=20)
        assert adapter.health().ok


async def test_slack_is_not_asked_for_addresses_again_and_again(sim: SlackSim) -> None:
    """A refused app-level token in mid-life: a sentence in health, and a question a minute."""
    inbox, clock = FakeInbox(), JumpClock()
    async with running(sim, inbox, clock=clock) as adapter:
        refusal = {"ok": False, "error": "not_allowed_token_type"}
        asked = len(await sim.requests("connections.open"))
        await sim.call("fault", match="connections.open", times=1_000, status=200, body=refusal)
        await sim.drop()
        await until(lambda: not adapter.health().ok, seconds=20)

        async def told() -> bool:
            clock.jump(1.0)
            return "SLACK_APP_TOKEN" in adapter.health().details.get("trouble", "")

        await sim.until(told)
        assert len(await sim.requests("connections.open")) - asked <= 4
        await sim.call("clear")
        clock.jump(61.0)
        await until(lambda: adapter.health().ok, seconds=20)


async def test_a_token_that_is_revoked_ends_in_one_sentence_and_no_storm(sim: SlackSim) -> None:
    """Whatever is asked meanwhile; and it is noticed when the token works again."""
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
