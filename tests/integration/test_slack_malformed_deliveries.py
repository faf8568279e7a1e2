"""Malformed deliveries through the real Bolt, with one running adapter per mode.

Tries a sample of the mutations of tests/unit/test_slack_mutations.py, over a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from adapters.slack.adapter import SlackAdapter
from bot.common.clock import SystemClock
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.sims.slack.delivery import signature_headers
from tests.support.catalog import offering
from tests.support.fake_inbox import FakeInbox
from tests.support.mutations import mutations
from tests.support.slack_kit import running, until

FIXTURES = Path(__file__).parents[1] / "fixtures" / "slack"
EVERY = 61  # one in this many mutations is tried
EVENTS = ("messages", "no_messages", "other_events")


def changed(file: str) -> list[Any]:
    payloads = json.loads((FIXTURES / f"{file}.json").read_text())
    found = [m.payload for one in payloads.values() for m in mutations(one)]
    return found[::EVERY]


@contextlib.asynccontextmanager
async def connect_http(sim: SlackSim, inbox: FakeInbox) -> AsyncIterator[tuple[SlackAdapter, str]]:
    adapter = SlackAdapter(
        bot_token=ids.BOT_TOKEN,
        signing_secret=ids.SIGNING_SECRET,
        api_url=sim.api_url,
        clock=SystemClock(),
        models=offering(),
    )
    routes = [Route(path, app) for path, app in adapter.http_apps.items()]
    config = uvicorn.Config(
        Starlette(routes=routes), host="127.0.0.1", port=0, log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    tasks = [asyncio.create_task(server.serve()), asyncio.create_task(adapter.run(inbox))]
    try:
        await until(lambda: server.started and inbox.connections, tasks[1])
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/slack/events"
        assert await sim.set_http(url)
        yield adapter, url
    finally:
        server.should_exit = True
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_mutated_deliveries_are_acknowledged_and_the_next_question_is_received(
    mode: str,
) -> None:
    inbox = FakeInbox()
    async with SlackSim() as sim:
        connect = running(sim, inbox) if mode == "socket" else connect_http(sim, inbox)
        async with connect as connected:
            adapter = connected if isinstance(connected, SlackAdapter) else connected[0]
            attempts = []
            for file in EVENTS:
                attempts += await sim.inject("events_api", changed(file))
            interactions = changed("interactions")
            attempts += await sim.inject("interactive", interactions)
            forms = [one for one in interactions if isinstance(one, dict)]
            attempts += await sim.inject("slash_commands", forms)
            print(f"{len(attempts)} changed deliveries over {mode}")
            missing = [one for one in attempts if one["acked"] is None]
            assert missing == []
            said = await sim.say(ids.ALICE, ids.GENERAL, "still there?", mention=True)
            await until(lambda: [one for one in inbox.received if one.message_id == said])
            assert adapter.health().details["connected"] == "yes"


async def test_malformed_envelopes_with_an_id_are_acknowledged() -> None:
    """Slack would resend an envelope that slack_sdk cannot read."""
    inbox = FakeInbox()
    base = json.loads((FIXTURES / "messages.json").read_text())["direct_message"]
    envelope = {"envelope_id": "e", "type": "events_api", "payload": base}
    envelope |= {"accepts_response_payload": False, "retry_attempt": 0, "retry_reason": ""}
    found = [mutation.payload for mutation in mutations(envelope)]
    frames = [one for one in found if not isinstance(one, dict) or "event" not in str(one)]
    frames += found[::20]
    number = 0
    for frame in frames:
        if isinstance(frame, dict) and isinstance(frame.get("envelope_id"), str):
            frame["envelope_id"] = f"e{(number := number + 1)}"
    async with SlackSim() as sim, running(sim, inbox):
        assert await sim.inject_frames(frames) == number
        said = await sim.say(ids.ALICE, ids.GENERAL, "still there?", mention=True)
        await until(lambda: [one for one in inbox.received if one.message_id == said])


async def test_signed_nonsense_is_acknowledged() -> None:
    """Slack would redeliver it; no parser raises."""
    inbox = FakeInbox()
    bodies = [
        "",
        "{not json",
        "[" * 100_000,
        '{"a":' * 100_000,
        "payload={not json",
        "payload=%5B1%5D",
        "payload",
        "[1, 2]",
        "null",
        '"text"',
        '{"type": "event_callback"}',
        '{"type": "event_callback", "event": []}',
        '{"type": "block_actions", "actions": []}',
        '{"type": "url_verification"}',
        '{"command": 7}',
        '{"type": "event_callback", "event": {"type": "message", "text": "\\ud800"}}',
    ]
    async with (
        SlackSim() as sim,
        connect_http(sim, inbox) as (_, url),
        aiohttp.ClientSession() as http,
    ):
        for body in bodies:
            for content_type in ("application/json", "application/x-www-form-urlencoded", ""):
                headers = signature_headers(ids.SIGNING_SECRET, body) | {
                    "Content-Type": content_type
                }
                async with http.post(url, data=body.encode(), headers=headers) as answer:
                    # Invalid JSON is refused; the rest is acknowledged.
                    assert answer.status in (200, 400), (body[:50], content_type)
        said = await sim.say(ids.ALICE, ids.GENERAL, "still there?", mention=True)
        await until(lambda: [one for one in inbox.received if one.message_id == said])
