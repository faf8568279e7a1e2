"""A client that enforces no rules, so that tests can violate each of Discord's."""

from __future__ import annotations

import asyncio
import json
import zlib
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim

JSON = dict[str, Any]
USUAL_INTENTS = sum(bit for name, bit in c.INTENTS.items() if name not in c.PRIVILEGED)
MESSAGE_CONTENT = c.INTENTS["message_content"]
WAIT = 60.0  # seconds until a missing event fails the test


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A REST response; `body` is parsed only if the content type is exactly JSON's."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> int:
        """Discord's error code."""
        return int(self.body["code"])

    @property
    def wrong(self) -> list[str]:
        """The dotted paths of the fields named by a 50035."""
        return list(_paths(self.body.get("errors", {})))


def _paths(tree: JSON, prefix: str = "") -> list[str]:
    found = [prefix.removeprefix(".")] if "_errors" in tree else []
    for key, value in tree.items():
        if key != "_errors":
            found += _paths(value, f"{prefix}.{key}")
    return found


class RawBot:
    """REST and gateway connections of one bot, as an async context manager."""

    def __init__(self, sim: DiscordSim, *, token: str = c.SIM_TOKEN) -> None:
        self._sim, self._token = sim, token

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        data: Any = None,
        *,
        form: aiohttp.FormData | None = None,
        auth: str | None = None,
        **query: Any,
    ) -> ApiResponse:
        """Send one request; `auth` replaces the Authorization header, "" omits it."""
        authorization = f"Bot {self._token}" if auth is None else auth
        headers = {"Authorization": authorization} if authorization else {}
        sent = form if form is not None else None if data is None else json.dumps(data)
        if data is not None:
            headers["Content-Type"] = "application/json"
        url = f"{self._sim.api_url}{path}"
        async with self._session.request(
            method, url, data=sent, headers=headers, params=query
        ) as response:
            text = await response.text()
            exact = response.headers.get("Content-Type") == "application/json"
            body = json.loads(text) if exact else text
            return ApiResponse(response.status, body, dict(response.headers))

    async def send(
        self, channel: int = c.CHANNEL, content: str = "hi", **fields: Any
    ) -> ApiResponse:
        """Post a message."""
        body = {"content": content, **fields}
        return await self.request("POST", f"/channels/{channel}/messages", body)

    async def patch(self, channel: int, message: int | str, **fields: Any) -> ApiResponse:
        """Edit a message."""
        return await self.request("PATCH", f"/channels/{channel}/messages/{message}", fields)

    async def thread(self, channel: int, message: int | str, name: str = "a thread") -> ApiResponse:
        """Start a thread on a message."""
        path = f"/channels/{channel}/messages/{message}/threads"
        return await self.request("POST", path, {"name": name})

    async def connect(self, **query: str) -> RawGateway:
        """A new gateway connection that has sent nothing."""
        asked = {"v": "10", "encoding": "json", **query}
        socket = await self._session.ws_connect(self._sim.gateway_url, params=asked, autoclose=True)
        return RawGateway(socket, compressed=asked.get("compress") == "zlib-stream")

    async def connect_and_identify(
        self, intents: int = USUAL_INTENTS | MESSAGE_CONTENT
    ) -> RawGateway:
        """A gateway connection after READY and its guilds."""
        gateway = await self.connect()
        await gateway.identify(intents)
        await gateway.until("READY")
        if intents & c.INTENTS["guilds"]:
            await gateway.until("GUILD_CREATE")
        return gateway


class RawGateway:
    """One gateway connection; `seq` is the last sequence it received."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, compressed: bool) -> None:
        self.socket, self.seq, self.session_id = socket, 0, ""
        self._inflate = zlib.decompressobj() if compressed else None

    async def say(self, op: int, data: Any) -> None:
        """Send one payload."""
        await self.socket.send_str(json.dumps({"op": op, "d": data}))

    async def identify(
        self, intents: int = USUAL_INTENTS, *, token: str = c.SIM_TOKEN, **more: Any
    ) -> None:
        """Send IDENTIFY."""
        properties = {"os": "linux", "browser": "raw", "device": "raw"}
        await self.say(2, {"token": token, "intents": intents, "properties": properties, **more})

    async def resume(self, session: str, seq: int | str, *, token: str = c.SIM_TOKEN) -> None:
        """Send RESUME."""
        await self.say(6, {"token": token, "session_id": session, "seq": seq})

    async def receive(self) -> JSON:
        """The next payload; raises ConnectionError with the close code if closed."""
        message = await self.socket.receive(timeout=WAIT)
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            raise ConnectionError(self.socket.close_code)
        text = message.data
        if self._inflate is not None:
            assert message.data[-4:] == b"\x00\x00\xff\xff"  # the end of a zlib-stream message
            text = self._inflate.decompress(message.data).decode()
        payload: JSON = json.loads(text)
        self.seq = payload.get("s") or self.seq
        if payload.get("t") == "READY":
            self.session_id = payload["d"]["session_id"]
        return payload

    async def until(self, name: str) -> JSON:
        """The data of the next event with that name; skips others."""
        while (payload := await self.receive()).get("t") != name:
            pass
        found: JSON = payload["d"]
        return found

    async def op(self, op: int) -> JSON:
        """The next payload with that op code."""
        while (payload := await self.receive())["op"] != op:
            pass
        return payload

    async def events(self, seconds: float = 0.1) -> list[tuple[str, JSON]]:
        """All events until none arrives for `seconds`."""
        found: list[tuple[str, JSON]] = []
        while True:
            try:
                async with asyncio.timeout(seconds):
                    payload = await self.receive()
            except TimeoutError:
                return found
            if payload["op"] == 0:
                found.append((payload["t"], payload["d"]))

    async def close_code(self) -> int:
        """Read until the connection is closed and return the code."""
        try:
            while True:
                await self.receive()
        except ConnectionError as error:
            return int(error.args[0])
