"""The simulated Slack in the running event loop, with a raw client.

For tests of the simulator itself, which start it often; tests of the project use `SlackSim`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Self, cast

import aiohttp

from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.sims.slack.sim import SlackServer
from tests.sims.slack.values import Json


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A response of the Web API."""

    status: int
    headers: dict[str, str]
    body: Json

    @property
    def error(self) -> str:
        """The error code; "" if the call succeeded."""
        return str(self.body.get("error", ""))


class RawSocket:
    """A Socket Mode connection that acknowledges only when told to."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def next(self, seconds: float = 60.0) -> Json:
        """The next frame; {"type": "closed"} at the end."""
        message = await self.ws.receive(timeout=seconds)
        if message.type != aiohttp.WSMsgType.TEXT:
            return {"type": "closed"}
        return cast(Json, json.loads(message.data))

    async def event(self, kind: str, seconds: float = 60.0) -> Json:
        """The next envelope with an event of type `kind`; others are acknowledged and skipped."""
        while True:
            frame = await self.next(seconds)
            assert frame["type"] != "closed", f"closed before {kind}"
            if frame.get("payload", {}).get("event", {}).get("type") == kind:
                return frame
            await self.ack(frame)

    async def ack(self, envelope: Json, payload: Any = None) -> None:
        """Acknowledge an envelope."""
        if "envelope_id" in envelope:
            answer: Json = {"envelope_id": envelope["envelope_id"]}
            await self.ws.send_str(json.dumps(answer | ({"payload": payload} if payload else {})))


class LocalSlack(SlackSim):
    """`SlackSim` in this process, with raw access."""

    async def __aenter__(self) -> Self:
        self.server = SlackServer()
        self._runner = await self.server.start()
        self.port = self.server.port
        self._session = aiohttp.ClientSession()
        return self

    async def api(self, method: str, /, token: str = ids.BOT_TOKEN, **args: Any) -> ApiResponse:
        """Call a method with a JSON body."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self._send(method, headers=headers, json=args)

    async def form(self, method: str, /, token: str = ids.BOT_TOKEN, **args: str) -> ApiResponse:
        """Call a method with a form body that includes the token."""
        return await self._send(method, data={"token": token, **args})

    async def _send(self, method: str, **request: Any) -> ApiResponse:
        async with self._session.post(self.api_url + method, **request) as response:
            return ApiResponse(response.status, dict(response.headers), await response.json())

    async def get(self, url: str, token: str = "") -> tuple[int, str, bytes]:
        """Fetch a URL; returns status, content type and body."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self._session.get(url, headers=headers) as response:
            return response.status, response.content_type, await response.read()

    async def put(self, url: str, body: Any) -> tuple[int, str]:
        """POST JSON or bytes to a URL; returns status and text."""
        sent = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self._session.post(url, **sent) as response:
            return response.status, await response.text()

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[RawSocket]:
        """Open a connection and read its `hello`."""
        opened = await self.api("apps.connections.open", token=ids.APP_TOKEN)
        async with self._session.ws_connect(opened.body["url"]) as ws:
            raw = RawSocket(ws)
            hello = await raw.next()
            assert hello["type"] == "hello", hello
            yield raw
