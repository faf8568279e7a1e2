"""Slack over HTTP: signed requests to the adapter's ASGI app in a real server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from adapters.slack.adapter import SlackAdapter
from bot.common.clock import SystemClock
from bot.domain.errors import CannotStart
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.sims.slack.delivery import signature_headers
from tests.support.catalog import offering
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_kit import until


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


@pytest.fixture
def adapter(sim: SlackSim) -> SlackAdapter:
    return SlackAdapter(
        bot_token=ids.BOT_TOKEN,
        signing_secret=ids.SIGNING_SECRET,
        api_url=sim.api_url,
        clock=SystemClock(),
        models=offering(),
    )


@pytest.fixture
async def url(adapter: SlackAdapter) -> AsyncIterator[str]:
    """The Request URL; the adapter is not running yet."""
    async with serve_http(adapter) as url:
        yield url


@contextlib.asynccontextmanager
async def serve_http(adapter: SlackAdapter) -> AsyncIterator[str]:
    routes = [Route(path, app) for path, app in adapter.http_apps.items()]
    config = uvicorn.Config(
        Starlette(routes=routes), host="127.0.0.1", port=0, log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started, task)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/slack/events"
    server.should_exit = True
    await task


@contextlib.asynccontextmanager
async def serving(adapter: SlackAdapter, inbox: FakeInbox) -> AsyncIterator[None]:
    task = asyncio.create_task(adapter.run(inbox))
    try:
        await until(lambda: inbox.connections, task)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def post(url: str, body: str | bytes, headers: dict[str, str]) -> int:
    form = headers | {"Content-Type": "application/json"}
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=form) as answer:
        await answer.read()
        return answer.status


async def test_files_over_http(
    sim: SlackSim, adapter: SlackAdapter, inbox: FakeInbox, url: str
) -> None:
    """The two requests for one mention are served concurrently, and become one message."""
    file = ("a.txt", "text/plain", b"some text")
    async with serving(adapter, inbox):
        assert await sim.set_http(url)
        for first in (True, False):
            await sim.mentions(first=first)
            await sim.say(ids.ALICE, ids.GENERAL, "see", mention=True, files=[file])
        await sim.subscribe(["app_mention"])
        await sim.say(ids.ALICE, ids.GENERAL, "see", mention=True, files=[file])
        await until(lambda: len(inbox.received) == 3)
        for incoming in inbox.received:
            (found,) = incoming.attachments
            assert found.name == "a.txt"
            download = await adapter.download(incoming.key, found.locator, limit=100)
            assert download.data == b"some text"


class LateClock(SystemClock):
    """A clock that a test can advance."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


@pytest.mark.parametrize("attempt", [1, 2, 3])
async def test_late_retries_show_an_outage_whose_events_are_read(
    sim: SlackSim, inbox: FakeInbox, attempt: int
) -> None:
    """Over HTTP, the bot does not notice otherwise that a proxy in front of it was down."""
    clock = LateClock()
    adapter = SlackAdapter(
        bot_token=ids.BOT_TOKEN,
        signing_secret=ids.SIGNING_SECRET,
        api_url=sim.api_url,
        clock=clock,
        models=offering(),
    )
    async with serve_http(adapter) as url, serving(adapter, inbox):
        assert await sim.set_http(url)
        await until(lambda: (ids.TEAM, "") in inbox.marks)
        await sim.subscribe([])
        given_up = await sim.say(ids.ALICE, ids.GENERAL, "given up", mention=True)
        await sim.subscribe(None)
        clock.ahead += 3_600.0
        event = {"type": "message", "channel": ids.DM_ALICE, "user": ids.ALICE, "text": "last"}
        event |= {"ts": given_up, "channel_type": "im"}
        body = json.dumps({"type": "event_callback", "event": event})
        retry = {"X-Slack-Retry-Num": str(attempt), "X-Slack-Retry-Reason": "connection_failed"}
        assert await post(url, body, signature_headers(ids.SIGNING_SECRET, body) | retry) == 200
        assert inbox.find("last")
        if attempt > 1:
            await until(lambda: inbox.find("given up"))


async def test_events_commands_and_buttons_share_one_path(
    sim: SlackSim, adapter: SlackAdapter, inbox: FakeInbox, url: str
) -> None:
    async with serving(adapter, inbox):
        assert await sim.set_http(url)
        await sim.say(ids.ALICE, ids.GENERAL, "hello", mention=True)
        await until(lambda: len(inbox.receipts) == 2)
        assert (await sim.slash(ids.ALICE, ids.GENERAL, "/help"))["acked"]
        ts = inbox.received[0].message_id
        shortcut = await sim.shortcut(
            ids.ALICE, "threadline_reset", channel=ids.GENERAL, message_ts=ts
        )
        assert shortcut["acked"]
    assert [command.name for command in inbox.commands] == ["help", "reset"]
    assert all(one["acked"] for one in await sim.deliveries())


async def test_an_event_that_could_not_be_stored_is_redelivered(
    sim: SlackSim, adapter: SlackAdapter, inbox: FakeInbox, url: str
) -> None:
    await sim.delivery(retry_scale=0.001)
    inbox.failures = 1
    async with serving(adapter, inbox):
        await sim.set_http(url)
        await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await until(lambda: inbox.received)

        async def all_delivered() -> bool:
            return (await sim.state())["pending"] == 0

        await sim.until(all_delivered)
    events = [one for one in await sim.deliveries() if one["event"] == "message"]
    assert [(one["attempt"], bool(one["acked"])) for one in events] == [(0, False), (1, True)]


async def test_requests_that_slack_did_not_sign_are_refused(
    sim: SlackSim, adapter: SlackAdapter, inbox: FakeInbox, url: str
) -> None:
    """A wrong secret, an old timestamp, a different body, no signature."""
    event = {"type": "message", "channel_type": "im", "user": ids.ALICE, "text": "hi"}
    body = json.dumps(
        {"type": "event_callback", "event": event | {"channel": ids.DM_ALICE, "ts": "1.000001"}}
    )
    async with serving(adapter, inbox):
        forged: list[dict[str, str]] = [
            signature_headers("wrong", body),
            signature_headers(ids.SIGNING_SECRET, body, at=1_600_000_000),
            signature_headers(ids.SIGNING_SECRET, body + " "),
            {},
        ]
        assert [await post(url, body, headers) for headers in forged] == [401] * 4
        assert inbox.receipts == []
        assert await post(url, body, signature_headers(ids.SIGNING_SECRET, body)) == 200
        assert len(inbox.receipts) == 1


async def test_malformed_requests_are_answered_and_affect_nothing_else(
    adapter: SlackAdapter, inbox: FakeInbox, url: str
) -> None:
    """Unsigned requests are not parsed, and long ones are not read to their end."""
    async with serving(adapter, inbox), aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            assert answer.status == 405
        for body in (b"", b"{not json", b"\xff\xfe", b"[" * 100_000):
            assert await post(url, body, {"X-Slack-Request-Timestamp": "soon"}) == 401
        async with http.post(url, data=io.BytesIO(b"x" * 1_100_000)) as answer:
            assert answer.status == 413


async def test_before_the_bot_runs_slack_has_to_retry(
    sim: SlackSim, adapter: SlackAdapter, inbox: FakeInbox, url: str
) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "abc"})
    assert await post(url, body, signature_headers(ids.SIGNING_SECRET, body)) == 503
    assert not adapter.health().ok
    async with serving(adapter, inbox):
        assert await post(url, body, signature_headers(ids.SIGNING_SECRET, body)) == 200
        assert adapter.health().ok
    assert not adapter.health().ok


async def test_unknown_payloads_are_acknowledged(
    adapter: SlackAdapter, inbox: FakeInbox, url: str
) -> None:
    """Slack would resend them, or show an error to the person who clicked."""
    payloads: list[dict[str, Any]] = [
        {"type": "app_rate_limited", "team_id": ids.TEAM, "minute_rate_limited": 1},
        {"type": "event_callback", "event": {"type": "something_new"}},
        {"type": "view_closed", "view": {}},
        {"type": "shortcut", "callback_id": "other", "user": {"id": ids.ALICE}},
        {"type": "block_actions", "actions": [{"action_id": "other", "block_id": "b"}]},
    ]
    async with serving(adapter, inbox):
        for payload in payloads:
            body = json.dumps(payload)
            assert await post(url, body, signature_headers(ids.SIGNING_SECRET, body)) == 200, (
                payload
            )
    assert inbox.commands == []


async def test_a_command_whose_text_contains_payload_is_answered(
    sim: SlackSim, adapter: SlackAdapter, inbox: FakeInbox, url: str
) -> None:
    """Slack sends button presses as a form with a field of that name, but this is a command."""
    async with serving(adapter, inbox):
        assert await sim.set_http(url)
        result = await sim.slash(ids.ALICE, ids.GENERAL, "/help", "with my payload")
    assert result["acked"]
    assert [command.argument for command in inbox.commands] == ["with my payload"]


async def test_without_a_signing_secret_nothing_is_served() -> None:
    """Anyone could sign with an empty secret."""
    adapter = SlackAdapter(bot_token=ids.BOT_TOKEN, clock=SystemClock(), models=offering())
    with pytest.raises(CannotStart, match="SLACK_SIGNING_SECRET"):
        await adapter.run(FakeInbox())


async def test_malformed_signature_headers_are_unauthorized(
    adapter: SlackAdapter, inbox: FakeInbox, url: str
) -> None:
    """A signature or timestamp that is not ASCII, empty, huge or no number: 401, never 500."""
    body = json.dumps({"type": "url_verification", "challenge": "abc"})
    good = signature_headers(ids.SIGNING_SECRET, body)
    odd = ("v0=ünsigniert", "\u00e9" * 64, "", "v0=", "٣", "1" * 5_000, "-1", "1e9", "nan", "0x10")
    async with serving(adapter, inbox):
        for name in good:
            for value in odd:
                assert await post(url, body, good | {name: value}) == 401, (name, value)
        assert await post(url, body, good) == 200


async def test_signed_bodies_without_a_payload_are_answered(
    adapter: SlackAdapter, inbox: FakeInbox, url: str
) -> None:
    """Malformed JSON gets a 400; other JSON is acknowledged, or Slack would resend it."""
    malformed = ("{", "{nonsense", "payload=", "payload=nonsense", "payload=%7Bx")
    useless = ("", "[]", "null", "7", "[" * 50_000, '"text"', "a=b", "payload=null", "%ff=%fe")
    async with serving(adapter, inbox):
        for body in malformed:
            assert await post(url, body, signature_headers(ids.SIGNING_SECRET, body)) == 400, body[
                :40
            ]
        for body in useless:
            assert await post(url, body, signature_headers(ids.SIGNING_SECRET, body)) in (
                200,
                400,
            ), body[:40]


async def test_payloads_without_their_fields_do_not_raise(
    adapter: SlackAdapter, inbox: FakeInbox, url: str
) -> None:
    """Each gets a response, and the next event is received."""
    whole: dict[str, Any] = {
        "type": "event_callback",
        "event_id": "Ev1",
        "team_id": ids.TEAM,
        "event": {"type": "app_home_opened", "tab": "home", "user": ids.ALICE},
        "authorizations": [{"team_id": ids.TEAM}],
    }
    odd = [{key: value for key, value in whole.items() if key != gone} for gone in whole]
    odd += [whole | {key: value} for key in whole for value in (None, 7, "x", [], {}, [None])]
    event = {"type": "message", "channel_type": "im", "user": ids.ALICE, "text": "hi"}
    said = json.dumps(
        whole | {"event": event | {"channel": ids.DM_ALICE, "ts": "1700000000.000001"}}
    )
    async with serving(adapter, inbox):
        for payload in odd:
            body = json.dumps(payload)
            assert await post(url, body, signature_headers(ids.SIGNING_SECRET, body)) in (
                200,
                400,
                404,
                500,
            )
        assert await post(url, said, signature_headers(ids.SIGNING_SECRET, said)) == 200
        await until(lambda: len(inbox.received) == 1)


async def test_a_body_with_a_large_content_length_is_not_read(
    adapter: SlackAdapter, inbox: FakeInbox, url: str
) -> None:
    async with (
        serving(adapter, inbox),
        aiohttp.ClientSession() as http,
        http.post(url, data=b"x" * 1_000_001) as answer,
    ):
        assert answer.status == 413
