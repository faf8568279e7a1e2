"""Keeps one Socket Mode connection alive with slack_sdk's client.

slack_sdk would keep reconnecting to the same address, but Slack's addresses are valid for one
connection. `SocketMode` therefore checks the connection twice a second and drops a lost one's
address, which makes the client fetch a new one. Connecting has a timeout, and a malformed frame
affects nothing else.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from logging import INFO, WARNING
from typing import Any

import aiohttp
import structlog
from slack_bolt.adapter.socket_mode.async_internals import send_async_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from adapters.slack.api import REQUEST_SECONDS, quiet_logger
from adapters.slack.envelopes import dispatch, field_types
from adapters.slack.outages import DROPPED_SECONDS, OnLost
from bot.common.proxies import http_proxy_for
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

# Seconds between pings; slack_sdk closes a connection after four pings without an answer.
PING_SECONDS = 5.0
# Seconds between checks of the connection; slack_sdk would notice a lost one after PING_SECONDS.
CHECK_SECONDS = 0.5
# If this many seconds pass between two checks, the process or the machine did not run: Slack may
# have given up deliveries in that time.
ASLEEP_SECONDS = 30.0
# Slack sends `hello` immediately. A connection without it counts as established after this many
# seconds.
HELLO_SECONDS = 5.0


class _Client(SocketModeClient):
    """slack_sdk's client, which fetches addresses with `new_url` and tolerates malformed frames."""

    def __init__(
        self, *, app: AsyncApp, app_token: str, new_url: Callable[[], Awaitable[str]]
    ) -> None:
        super().__init__(
            app_token=app_token,
            web_client=app.client,
            logger=quiet_logger(),
            ping_interval=PING_SECONDS,
        )
        self._new_url = new_url
        self.proxy = app.client.proxy

    async def limit_connecting(self, seconds: float) -> None:
        """Set the timeout for connecting; slack_sdk would wait for five minutes."""
        before = self.aiohttp_client_session
        limit = aiohttp.ClientTimeout(total=seconds)
        self.aiohttp_client_session = aiohttp.ClientSession(timeout=limit)
        await before.close()

    async def issue_new_wss_url(self) -> str:
        """Return a new address, waiting until there is one."""
        return await self._new_url()

    async def process_message(self) -> None:
        """Handle the next frame; anything but a JSON object is logged and dropped."""
        raw = await self.message_queue.get()
        message = parse_frame(raw)
        if message is None:
            log.warning("dropped a frame that is no JSON object", frame=str(raw)[:80])
            return
        asyncio.ensure_future(self.run_message_listeners(message, raw))  # noqa: RUF006 - as slack_sdk

    async def run_message_listeners(self, message: dict[str, Any], raw_message: str) -> None:
        """Pass on a frame; a malformed envelope is acknowledged, or Slack would resend it."""
        kind = message.get("type")
        if kind == "disconnect":
            log.info("Slack will close the connection", reason=str(message.get("reason"))[:80])
        elif kind != "hello" and not is_envelope(message):
            log.warning("cannot read an envelope", types=field_types(message))
            if isinstance(id_ := message.get("envelope_id"), str):
                await self._acknowledge(id_)
            return
        await super().run_message_listeners(message, raw_message)

    async def _acknowledge(self, envelope_id: str) -> None:
        try:
            await self.send_socket_mode_response({"envelope_id": envelope_id})
        except Exception as error:  # noqa: BLE001 - slack_sdk's connection may be in any state
            log.warning("could not acknowledge an envelope", error=repr(error)[:300])


def parse_frame(raw: object) -> dict[str, Any] | None:
    """A frame's JSON object, or None."""
    try:
        message = json.loads(raw) if isinstance(raw, str) else None
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def is_envelope(message: dict[str, Any]) -> bool:
    """Whether a frame is an envelope that can be read and acknowledged."""
    texts = (message.get("type"), message.get("envelope_id"))
    return all(isinstance(text, str) and text for text in texts) and isinstance(
        message.get("payload"), dict
    )


class SocketMode:
    """Serves Bolt's app over Socket Mode.

    `url` is the first address, from apps.connections.open, and `new_url` fetches further ones.
    `on_hello` is awaited for every new connection. `on_lost` is called when a connection is lost,
    with the seconds since it was last known to work: many if the process or the machine slept.
    `on_dropped` is called if Slack gave up events: see `Workspaces.events_lost`. `connect_seconds`
    is the timeout for connecting.
    """

    def __init__(
        self,
        *,
        app: AsyncApp,
        app_token: str,
        url: str,
        new_url: Callable[[], Awaitable[str]],
        on_hello: Callable[[], Coroutine[Any, Any, None]],
        on_lost: Callable[[float], None],
        on_dropped: OnLost,
        clock: Clock,
        connect_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._app, self._clock, self._connect_seconds = app, clock, connect_seconds
        self._client = _Client(app=app, app_token=app_token, new_url=new_url)
        self._client.wss_uri = url
        self._client.proxy = http_proxy_for(url)
        self._client.message_listeners.append(self._on_frame)
        self._client.socket_mode_request_listeners.append(self._handle)
        self._on_hello, self._on_lost, self._on_dropped = on_hello, on_lost, on_dropped
        self._connecting: asyncio.Task[None] | None = None
        self._hello_task: asyncio.Task[None] | None = None
        self._established: object = None  # the newest connection that delivers events
        self._connected_since = 0.0
        self._checked_at = clock.time()
        self.connected = False

    async def serve(self) -> None:
        """Serve events until cancelled."""
        await self._client.limit_connecting(self._connect_seconds)
        try:
            self._connect(self._client.connect())  # type: ignore[no-untyped-call]
            while True:
                await asyncio.sleep(CHECK_SECONDS)
                self._check(await self._client.is_connected())
        finally:
            self.connected = False
            for task in (self._connecting, self._hello_task):
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
            await self._client.close()  # type: ignore[no-untyped-call]

    def _check(self, connected: bool) -> None:
        if connected != self.connected:
            log.log(
                INFO if connected else WARNING,
                "Socket Mode connection changed",
                connected=connected,
            )
        asleep = self._seconds_since_check()
        if self.connected and (not connected or asleep > ASLEEP_SECONDS):
            self._on_lost(asleep)
            if connected:  # `on_hello` must follow on the same connection
                self._established = None
        now = asyncio.get_running_loop().time()
        self._connected_since = self._connected_since if connected and self.connected else now
        self.connected = connected
        if connected and now - self._connected_since > HELLO_SECONDS and self._establish():
            log.warning("the connection counts as established without a hello")
            self._hello_task = asyncio.create_task(self._on_hello(), name="slack hello")
        if not connected:
            self._client.wss_uri = None
            if self._connecting is None or self._connecting.done():
                self._connect(self._client.connect_to_new_endpoint())

    def _seconds_since_check(self) -> float:
        """By the time of day: the monotonic clock may stand still while a machine sleeps."""
        before, self._checked_at = self._checked_at, self._clock.time()
        return max(self._checked_at - before, 0.0)

    def _connect(self, connecting: Coroutine[Any, Any, None]) -> None:
        """Connect in a task, which ends once connected or if another task already connects."""
        self._connecting = asyncio.create_task(connecting, name="slack socket")
        self._connecting.add_done_callback(_log_failure)

    async def _on_frame(self, _client: Any, _message: dict[str, Any], _raw: str | None) -> None:
        """Report the connection as working: its first frame shows that events arrive."""
        if self._establish():
            self.connected = True
            await self._on_hello()

    def _establish(self) -> bool:
        """Record the current connection as established; False if it already was."""
        before, self._established = self._established, self._client.current_session
        return before is not self._established

    async def _handle(self, client: Any, request: SocketModeRequest) -> None:
        """Acknowledge with Bolt's response, unless it is a failure: Slack then redelivers."""
        started_at, attempt = time.time(), request.retry_attempt
        headers = {"x-slack-retry-num": str(attempt)} if isinstance(attempt, int) else {}
        on_dropped = partial(self._on_dropped, *DROPPED_SECONDS)
        response = await dispatch(self._app, request.payload, headers, on_dropped)
        try:
            await send_async_response(client, request, response, started_at)
        except Exception as error:  # noqa: BLE001 - slack_sdk's connection may be in any state
            log.error(
                "could not acknowledge an envelope", kind=request.type, error=repr(error)[:300]
            )


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("cannot connect in Socket Mode", error=repr(error))
