"""The real slack-bolt works against the simulated Slack, in both modes."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.web.async_client import AsyncWebClient

from tests.sims.slack import (
    ALICE,
    BOT_TOKEN,
    DM_ALICE,
    GENERAL,
    SIGNING_SECRET,
)
from tests.sims.slack.bolt_app import (
    MODES,
    Connect,
    connect_http,
    connect_socket,
    connector,
    create_app,
    wait_until_delivered,
)
from tests.sims.slack.delivery import signature_headers
from tests.sims.slack.local import LocalSlack


@pytest.fixture
async def sim() -> AsyncIterator[LocalSlack]:
    async with LocalSlack() as running:
        await running.delivery(retry_scale=0.001)
        yield running


@pytest.fixture(params=sorted(MODES))
async def connect(request: pytest.FixtureRequest, sim: LocalSlack) -> AsyncIterator[Connect]:
    """Connects an app, in each of the two modes."""
    async with connector(sim, request.param) as connected:
        yield connected


# ── both modes ────────────────────────────────────────────────────────────────────────────────
async def test_a_mention_is_answered_in_its_thread(sim: LocalSlack, connect: Connect) -> None:
    """Covers an event, an acknowledgement, a post and an update."""
    app = create_app(sim)

    @app.event("app_mention")
    async def answer(event: dict[str, Any], say: Any, client: AsyncWebClient) -> None:
        posted = await say("one moment", thread_ts=event["ts"], unfurl_links=False)
        await client.chat_update(channel=event["channel"], ts=posted["ts"], text="done")

    await connect(app)
    question = await sim.say(ALICE, GENERAL, "help", mention=True)
    deliveries = await wait_until_delivered(sim)
    assert {(d["attempt"], d["acked"] is not None) for d in deliveries} == {(0, True)}
    assert await sim.until(lambda: sim.thread(GENERAL, question))
    reply = (await sim.thread(GENERAL, question))[-1]
    assert [version["text"] for version in reply["versions"]] == ["one moment", "done"]


async def test_a_listener_that_raises_gets_the_event_redelivered(
    sim: LocalSlack, connect: Connect
) -> None:
    """process_before_response is on; the event_id is the same, and Bolt sees the retry number."""
    app, seen = create_app(sim), []
    await sim.delivery(ack_seconds=0.5)

    @app.event("app_mention")
    async def flaky(body: dict[str, Any], request: Any) -> None:
        seen.append((body["event_id"], request.headers.get("x-slack-retry-num", ["none"])[0]))
        if len(seen) < 3:
            raise RuntimeError("the database is away")

    url = await connect(app)
    await sim.say(ALICE, GENERAL, "help", mention=True)
    await wait_until_delivered(sim)
    first = "none" if url else "0"
    assert [number for _, number in seen] == [first, "1", "2"]
    assert len({event_id for event_id, _ in seen}) == 1
    assert (await sim.state())["lost"] == []


async def test_without_process_before_response_the_event_is_lost(
    sim: LocalSlack, connect: Connect
) -> None:
    """Bolt acknowledges before the listener runs."""
    app, seen = create_app(sim, process_before_response=False), []

    @app.event("app_mention")
    async def flaky(body: dict[str, Any]) -> None:
        seen.append(body["event_id"])
        raise RuntimeError("too late")

    await connect(app)
    await sim.say(ALICE, GENERAL, "help", mention=True)
    await wait_until_delivered(sim)
    assert len(seen) == 1


async def test_an_event_without_a_listener_is_redelivered(
    sim: LocalSlack, connect: Connect
) -> None:
    """Bolt answers 404, or nothing in Socket Mode, four times."""
    app = create_app(sim)
    await sim.delivery(ack_seconds=0.05)
    await connect(app)
    await sim.open_home(ALICE)
    opened = [d for d in await wait_until_delivered(sim) if d["event"] == "app_home_opened"]
    assert [d["attempt"] for d in opened] == [0, 1, 2, 3]
    assert [p["event"]["type"] for p in (await sim.state())["lost"]] == ["app_home_opened"]


async def test_a_failed_auth_test_loses_the_event(sim: LocalSlack, connect: Connect) -> None:
    """Bolt's own authorization answers 200, so the project's app uses a constant one."""
    client = AsyncWebClient(BOT_TOKEN, base_url=sim.api_url)
    app, seen = create_app(sim, client=client, authorize=None), []

    @app.event("app_mention")
    async def answer(body: dict[str, Any]) -> None:
        seen.append(body)

    await sim.call("fault", match="auth.test", status=200, body={"ok": False, "error": "fatal"})
    await connect(app)
    await sim.subscribe(["app_mention"])
    await sim.say(ALICE, GENERAL, "help", mention=True)
    assert [d["acked"] is not None for d in await wait_until_delivered(sim) if d["event"]][-1:] == [
        True
    ]
    assert seen == []
    await sim.say(ALICE, GENERAL, "again", mention=True)
    await wait_until_delivered(sim)
    assert len(seen) == 1


@pytest.mark.parametrize("filtered", [True, False])
async def test_the_self_filter_hides_a_persons_deletion(sim: LocalSlack, filtered: bool) -> None:
    """The deletion of the bot's message names only the bot's user, like an echo."""
    app, seen = create_app(sim, ignoring_self_events_enabled=filtered), []

    @app.middleware
    async def note(body: dict[str, Any], next_: Any) -> None:
        seen.append(body["event"].get("subtype", ""))
        await next_()

    async with connect_socket(sim, app):
        posted = await sim.api("chat.postMessage", channel=GENERAL, text="mine")
        await sim.delete(GENERAL, posted.body["ts"])
        await wait_until_delivered(sim)
    assert sorted(seen) == ([] if filtered else ["", "message_deleted"])


async def test_a_listener_can_stream_natively(sim: LocalSlack, connect: Connect) -> None:
    """The listener uses the client that Bolt passes to it."""
    app = create_app(sim)

    @app.event("app_mention")
    async def answer(event: dict[str, Any], client: AsyncWebClient) -> None:
        stream = await client.chat_stream(
            channel=event["channel"],
            thread_ts=event["ts"],
            recipient_team_id=event["team"],
            recipient_user_id=event["user"],
            buffer_size=1,
        )
        for word in ("some ", "words"):
            await stream.append(markdown_text=word)
        await stream.stop(metadata={"event_type": "page", "event_payload": {}})

    await connect(app)
    question = await sim.say(ALICE, GENERAL, "help", mention=True)
    await wait_until_delivered(sim)
    reply = (await sim.thread(GENERAL, question))[-1]
    assert [v["shown"] for v in reply["versions"]] == ["some ", "some words", "some words"]
    assert reply["streaming_state"] == "completed"


# ── one mode ──────────────────────────────────────────────────────────────────────────────────
async def test_a_refresh_reconnects_the_real_client(sim: LocalSlack) -> None:
    """After `refresh_requested` it opens a new connection, which receives the events."""
    app, seen = create_app(sim), []

    @app.event("app_mention")
    async def note(event: dict[str, Any]) -> None:
        seen.append(event["text"])

    async with connect_socket(sim, app):
        await sim.disconnect("refresh_requested")

        async def has_moved() -> bool:
            links = (await sim.state())["connections"]
            return [link["number"] for link in links] == [2]

        await sim.until(has_moved)
        await sim.say(ALICE, GENERAL, "still there?", mention=True)
        await wait_until_delivered(sim)
    assert len(seen) == 1


async def test_the_real_client_reconnects_after_an_abort(sim: LocalSlack) -> None:
    """Bolt's pings detect the lost connection."""
    async with connect_socket(sim, create_app(sim)):
        await sim.offline()
        await sim.online()

        async def back() -> bool:
            state = await sim.state()
            return bool(state["connections"]) and state["connections_opened"] > 1

        await sim.until(back)


async def test_http_requests_are_signed(sim: LocalSlack) -> None:
    """Bolt refuses a wrong secret and an old timestamp."""
    app = create_app(sim)
    async with connect_http(sim, app) as url:
        assert not await sim.set_http(url, signing_secret="f" * 32)
        assert await sim.set_http(url)
    old = signature_headers(SIGNING_SECRET, "{}", int(time.time()) - 600)
    fresh = signature_headers(SIGNING_SECRET, "{}")
    for headers, status in ((old, 401), (fresh, 404)):
        request = AsyncBoltRequest(body="{}", headers=headers)
        assert (await app.async_dispatch(request)).status == status


async def test_direct_messages_and_edits_reach_the_catch_all(sim: LocalSlack) -> None:
    """It receives message events of every subtype."""
    app, seen = create_app(sim), []

    @app.middleware
    async def note(body: dict[str, Any], next_: Any) -> None:
        seen.append(body["event"].get("subtype", ""))
        await next_()

    async with connect_socket(sim, app):
        ts = await sim.say(ALICE, DM_ALICE, "one")
        await sim.edit(DM_ALICE, ts, "two")
        await sim.delete(DM_ALICE, ts)
        await wait_until_delivered(sim)
    assert sorted(seen) == ["", "message_changed", "message_deleted"]
