"""Socket Mode: one connection kept alive, by slack_sdk's client and a watch over it.

slack_sdk tries the address that it once got again and again, but Slack's addresses are good for
one connection: while there is none, the watch throws the address away, so that a new one is asked.
A new address is asked for with growing pauses, and connecting is limited in time; what a frame says
harms that frame alone.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from logging import INFO, WARNING
from typing import Any

import aiohttp
import structlog
from slack_bolt.adapter.socket_mode.async_internals import send_async_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from adapters.slack.api import REQUEST_SECONDS, quiet_log
from adapters.slack.envelopes import dispatch, shape
from bot.common.proxies import http_proxy_for

log = structlog.stdlib.get_logger(__name__)

# Between pings; a connection that answers none is given up after four. Seconds.
PING_SECONDS = 5.0
# Between looks at the connection: slack_sdk itself notices one that was cut after PING_SECONDS.
LOOK_SECONDS = 0.5
# Slack's `hello` comes at once; a connection that lasts for so long without one counts. Seconds.
HELLO_SECONDS = 5.0


class _Client(SocketModeClient):
    """slack_sdk's client, with addresses from `new_url` and frames that are read with suspicion."""

    def __init__(
        self, *, app: AsyncApp, app_token: str, new_url: Callable[[], Awaitable[str]]
    ) -> None:
        super().__init__(
            app_token=app_token,
            web_client=app.client,
            logger=quiet_log(),
            ping_interval=PING_SECONDS,
        )
        self._new_url = new_url
        self.proxy = app.client.proxy

    async def limit_connecting(self, seconds: float) -> None:
        """Give up an address that does not answer; slack_sdk would wait for five minutes."""
        before = self.aiohttp_client_session
        limit = aiohttp.ClientTimeout(total=seconds)
        self.aiohttp_client_session = aiohttp.ClientSession(timeout=limit)
        await before.close()

    async def issue_new_wss_url(self) -> str:
        """A new address; it waits for one."""
        return await self._new_url()

    async def process_message(self) -> None:
        """Take the next frame; what is no JSON object is logged and forgotten."""
        raw = await self.message_queue.get()
        message = parsed(raw)
        if message is None:
            log.warning("a frame that is no message", frame=str(raw)[:80])
            return
        asyncio.ensure_future(self.run_message_listeners(message, raw))  # noqa: RUF006 - as slack_sdk

    async def run_message_listeners(self, message: dict[str, Any], raw_message: str) -> None:
        """Hand a frame on; an envelope that cannot be read is acknowledged, or it comes again."""
        kind = message.get("type")
        if kind == "disconnect":
            log.info("Slack closes the connection soon", reason=str(message.get("reason"))[:80])
        elif kind != "hello" and not is_envelope(message):
            log.warning("an envelope could not be read", shape=shape(message))
            if isinstance(id_ := message.get("envelope_id"), str):
                await self._acknowledge(id_)
            return
        await super().run_message_listeners(message, raw_message)

    async def _acknowledge(self, envelope_id: str) -> None:
        try:
            await self.send_socket_mode_response({"envelope_id": envelope_id})
        except Exception as error:  # noqa: BLE001 - slack_sdk's connection may be in any state
            log.warning("an envelope was not acknowledged", error=repr(error)[:300])


def parsed(raw: object) -> dict[str, Any] | None:
    """A frame's JSON object, or None."""
    try:
        message = json.loads(raw) if isinstance(raw, str) else None
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def is_envelope(message: dict[str, Any]) -> bool:
    """Whether a frame is an envelope that can be answered and read."""
    texts = (message.get("type"), message.get("envelope_id"))
    return all(isinstance(text, str) and text for text in texts) and isinstance(
        message.get("payload"), dict
    )


class SocketMode:
    """Serves Bolt's app over Socket Mode.

    `url` is the first address, from apps.connections.open, and `new_url` gives further ones;
    `on_hello` is awaited with every new connection, `on_lost` is called when none is left.
    `connect_seconds` is how long a connection may take to be made.
    """

    def __init__(
        self,
        *,
        app: AsyncApp,
        app_token: str,
        url: str,
        new_url: Callable[[], Awaitable[str]],
        on_hello: Callable[[], Coroutine[Any, Any, None]],
        on_lost: Callable[[], None],
        connect_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._app, self._connect_seconds = app, connect_seconds
        self._client = _Client(app=app, app_token=app_token, new_url=new_url)
        self._client.wss_uri = url
        self._client.proxy = http_proxy_for(url)
        self._client.message_listeners.append(self._received)
        self._client.socket_mode_request_listeners.append(self._handle)
        self._on_hello, self._on_lost = on_hello, on_lost
        self._connecting: asyncio.Task[None] | None = None
        self._greeting: asyncio.Task[None] | None = None
        self._greeted: object = None  # the newest connection that events come by
        self._since = 0.0
        self.connected = False

    async def serve(self) -> None:
        """Until cancelled."""
        await self._client.limit_connecting(self._connect_seconds)
        try:
            self._connect(self._client.connect())  # type: ignore[no-untyped-call]
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                self._look(await self._client.is_connected())
        finally:
            self.connected = False
            for task in (self._connecting, self._greeting):
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
            await self._client.close()  # type: ignore[no-untyped-call]

    def _look(self, connected: bool) -> None:
        if connected != self.connected:
            log.log(INFO if connected else WARNING, "socket mode", connected=connected)
        if self.connected and not connected:
            self._on_lost()
        now = asyncio.get_running_loop().time()
        self._since = self._since if connected and self.connected else now
        self.connected = connected
        if connected and now - self._since > HELLO_SECONDS and self._is_new():
            log.warning("a connection without a hello")
            self._greeting = asyncio.create_task(self._on_hello(), name="slack hello")
        if not connected:
            self._client.wss_uri = None
            if self._connecting is None or self._connecting.done():
                self._connect(self._client.connect_to_new_endpoint())

    def _connect(self, connecting: Coroutine[Any, Any, None]) -> None:
        """It ends when there is a connection, or when another task is making one."""
        self._connecting = asyncio.create_task(connecting, name="slack socket")
        self._connecting.add_done_callback(_note_failure)

    async def _received(self, _client: Any, _message: dict[str, Any], _raw: str | None) -> None:
        """The first frame of a connection, whatever it is, says that events arrive."""
        if self._is_new():
            self.connected = True
            await self._on_hello()

    def _is_new(self) -> bool:
        """Whether nothing has come by this connection yet; the next call says no."""
        before, self._greeted = self._greeted, self._client.current_session
        return before is not self._greeted

    async def _handle(self, client: Any, request: SocketModeRequest) -> None:
        """Acknowledge with Bolt's answer; not at all where that is a failure: it comes again."""
        began, attempt = time.time(), request.retry_attempt
        headers = {"x-slack-retry-num": str(attempt)} if isinstance(attempt, int) else {}
        answer = await dispatch(self._app, request.payload, headers)
        try:
            await send_async_response(client, request, answer, began)
        except Exception as error:  # noqa: BLE001 - slack_sdk's connection may be in any state
            log.error(
                "an envelope was not acknowledged", kind=request.type, error=repr(error)[:300]
            )


def _note_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("no socket mode connection", error=repr(error))
