"""Socket Mode: one connection kept alive, by slack_sdk's client and a watch over it.

slack_sdk tries the address that it once got again and again, but Slack's addresses are good for
one connection: while there is none, the watch throws the address away, so that a new one is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp

from adapters.slack.web import quiet_log

log = structlog.stdlib.get_logger(__name__)

# Between pings, and between looks at the connection; a dead one is noticed after four. Seconds.
PING_SECONDS = 5.0


class SocketMode:
    """Serves Bolt's app over Socket Mode.

    `url` is the first address, from apps.connections.open; `on_hello` is awaited with every new
    connection.
    """

    def __init__(
        self, *, app: AsyncApp, app_token: str, url: str, on_hello: Callable[[], Awaitable[None]]
    ) -> None:
        self._handler = AsyncSocketModeHandler(
            app, app_token, logger=quiet_log(), ping_interval=PING_SECONDS
        )
        self._client = self._handler.client
        self._client.wss_uri = url
        self._client.proxy = app.client.proxy
        self._client.message_listeners.append(self._received)
        self._on_hello = on_hello
        self.connected = False

    async def serve(self) -> None:
        """Until cancelled."""
        connecting = asyncio.create_task(self._client.connect())  # type: ignore[no-untyped-call]
        try:
            while True:
                await asyncio.sleep(PING_SECONDS)
                self._look(await self._client.is_connected())
        finally:
            self.connected = False
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            await self._client.close()  # type: ignore[no-untyped-call]

    def _look(self, connected: bool) -> None:
        if connected != self.connected:
            log.log(20 if connected else 30, "socket mode", connected=connected)
        self.connected = connected
        if not connected:
            self._client.wss_uri = None

    async def _received(self, _client: Any, message: dict[str, Any], _raw: str | None) -> None:
        if message.get("type") == "hello":
            self.connected = True
            await self._on_hello()
