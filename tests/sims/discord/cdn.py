"""Discord's CDN: files behind signed URLs that expire, as whole files or ranges.

A URL is `/attachments/{channel}/{file}/{name}?ex=…&is=…&hm=…`: the times of its expiry and issue in
hexadecimal Unix seconds, and a signature of all three. Each payload carries newly signed URLs.
https://docs.discord.com/developers/reference#signed-attachment-cdn-urls

The CDN takes no token. It refuses a request that has one, which no client should send there.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import web

from tests.sims.discord.state import Message, ServerState
from tests.sims.kit import ENTRY

JSON = dict[str, Any]
ROUTE = r"/attachments/{channel:\d+}/{file:\d+}/{name}"
LIFETIME = 86_400.0  # documented as a preset expiry; a day is what URLs show
NO_LONGER = "This content is no longer available."
PAGE = b"<html><body>One more step: please enable cookies.</body></html>"
CHUNK = 65_536
SLOW_SECONDS = 0.05  # between two bytes of a slow response
KINDS = ("endless", "slow", "truncated", "page", "gzip", "redirect", "partial")


@dataclass(slots=True)
class Spoiled:
    """The next `times` downloads of a path that contains `match` fail in this way."""

    kind: str
    times: int
    match: str
    target: str = ""

    def takes(self, path: str) -> bool:
        """Whether this download is spoiled; counts it."""
        if self.times <= 0 or self.match not in path:
            return False
        self.times -= 1
        return True


class Cdn:
    """Signs and serves the files of `state`; `url` returns the simulator's URL."""

    def __init__(self, state: ServerState, url: Callable[[], str]) -> None:
        self._state, self._url = state, url
        self._key = secrets.token_bytes(32)
        self.base: str | None = None  # another host that leads here
        self.lifetime = LIFETIME
        self.expired_status = 404  # reports say 404; some name 403
        self.spoiled: list[Spoiled] = []

    # ── URLs ──────────────────────────────────────────────────────────────────────────────────
    def sign(self, channel: int, file: JSON) -> str:
        """A new URL of a file in a message of `channel`."""
        path = f"/attachments/{channel}/{file['id']}/{quote(file['filename'])}"
        issued = int(time.time())
        times = f"{int(issued + self.lifetime):x}", f"{issued:x}"
        query = f"ex={times[0]}&is={times[1]}&hm={self._signature(path, *times)}&"
        return f"{self.base or self._url()}{path}?{query}"

    def _signature(self, path: str, expires: str, issued: str) -> str:
        text = f"{path} {expires} {issued}".encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()

    def _is_valid(self, request: web.Request) -> bool:
        expires, issued, mark = (request.query.get(name, "") for name in ("ex", "is", "hm"))
        expected = self._signature(request.rel_url.raw_path, expires, issued)
        return hmac.compare_digest(mark, expected) and int(expires, 16) > time.time()

    # ── serving ───────────────────────────────────────────────────────────────────────────────
    async def serve(self, request: web.Request) -> web.StreamResponse:
        """GET /attachments/…"""
        request[ENTRY].note["authorized"] = "Authorization" in request.headers
        if "Authorization" in request.headers:
            return web.Response(status=400, text="no token here")
        if not self._is_valid(request):
            return web.Response(status=self.expired_status, text=NO_LONGER)
        found = self._state.files.get(int(request.match_info["file"]))
        if found is None or not self._is_shown(request.match_info["file"]):
            return web.Response(status=404, text=NO_LONGER)
        kind, data = found
        content = data if isinstance(data, bytes) else bytes(data)
        spoiled = next((s for s in self.spoiled if s.takes(request.path)), None)
        if spoiled is not None:
            return await self._spoil(request, spoiled, kind, content)
        return _whole_or_range(request, kind, content)

    def _is_shown(self, file: str) -> bool:
        """Whether a message, or a forward of it, still has the file."""
        channels = self._state.channels.values()
        return any(_has(m, file) for x in channels if x.deleted is None for m in _present(x))

    async def _spoil(
        self, request: web.Request, spoiled: Spoiled, kind: str, content: bytes
    ) -> web.StreamResponse:
        if spoiled.kind == "page":
            return web.Response(body=PAGE, headers={"Content-Type": "text/html"})
        if spoiled.kind == "redirect":
            return web.Response(status=302, headers={"Location": spoiled.target})
        if spoiled.kind == "partial":
            return web.Response(status=206, body=content[:10], headers={"Content-Type": kind})
        headers = {"Content-Type": kind}
        if spoiled.kind == "gzip":
            headers["Content-Encoding"] = "gzip"
        if spoiled.kind in ("truncated", "slow", "gzip"):
            headers["Content-Length"] = str(len(content) or 1)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        if spoiled.kind == "endless":
            while True:
                await response.write(bytes(CHUNK))
        if spoiled.kind == "slow":
            for byte in content:
                await asyncio.sleep(SLOW_SECONDS)
                await response.write(bytes([byte]))
            return response
        await response.write(content[: len(content) // 2])
        if request.transport is not None:
            request.transport.close()
        return response


def _present(channel: Any) -> list[Message]:
    return [message for message in channel.messages.values() if message.deleted is None]


def _has(message: Message, file: str) -> bool:
    files = [*message.shown.attachments]
    for snapshot in message.snapshots:
        files += snapshot["attachments"]
    return any(one["id"] == file for one in files)


def _whole_or_range(request: web.Request, kind: str, content: bytes) -> web.Response:
    headers = {"Content-Type": kind, "Accept-Ranges": "bytes"}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if wanted is None:
        return web.Response(body=content, headers=headers)
    start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
    if start >= len(content):
        headers["Content-Range"] = f"bytes */{len(content)}"
        return web.Response(status=416, headers=headers)
    part = content[start : end + 1]
    headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
    return web.Response(status=206, body=part, headers=headers)
