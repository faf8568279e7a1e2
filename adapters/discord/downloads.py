"""Downloads attachments from Discord's CDN, without the bot's token and outside all rate limits.

Their URLs are signed and currently expire after a day. Reading the message again yields new URLs;
only that takes an API request, and the message's files share it.

https://docs.discord.com/developers/reference#signed-attachment-cdn-urls
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp
import structlog
from cachetools import LRUCache, TTLCache

from adapters.discord.attachments import urls_in
from adapters.discord.errors import RETRY_SECONDS, as_attachment_error
from adapters.discord.history import read_raw_message
from adapters.discord.http import MAX_RETRY_AFTER, Http, number
from adapters.discord.rest import RestApi
from bot.domain.attachments import Download, Omission
from bot.domain.errors import AttachmentError, CannotStart, PlatformError
from bot.domain.replies import Priority

log = structlog.stdlib.get_logger(__name__)

CDN_HOSTS = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
# A URL that expires this soon is replaced before the request, in seconds.
EXPIRY_MARGIN = 30.0
CHUNK = 65_536  # bytes read at a time
# How long a message's new URLs are shared, in seconds, and of how many messages: a few hundred kB.
FRESH_SECONDS, MAX_FRESH = 60.0, 500
EXPIRED = frozenset({401, 403, 404, 410})  # reports name 404 and 403


class _Expired(Exception):
    """The CDN refused this URL with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class _Location:
    """A file's location, as recorded by `attachments`. `size` is in bytes, None if it is
    unknown."""

    channel: int
    message: int
    attachment: str
    url: str
    media_type: str
    size: int | None


class Downloader:
    """Downloads one account's attachments; with a compatible server, `api_url` also says where its
    files are."""

    def __init__(self, *, rest: RestApi, api_url: str | None) -> None:
        self._rest = rest
        self._origins = {("https", host, 443) for host in CDN_HOSTS}
        own = _origin(api_url) if api_url else None
        self._origins |= {own} if own is not None else set()
        self._fresh: TTLCache[tuple[int, int], Mapping[str, str]] = TTLCache(
            MAX_FRESH, FRESH_SECONDS, rest.clock.monotonic
        )
        self._locks: LRUCache[tuple[int, int], asyncio.Lock] = LRUCache(MAX_FRESH)

    async def download(self, locator: Mapping[str, str], *, limit: int) -> Download:
        """Download at most `limit` bytes of an attachment. Raises AttachmentError."""
        file = _parse(locator)
        if file.size is not None and file.size > limit:
            raise AttachmentError(Omission.TOO_LARGE, f"{file.size} bytes")
        if file.url and not self._expires_soon(file.url):
            try:
                return await self._fetch(file, file.url, limit)
            except _Expired as error:
                log.info("an attachment's URL has expired", status=error.status)
        url = await self._find_url(file)
        try:
            return await self._fetch(file, url, limit)
        except _Expired as error:
            gone = error.status in (404, 410)
            reason = Omission.GONE if gone else Omission.NO_ACCESS
            raise AttachmentError(reason, str(error)) from error

    def _expires_soon(self, url: str) -> bool:
        """Whether the URL's `ex`, in hexadecimal Unix seconds, has passed or is about to."""
        try:
            expires = int(parse_qs(urlsplit(url).query)["ex"][0], 16)
        except (KeyError, ValueError):
            return False
        return expires <= self._rest.clock.time() + EXPIRY_MARGIN

    # ── a new URL ─────────────────────────────────────────────────────────────────────────────
    async def _find_url(self, file: _Location) -> str:
        """Fetch the message and return the file's current URL. Raises AttachmentError."""
        message = file.channel, file.message
        async with self._locks.setdefault(message, asyncio.Lock()):
            urls = self._fresh.get(message)
            if urls is None:
                urls = self._fresh[message] = await self._read_urls(*message)
        url = urls.get(file.attachment, "") if file.attachment else ""
        if not url:
            raise AttachmentError(Omission.GONE, "the message no longer has this file")
        return url

    async def _read_urls(self, channel: int, message: int) -> Mapping[str, str]:
        try:
            raw: Any = await read_raw_message(
                self._rest, channel, message, priority=Priority.BACKGROUND
            )
        except PlatformError as error:
            raise as_attachment_error(error) from error
        if not isinstance(raw, Mapping) or not isinstance(raw.get("attachments"), list):
            raise _later("a message without its attachments")
        return urls_in(raw)

    # ── the CDN ───────────────────────────────────────────────────────────────────────────────
    async def _fetch(self, file: _Location, url: str, limit: int) -> Download:
        """Fetch a file. Raises _Expired if another URL may work, otherwise AttachmentError."""
        self._check_host(url)
        client = await self._rest.client()
        if not isinstance(client.http, Http):
            raise _later("there is no session")
        try:
            async with client.http.open_file(url) as response:
                _check_status(response)
                _check_type(response, file)
                data = await _read_body(response, file, limit)
                return Download(data, _media_type(response), _name_in(url))
        except (aiohttp.ClientError, OSError, RuntimeError, CannotStart) as error:
            # RuntimeError: the session is closed, because the adapter reconnects.
            raise _later(repr(error)) from error

    def _check_host(self, url: str) -> None:
        """Refuse every host except the CDN's: the URL comes from a payload."""
        if _origin(url) not in self._origins:
            raise AttachmentError(Omission.FORBIDDEN_ADDRESS, "not a host of Discord's files")


def _origin(url: str) -> tuple[str, str, int] | None:
    """A URL's scheme, host and port; None if it is invalid, or has credentials."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    except (ValueError, KeyError):
        return None
    clean = all(character.isprintable() and not character.isspace() for character in url)
    if not clean or not parts.hostname or "@" in parts.netloc or "\\" in url:
        return None
    return parts.scheme, parts.hostname, port


def _parse(locator: Mapping[str, str]) -> _Location:
    def integer(name: str) -> int:
        value = locator.get(name, "")
        return int(value) if value.isascii() and value.isdigit() else 0

    return _Location(
        channel=integer("channel"),
        message=integer("message"),
        attachment=locator.get("attachment", ""),
        url=locator.get("url", ""),
        media_type=locator.get("type", ""),
        size=integer("size") if "size" in locator else None,
    )


def _later(detail: str, seconds: float = RETRY_SECONDS) -> AttachmentError:
    return AttachmentError(Omission.UNREACHABLE, detail, retry_after=seconds)


# ── a response ────────────────────────────────────────────────────────────────────────────────
def _check_status(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status == 200:
        return
    if status in EXPIRED:
        raise _Expired(status)
    if status in (408, 425, 429) or status >= 500 or status < 400:
        wait = number(response.headers.get("Retry-After"))
        seconds = RETRY_SECONDS if wait is None else min(wait, MAX_RETRY_AFTER)
        raise _later(f"status {status}", seconds)
    raise AttachmentError(Omission.UNREACHABLE, f"status {status}")


def _check_type(response: aiohttp.ClientResponse, file: _Location) -> None:
    """Refuse a proxy's page, or a compressed body, which could be a bomb."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise _later(f"the content encoding {encoding[:20]!r}")
    page = "text/html"
    if _media_type(response) == page and file.media_type != page:
        raise _later("a web page instead of the file")


def _media_type(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def _read_body(response: aiohttp.ClientResponse, file: _Location, limit: int) -> bytes:
    """Read the whole body. If it ends early, raises aiohttp's ClientPayloadError or the error from
    `_later`."""
    declared = response.content_length
    if declared is not None and declared > limit:
        raise AttachmentError(Omission.TOO_LARGE, f"{declared} bytes")
    data = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        data += chunk
        if len(data) > limit:
            raise AttachmentError(Omission.TOO_LARGE, f"more than {limit} bytes")
    expected = file.size if declared is None else declared
    if expected is not None and len(data) < expected:
        raise _later(f"{len(data)} of {expected} bytes")
    return bytes(data)


def _name_in(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])
