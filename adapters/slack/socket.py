"""Socket Mode: one connection kept alive, by slack_sdk's client and a watch over it.

slack_sdk tries the address that it once got again and again, but Slack's addresses are good for
one connection: while there is none, the watch throws the address away, so that a new one is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from logging import INFO, WARNING
from typing import Any

import structlog
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp

from adapters.slack.web import quiet_log
from bot.proxies import http_proxy_for

log = structlog.stdlib.get_logger(__name__)

# Between pings; a connection that answers none is given up after four. Seconds.
PING_SECONDS = 5.0
# Between looks at the connection: slack_sdk itself notices one that was cut after PING_SECONDS.
LOOK_SECONDS = 0.5


class SocketMode:
    """Serves Bolt's app over Socket Mode.

    `url` is the first address, from apps.connections.open; `on_hello` is awaited with every new
    connection, `on_lost` is called when there is none any more.
    """

    def __init__(
        self,
        *,
        app: AsyncApp,
        app_token: str,
        url: str,
        on_hello: Callable[[], Awaitable[None]],
        on_lost: Callable[[], None],
    ) -> None:
        self._handler = AsyncSocketModeHandler(
            app, app_token, logger=quiet_log(), ping_interval=PING_SECONDS
        )
        self._client: Any = self._handler.client  # slack_sdk has no types for what is used here
        self._client.wss_uri = url
        self._client.proxy = http_proxy_for(url)
        self._client.message_listeners.append(self._received)
        self._on_hello, self._on_lost = on_hello, on_lost
        self._connecting: asyncio.Task[None] | None = None
        self.connected = False

    async def serve(self) -> None:
        """Until cancelled."""
        try:
            self._connect(self._client.connect())
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                self._look(await self._client.is_connected())
        finally:
            self.connected = False
            if self._connecting is not None:
                self._connecting.cancel()
                await asyncio.gather(self._connecting, return_exceptions=True)
            await self._client.close()

    def _look(self, connected: bool) -> None:
        if connected != self.connected:
            log.log(INFO if connected else WARNING, "socket mode", connected=connected)
        if self.connected and not connected:
            self._on_lost()
        self.connected = connected
        if not connected:
            self._client.wss_uri = None
            if self._connecting is None or self._connecting.done():
                self._connect(self._client.connect_to_new_endpoint())

    def _connect(self, connecting: Coroutine[Any, Any, None]) -> None:
        """It ends when there is a connection, or when another task is making one."""
        self._connecting = asyncio.create_task(connecting, name="slack socket")
        self._connecting.add_done_callback(_note_failure)

    async def _received(self, _client: Any, message: dict[str, Any], _raw: str | None) -> None:
        if message.get("type") == "hello":
            self.connected = True
            await self._on_hello()


def _note_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("no socket mode connection", error=repr(error))
