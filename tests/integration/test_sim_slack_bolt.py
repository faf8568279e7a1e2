"""The real slack-bolt works against the simulated Slack, in both modes, with its own surprises."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.web.async_client import AsyncWebClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.sims.slack import (
    ALICE,
    APP_TOKEN,
    BOT,
    BOT_TOKEN,
    BOT_USER,
    DM_ALICE,
    GENERAL,
    SIGNING_SECRET,
    TEAM,
)
from tests.sims.slack.delivery import signed
from tests.sims.slack.local import LocalSlack

pytestmark = pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning")
Connect = Callable[[AsyncApp], Awaitable[str]]
BUTTON = {
    "type": "button",
    "action_id": "stop",
    "value": "turn-7",
    "text": {"type": "plain_text", "text": "Stop"},
}


@pytest.fixture
async def sim() -> AsyncIterator[LocalSlack]:
    async with LocalSlack() as running:
        await running.delivery(retry_scale=0.001)
        yield running


@contextlib.asynccontextmanager
async def over_socket(sim: LocalSlack, app: AsyncApp) -> AsyncIterator[str]:
    handler = AsyncSocketModeHandler(app, APP_TOKEN, ping_interval=0.2)
    await handler.connect_async()
    await sim.connected()
    try:
        yield ""
    finally:
        await handler.close_async()


@contextlib.asynccontextmanager
async def over_http(sim: LocalSlack, app: AsyncApp) -> AsyncIterator[str]:
    handler = AsyncSlackRequestHandler(app)

    async def events(request: Request) -> Response:
        return await handler.handle(request)

    web = Starlette(routes=[Route("/slack/events", events, methods=["POST"])])
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(web, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/slack/events"
    assert await sim.set_http(url)
    try:
        yield url
    finally:
        server.should_exit = True
        await serving


MODES = {"socket": over_socket, "http": over_http}


@pytest.fixture(params=sorted(MODES))
async def connect(request: pytest.FixtureRequest, sim: LocalSlack) -> AsyncIterator[Connect]:
    """Connects an app in each of the two modes."""
    async with contextlib.AsyncExitStack() as stack:

        async def connected(app: AsyncApp) -> str:
            return await stack.enter_async_context(MODES[request.param](sim, app))

        yield connected


async def constant(**_: Any) -> AuthorizeResult:
    """What an app with one installation knows without asking."""
    return AuthorizeResult(
        enterprise_id=None,
        team_id=TEAM,
        bot_token=BOT_TOKEN,
        bot_id=BOT,
        bot_user_id=BOT_USER,
    )


def bolt(sim: LocalSlack, **changes: Any) -> AsyncApp:
    """An app as the project builds it."""
    options: dict[str, Any] = {
        "client": AsyncWebClient(base_url=sim.api_url),
        "signing_secret": SIGNING_SECRET,
        "authorize": constant,
        "process_before_response": True,
        "ignoring_self_events_enabled": False,
        "logger": logging.getLogger("test"),
    }
    app = AsyncApp(**options | changes)

    @app.event("message")
    async def ignore() -> None:
        """A catch-all: an event without a listener comes again."""

    return app


async def settled(sim: LocalSlack) -> list[dict[str, Any]]:
    """The deliveries, once nothing is to be delivered any more."""

    async def done() -> bool:
        return not (await sim.state())["pending"]

    await sim.until(done)
    return await sim.deliveries()


# ── both modes ────────────────────────────────────────────────────────────────────────────────
async def test_a_mention_is_answered_in_its_thread(sim: LocalSlack, connect: Connect) -> None:
    """Event, acknowledgement, post, update."""
    app = bolt(sim)

    @app.event("app_mention")
    async def answer(event: dict[str, Any], say: Any, client: AsyncWebClient) -> None:
        posted = await say("one moment", thread_ts=event["ts"], unfurl_links=False)
        await client.chat_update(channel=event["channel"], ts=posted["ts"], text="done")

    await connect(app)
    question = await sim.say(ALICE, GENERAL, "help", mention=True)
    deliveries = await settled(sim)
    assert {(d["attempt"], d["acked"] is not None) for d in deliveries} == {(0, True)}
    assert await sim.until(lambda: sim.thread(GENERAL, question))
    reply = (await sim.thread(GENERAL, question))[-1]
    assert [version["text"] for version in reply["versions"]] == ["one moment", "done"]


async def test_a_listener_that_raises_gets_the_event_again(
    sim: LocalSlack, connect: Connect
) -> None:
    """With process_before_response; the same event_id, and Bolt sees the retry's number."""
    app, seen = bolt(sim), []
    await sim.delivery(ack_seconds=0.5)

    @app.event("app_mention")
    async def flaky(body: dict[str, Any], request: Any) -> None:
        seen.append((body["event_id"], request.headers.get("x-slack-retry-num", ["none"])[0]))
        if len(seen) < 3:
            raise RuntimeError("the database is away")

    url = await connect(app)
    await sim.say(ALICE, GENERAL, "help", mention=True)
    await settled(sim)
    first = "none" if url else "0"
    assert [number for _, number in seen] == [first, "1", "2"]
    assert len({event_id for event_id, _ in seen}) == 1
    assert (await sim.state())["lost"] == []


async def test_without_the_flag_it_is_lost(sim: LocalSlack, connect: Connect) -> None:
    """Bolt acknowledges before the listener has run."""
    app, seen = bolt(sim, process_before_response=False), []

    @app.event("app_mention")
    async def flaky(body: dict[str, Any]) -> None:
        seen.append(body["event_id"])
        raise RuntimeError("too late")

    await connect(app)
    await sim.say(ALICE, GENERAL, "help", mention=True)
    await settled(sim)
    assert len(seen) == 1


async def test_an_event_without_a_listener_comes_again(sim: LocalSlack, connect: Connect) -> None:
    """Bolt answers 404 (or, in Socket Mode, nothing) four times."""
    app = bolt(sim)
    await sim.delivery(ack_seconds=0.05)
    await connect(app)
    await sim.open_home(ALICE)
    opened = [d for d in await settled(sim) if d["event"] == "app_home_opened"]
    assert [d["attempt"] for d in opened] == [0, 1, 2, 3]
    assert [p["event"]["type"] for p in (await sim.state())["lost"]] == ["app_home_opened"]


async def test_a_failed_auth_test_loses_the_event(sim: LocalSlack, connect: Connect) -> None:
    """Bolt's own authorization answers 200; hence the constant one."""
    client = AsyncWebClient(BOT_TOKEN, base_url=sim.api_url)
    app, seen = bolt(sim, client=client, authorize=None), []

    @app.event("app_mention")
    async def answer(body: dict[str, Any]) -> None:
        seen.append(body)

    await sim.call("fault", match="auth.test", status=200, body={"ok": False, "error": "fatal"})
    await connect(app)
    await sim.subscribe(["app_mention"])
    await sim.say(ALICE, GENERAL, "help", mention=True)
    assert [d["acked"] is not None for d in await settled(sim) if d["event"]][-1:] == [True]
    assert seen == []
    await sim.say(ALICE, GENERAL, "again", mention=True)
    await settled(sim)
    assert len(seen) == 1


@pytest.mark.parametrize("filtered", [True, False])
async def test_the_self_filter_hides_a_persons_deletion(sim: LocalSlack, filtered: bool) -> None:
    """Of the bot's message: it names the bot's user only, so the filter takes it for an echo."""
    app, seen = bolt(sim, ignoring_self_events_enabled=filtered), []

    @app.middleware
    async def note(body: dict[str, Any], next_: Any) -> None:
        seen.append(body["event"].get("subtype", ""))
        await next_()

    async with over_socket(sim, app):
        posted = await sim.api("chat.postMessage", channel=GENERAL, text="mine")
        await sim.delete(GENERAL, posted.body["ts"])
        await settled(sim)
    assert sorted(seen) == ([] if filtered else ["", "message_deleted"])


async def test_a_slash_command_is_answered(sim: LocalSlack, connect: Connect) -> None:
    """In the acknowledgement and at the response_url; never inside a thread."""
    app = bolt(sim)

    @app.command("/reset")
    async def reset(ack: Any, respond: Any, command: dict[str, Any]) -> None:
        await ack(f"Which one, {command['user_name']}?")
        await respond("Later: " + command["text"])

    await connect(app)
    result = await sim.slash(ALICE, GENERAL, "/reset", "now")
    assert result["acked"]
    answers = await sim.answers(result["answers"])
    assert {(a["via"], a["text"]) for a in answers} == {
        ("ack", "Which one, alice?"),
        ("response_url", "Later: now"),
    }
    assert len(await sim.ephemeral(ALICE)) == 2
    with pytest.raises(AssertionError, match="not supported in threads"):
        await sim.slash(ALICE, GENERAL, "/reset", thread_ts="1700000000.000001")


async def test_a_shortcut_opens_a_modal(sim: LocalSlack, connect: Connect) -> None:
    """The trigger opens one view; its submission is answered with errors, then taken."""
    app = bolt(sim)
    title = {"type": "plain_text", "text": "Reset"}
    view = {"type": "modal", "callback_id": "sure", "title": title, "blocks": []}

    @app.shortcut("reset")
    async def open_it(ack: Any, shortcut: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=shortcut["trigger_id"], view=view)

    @app.view("sure")
    async def submitted(ack: Any, view: dict[str, Any]) -> None:
        if view["state"]["values"]:
            await ack()
        else:
            await ack(response_action="errors", errors={"why": "needed"})

    await connect(app)
    ts = await sim.say(ALICE, GENERAL, "x")
    assert (await sim.shortcut(ALICE, "reset", channel=GENERAL, message_ts=ts))["acked"]
    opened = next(iter((await sim.state())["views"]))
    refused = await sim.view_submit(ALICE, opened, {})
    assert refused["payload"]["response_action"] == "errors"
    assert (await sim.view_submit(ALICE, opened, {"why": {}}))["payload"] is None
    assert (await sim.state())["views"] == {}


async def test_a_button_is_clicked(sim: LocalSlack, connect: Connect) -> None:
    """On a reply in a thread; the app replaces its message by the response_url."""
    app, clicks = bolt(sim), []

    @app.action("stop")
    async def stop(ack: Any, body: dict[str, Any], respond: Any) -> None:
        await ack()
        clicks.append((body["actions"][0]["value"], body["container"]["thread_ts"]))
        await respond(text="Stopped.", replace_original=True)

    await connect(app)
    root = await sim.say(ALICE, GENERAL, "x")
    blocks = [{"type": "actions", "elements": [BUTTON]}]
    args = {"channel": GENERAL, "text": "writing", "thread_ts": root, "blocks": blocks}
    ts = (await sim.api("chat.postMessage", **args)).body["ts"]
    assert (await sim.click(ALICE, GENERAL, ts, "stop"))["acked"]
    assert clicks == [("turn-7", root)]
    assert (await sim.thread(GENERAL, root))[-1]["shown"] == "Stopped."
    with pytest.raises(AssertionError, match="shows no stop"):
        await sim.click(ALICE, GENERAL, ts, "stop")


async def test_interactions_are_not_delivered_twice(sim: LocalSlack, connect: Connect) -> None:
    """One that nobody takes fails, and that is all."""
    await sim.delivery(ack_seconds=0.1)
    await connect(bolt(sim))
    result = await sim.slash(ALICE, GENERAL, "/unknown")
    assert not result["acked"]
    assert [d["kind"] for d in await settled(sim)].count("slash_commands") == 1


async def test_a_native_stream(sim: LocalSlack, connect: Connect) -> None:
    """From a listener, with the client that Bolt gives it."""
    app = bolt(sim)

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
    await settled(sim)
    reply = (await sim.thread(GENERAL, question))[-1]
    assert [v["shown"] for v in reply["versions"]] == ["some ", "some words", "some words"]
    assert reply["streaming_state"] == "completed"


async def test_a_response_url_takes_five_answers(sim: LocalSlack) -> None:
    """The sixth is refused, as are empty ones and other addresses."""
    async with sim.socket() as raw:
        using = asyncio.create_task(sim.slash(ALICE, GENERAL, "/reset"))
        envelope = await raw.next()
        await raw.ack(envelope)
        await using
    url = envelope["payload"]["response_url"]
    assert (await sim.put(url, {}))[0] == 400
    answers = [await sim.put(url, {"text": str(number)}) for number in range(6)]
    assert [status for status, _ in answers] == [200, 200, 200, 200, 200, 404]
    assert (await sim.put(sim.url + "/respond/other", {"text": "x"}))[0] == 404


# ── one mode ──────────────────────────────────────────────────────────────────────────────────
async def test_a_refresh_reconnects_the_real_client(sim: LocalSlack) -> None:
    """After `refresh_requested` it opens a new connection, and events arrive there."""
    app, seen = bolt(sim), []

    @app.event("app_mention")
    async def note(event: dict[str, Any]) -> None:
        seen.append(event["text"])

    async with over_socket(sim, app):
        await sim.disconnect("refresh_requested")

        async def moved() -> bool:
            links = (await sim.state())["connections"]
            return [link["number"] for link in links] == [2]

        await sim.until(moved)
        await sim.say(ALICE, GENERAL, "still there?", mention=True)
        await settled(sim)
    assert len(seen) == 1


async def test_the_real_client_comes_back_after_a_cut(sim: LocalSlack) -> None:
    """It notices by its own pings."""
    async with over_socket(sim, bolt(sim)):
        await sim.offline()
        await sim.online()

        async def back() -> bool:
            state = await sim.state()
            return bool(state["connections"]) and state["connections_opened"] > 1

        await sim.until(back)


async def test_http_requests_are_signed(sim: LocalSlack) -> None:
    """Bolt refuses a wrong secret and an old timestamp, and takes the right ones."""
    app = bolt(sim)
    async with over_http(sim, app) as url:
        assert not await sim.set_http(url, signing_secret="f" * 32)
        assert await sim.set_http(url)
    old = signed(SIGNING_SECRET, "{}", int(time.time()) - 600)
    fresh = signed(SIGNING_SECRET, "{}")
    for headers, status in ((old, 401), (fresh, 404)):
        request = AsyncBoltRequest(body="{}", headers=headers)
        assert (await app.async_dispatch(request)).status == status


async def test_direct_messages_and_edits_reach_the_catch_all(sim: LocalSlack) -> None:
    """message events of every subtype."""
    app, seen = bolt(sim), []

    @app.middleware
    async def note(body: dict[str, Any], next_: Any) -> None:
        seen.append(body["event"].get("subtype", ""))
        await next_()

    async with over_socket(sim, app):
        ts = await sim.say(ALICE, DM_ALICE, "one")
        await sim.edit(DM_ALICE, ts, "two")
        await sim.delete(DM_ALICE, ts)
        await settled(sim)
    assert sorted(seen) == ["", "message_changed", "message_deleted"]
