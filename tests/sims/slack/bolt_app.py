"""Runs a real slack-bolt app against the simulated Slack, over Socket Mode or HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.sims.slack.values import Json

Connect = Callable[[AsyncApp], Awaitable[str]]
PING_SECONDS = 0.2  # how often the client checks its connection


@contextlib.asynccontextmanager
async def connect_socket(sim: SlackSim, app: AsyncApp) -> AsyncIterator[str]:
    """Run the app in Socket Mode; yields "", since there is no URL."""
    handler = AsyncSocketModeHandler(app, ids.APP_TOKEN, ping_interval=PING_SECONDS)
    await handler.connect_async()  # type: ignore[no-untyped-call]
    await sim.connected()
    try:
        yield ""
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call]


@contextlib.asynccontextmanager
async def connect_http(sim: SlackSim, app: AsyncApp) -> AsyncIterator[str]:
    """Run the app behind a real HTTP server; yields its verified events URL."""
    handler = AsyncSlackRequestHandler(app)

    async def events(request: Request) -> Response:
        return await handler.handle(request)

    web = Starlette(routes=[Route("/slack/events", events, methods=["POST"])])
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(web, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/slack/events"
    try:
        # Retried, as people would: a busy machine may need longer than the 3 s that Slack waits.
        await sim.until(lambda: sim.set_http(url))
        yield url
    finally:
        server.should_exit = True
        await serving


MODES = {"socket": connect_socket, "http": connect_http}


@contextlib.asynccontextmanager
async def connector(sim: SlackSim, mode: str) -> AsyncIterator[Connect]:
    """Yields a function that connects an app in `mode` for the duration of the context."""
    async with contextlib.AsyncExitStack() as stack:

        async def connected(app: AsyncApp) -> str:
            return await stack.enter_async_context(MODES[mode](sim, app))

        yield connected


async def authorize(**_: Any) -> AuthorizeResult:
    """The authorization of an app with a single installation."""
    return AuthorizeResult(
        enterprise_id=None,
        team_id=ids.TEAM,
        bot_token=ids.BOT_TOKEN,
        bot_id=ids.BOT,
        bot_user_id=ids.BOT_USER,
    )


def create_app(sim: SlackSim, **changes: Any) -> AsyncApp:
    """An app with the project's options."""
    options: dict[str, Any] = {
        "client": AsyncWebClient(base_url=sim.api_url),
        "signing_secret": ids.SIGNING_SECRET,
        "authorize": authorize,
        "process_before_response": True,
        "ignoring_self_events_enabled": False,
        "logger": logging.getLogger("test"),
    }
    app = AsyncApp(**options | changes)

    @app.event("message")
    async def ignore() -> None:
        """Acknowledge other events, which Slack would otherwise redeliver."""

    return app


async def wait_until_delivered(sim: SlackSim) -> list[Json]:
    """All deliveries, once none is pending."""

    async def done() -> bool:
        return not (await sim.state())["pending"]

    await sim.until(done)
    return await sim.deliveries()
