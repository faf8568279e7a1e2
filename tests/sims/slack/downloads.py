"""Downloads of files, and their failures."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NoReturn

from aiohttp import web

from tests.sims.kit import ENTRY
from tests.sims.slack.platform import Platform

SIGN_IN = "<!DOCTYPE html><html><title>Sign in | Slack</title></html>"
PIECE = 64 * 1024


@dataclass(slots=True)
class DownloadFaults:
    """The next `times` downloads whose path contains `match` fail.

    `how`: `sign_in` (the page, although the token is right), `sign_in_redirect`, `redirect` (to
    another address for the file), `elsewhere` (to the address `to`, which needs no token), `loop`,
    `slow` (a byte every `seconds`), `endless`, `cut` (half of the announced length), `cut_unframed`
    (half, without an announced length), `gzip`.
    """

    how: str = ""
    times: int = 0
    seconds: float = 0.0
    to: str = ""
    match: str = ""

    def take(self, path: str) -> bool:
        """Whether this download fails; counts it."""
        if self.times <= 0 or self.match not in path:
            return False
        self.times -= 1
        return True


class Downloads:
    """Serves files as files.slack.com does."""

    def __init__(self, slack: Platform) -> None:
        self.slack = slack
        self.faults: list[DownloadFaults] = []

    def downloads(
        self,
        how: str = "",
        times: int = 1_000,
        seconds: float = 0.01,
        to: str = "",
        match: str = "",
    ) -> None:
        """Make downloads fail; without `how` they work again."""
        self.faults = [one for one in self.faults if how and one.match != match]
        if how:
            self.faults.append(DownloadFaults(how, times, seconds, to, match))

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """A file for the bot's token; the sign-in page, with status 200, for any other token."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        request[ENTRY].note["token"] = token
        file = request.match_info["file"].rpartition("-")[2]
        allowed = self.slack.accepts(token)
        allowed = allowed and "files:read" in self.slack.events.scopes
        if not allowed and "signed" not in request.query:
            return web.Response(text=SIGN_IN, content_type="text/html")
        if file not in self.slack.contents:
            return web.Response(status=404)
        faults = [] if request.query else self.faults
        if (fault := next((one for one in faults if one.take(request.path)), None)) is not None:
            return await self._fail(request, file, fault)
        data = self.slack.contents[file]
        return web.Response(body=data, content_type=self._type(file))

    def _type(self, file: str) -> str:
        """The media type: Slack sends posts and canvases as HTML, and recorded audio as a video."""
        info = self.slack.files[file]
        if info.get("mode") in ("canvas", "post", "quip", "space"):
            return "text/html"
        kind = str(info.get("mimetype") or "application/octet-stream")
        return kind.replace("audio/", "video/") if info.get("subtype") == "slack_audio" else kind

    async def _fail(
        self, request: web.Request, file: str, fault: DownloadFaults
    ) -> web.StreamResponse:
        how, url = fault.how, str(request.url)
        places = {
            "sign_in_redirect": f"{self.slack.url}/?redir=%2Ffiles-pri",
            "redirect": f"{url}?moved=1",
            "elsewhere": fault.to,
            "loop": url,
        }
        if how == "sign_in":
            return web.Response(text=SIGN_IN, content_type="text/html")
        if how in places:
            return web.Response(status=302, headers={"Location": places[how]})
        return await self._stream(request, file, fault)

    async def _stream(
        self, request: web.Request, file: str, fault: DownloadFaults
    ) -> web.StreamResponse:
        how, data = fault.how, self.slack.contents[file]
        if how == "cut_unframed":
            self._write_raw(request, data[: len(data) // 2])
        response = web.StreamResponse(headers={"Content-Type": self._type(file)})
        if how == "gzip":
            response.headers["Content-Encoding"] = "gzip"
        elif how != "endless":
            response.content_length = len(data)
        await response.prepare(request)
        if how == "cut":
            await response.write(data[: len(data) // 2])
            self._write_raw(request)
        while how == "endless":
            await response.write(bytes(PIECE))
        for at in range(len(data)):
            await asyncio.sleep(fault.seconds if how == "slow" else 0)
            await response.write(data[at : at + 1])
        await response.write_eof()
        return response

    @staticmethod
    def _write_raw(request: web.Request, body: bytes = b"") -> NoReturn:
        """Send a response that ends only with the connection, or nothing; then hang up."""
        if request.transport is not None:
            if body:
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n"
                request.transport.write(head + body)
            request.transport.close()
        raise ConnectionResetError("the download was cut off")
