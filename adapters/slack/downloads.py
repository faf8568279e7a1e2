"""Downloads the files in people's messages.

The bot's token goes only to Slack's own hosts, over TLS; redirects are followed one by one. If the
token gives no access to a file, Slack sends its sign-in page instead of an error, with status 200
or by a redirect.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NoReturn
from urllib.parse import urljoin, urlsplit

import aiohttp
import structlog

from adapters.slack import attachments as fields
from adapters.slack.api import SLACK_API, WebApi
from adapters.slack.errors import parse_retry_after
from adapters.slack.payloads import Payload, ident, text
from adapters.slack.rate_limits import FILE_DETAILS
from bot.common.proxies import http_proxy_for
from bot.domain.attachments import Download, Omission
from bot.domain.errors import AttachmentError, PlatformError, Throttled, Unsettled

log = structlog.stdlib.get_logger(__name__)

DOWNLOAD_SECONDS = 60.0
"""How long one attempt may take: 20 MB at 3 Mbit/s."""

RETRY_SECONDS = 5.0
"""The pause before the next attempt, unless Slack specifies one."""

SIGN_IN_SECONDS = 3.0
"""The pause before a second attempt after a sign-in page: Slack also sends it for a moment right
after an upload (reported by mautrix-slack, which waits 5 s)."""

TRANSCRIPT_PAUSES = (1.0, 2.0, 3.0)
"""Pauses between checks for a transcript that Slack is still writing, in seconds."""

MAX_REDIRECTS = 5
CHUNK = 65_536
HOSTS = ("slack.com", "slack-files.com", "slack-gov.com")
"""Hosts that receive the token, along with their subdomains; mainly files.slack.com."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_STATUSES: Mapping[int, Omission] = {
    401: Omission.NO_ACCESS,
    403: Omission.NO_ACCESS,
    404: Omission.GONE,
    410: Omission.GONE,
    413: Omission.TOO_LARGE,
}
# Error codes for deleted files and messages.
_MISSING = frozenset({"file_deleted", "file_not_found", "message_not_found", "thread_not_found"})
_SIGN_IN = "Slack sent its sign-in page"
_TIMES = "-->"  # between the times of a cue
_TAG = re.compile(r"<[^<>]*>")


def new_download_session() -> aiohttp.ClientSession:
    """A session for downloads, without cookies; the caller closes it.

    It does not decompress, so a small body cannot become a large one.
    """
    return aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())


class SlackFiles:
    """Downloads with the token and the settings of `api`; `seconds` limits one attempt."""

    def __init__(
        self, *, api: WebApi, session: aiohttp.ClientSession, seconds: float = DOWNLOAD_SECONDS
    ) -> None:
        self._api, self._session, self._seconds = api, session, seconds
        self._own = _origin(api.client.base_url or SLACK_API)

    async def download(self, locator: Mapping[str, str], limit: int) -> Download:
        """Download a file that `attachments.locator` describes. Raises AttachmentError.

        Returns the transcript as text/plain for recorded speech that has a complete one.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._download(locator, limit)
        except TimeoutError as error:
            raise AttachmentError(Omission.TIMED_OUT, retry_after=RETRY_SECONDS) from error
        except PlatformError as error:
            raise translate(error) from error

    async def _download(self, locator: Mapping[str, str], limit: int) -> Download:
        name = spoken = ""
        if "url" not in locator:
            file = await self._fetch_details(locator)
            if (data := fields.email(file)) is not None:
                return Download(data, "text/plain", fields.file_name(file))
            name, locator = fields.file_name(file), fields.locator(file)
            spoken = fields.transcript(file)
        if spoken := spoken or await self._transcript(locator, limit):
            return Download(spoken.encode(), "text/plain", name)
        found = await self._fetch_twice(locator, limit)
        return Download(found.data, _audio(found.media_type, locator), name)

    async def _fetch_details(self, locator: Mapping[str, str]) -> Payload:
        """Fetch a file's description from files.info; raises unless the file can be used."""
        if not (id_ := locator.get("file", "")):
            raise AttachmentError(Omission.GONE, "the locator has neither address nor id")
        file = (await self._api.read_paced(FILE_DETAILS, file=id_)).mapping("file")
        if not ident(file, "id"):
            raise Unsettled("Slack's response has no file")
        if (omission := fields.omission(file)) is not None:
            raise AttachmentError(omission)
        if not (text(file, "url_private_download") or text(file, "url_private")):
            raise AttachmentError(Omission.NO_ACCESS, "the file has no address")
        return {name: value for name, value in file.items() if name != "file_access"}

    # ── transcripts ───────────────────────────────────────────────────────────────────────────
    async def _transcript(self, locator: Mapping[str, str], limit: int) -> str:
        """Slack's transcript of recorded speech; "" if it is not ready in time, or unreadable."""
        try:
            for pause in (*TRANSCRIPT_PAUSES, None):
                if "vtt" in locator:
                    return vtt_text((await self._fetch(locator["vtt"], {}, limit)).data)
                if "speech" not in locator or pause is None:
                    break
                await self._api.clock.sleep(pause)
                file = await self._fetch_details(locator)
                if spoken := fields.transcript(file):
                    return spoken
                locator = fields.locator(file)
        except (AttachmentError, PlatformError) as error:
            log.info("no transcript", file=locator.get("file"), error=repr(error))
        return ""

    # ── HTTP ──────────────────────────────────────────────────────────────────────────────────
    async def _fetch_twice(self, locator: Mapping[str, str], limit: int) -> Download:
        try:
            return await self._fetch(locator["url"], locator, limit)
        except AttachmentError as error:
            if error.omission is not Omission.NO_ACCESS:
                raise
        await self._api.clock.sleep(SIGN_IN_SECONDS)
        try:
            return await self._fetch(locator["url"], locator, limit)
        except AttachmentError as error:
            if error.omission is Omission.NO_ACCESS:
                log.warning(
                    "no access to a file: is the scope files:read missing?",
                    file=locator.get("file"),
                    error=str(error),
                )
            raise

    async def _fetch(self, url: str, locator: Mapping[str, str], limit: int) -> Download:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._get(url) as response:
                if response.status in REDIRECTS:
                    url = self._redirect_target(url, response)
                    continue
                _check_status(response)
                _check_identity(response, locator)
                data = await _read(response, locator, limit)
                return Download(data, _content_type(response))
        raise AttachmentError(Omission.UNREACHABLE, "too many redirects")

    @asynccontextmanager
    async def _get(self, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Accept-Encoding": "identity"}
        try:
            if self._is_trusted(url):
                headers["Authorization"] = f"Bearer {await self._api.bearer()}"
            async with self._session.get(
                url, headers=headers, allow_redirects=False, proxy=http_proxy_for(url)
            ) as response:
                yield response
        except (aiohttp.InvalidURL, ValueError) as error:
            raise AttachmentError(Omission.UNREACHABLE, "the address is invalid") from error
        except (aiohttp.ClientError, OSError) as error:
            _raise_temporary(repr(error)[:200], error)

    def _is_trusted(self, url: str) -> bool:
        """Whether the token may be sent to this URL."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_slack = any(host == known or host.endswith(f".{known}") for known in HOSTS)
        return _origin(url) == self._own or (parts.scheme == "https" and is_slack)

    def _redirect_target(self, url: str, response: aiohttp.ClientResponse) -> str:
        """A redirect's target. Raises AttachmentError for the sign-in page, or for a target
        without TLS."""
        target = urljoin(url, response.headers.get("Location", ""))
        parts = urlsplit(target)
        is_file = parts.path.startswith("/files") or parts.hostname == "slack-files.com"
        if self._is_trusted(target) and not is_file:
            raise AttachmentError(Omission.NO_ACCESS, _SIGN_IN)
        if parts.scheme not in ("https", urlsplit(self._own).scheme):
            raise AttachmentError(Omission.UNREACHABLE, "a redirect without TLS")
        return target


def _origin(url: str) -> str:
    """An address's scheme, host and port; "" if it is invalid."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or ''}"
    except ValueError:
        return ""


def _check_status(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status == 429:
        wait = parse_retry_after(response.headers.get("Retry-After"))
        raise AttachmentError(Omission.UNREACHABLE, "429", retry_after=wait)
    if status >= 500:
        _raise_temporary(str(status))
    if status != 200:
        raise AttachmentError(_STATUSES.get(status, Omission.UNREACHABLE), str(status))


def _check_identity(response: aiohttp.ClientResponse, locator: Mapping[str, str]) -> None:
    """Raises AttachmentError if this is the sign-in page, or an error with status 200."""
    length, size = response.headers.get("Content-Length"), locator.get("size")
    is_other_length = bool(size and length and size != length)
    is_other_type = _content_type(response) != locator.get("type")
    if _content_type(response) == fields.HTML and (is_other_type or is_other_length):
        raise AttachmentError(Omission.NO_ACCESS, _SIGN_IN)
    if is_other_type and is_other_length:
        _raise_temporary("this is not the file")


async def _read(response: aiohttp.ClientResponse, locator: Mapping[str, str], limit: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise AttachmentError(Omission.UNREACHABLE, "the body is compressed")
    length = response.content_length
    if length is not None and length > limit:
        raise AttachmentError(Omission.TOO_LARGE, str(length))
    data = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        data += chunk
        if len(data) > limit:
            raise AttachmentError(Omission.TOO_LARGE, f"more than {limit}")
    is_framed = length is not None or response.headers.get("Transfer-Encoding")
    if not is_framed and len(data) < int(locator.get("size", 0)):
        _raise_temporary("the body is cut off")
    return bytes(data)


def _content_type(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _audio(media_type: str, locator: Mapping[str, str]) -> str:
    """The type of a body; Slack sends recorded audio as video/mp4."""
    is_audio = locator.get("type", "").startswith("audio/")
    return media_type.replace("video/", "audio/", 1) if is_audio else media_type


def _raise_temporary(detail: str, cause: Exception | None = None) -> NoReturn:
    raise AttachmentError(Omission.UNREACHABLE, detail, retry_after=RETRY_SECONDS) from cause


def translate(error: PlatformError) -> AttachmentError:
    """The error for a failed request to files.info or for a linked message."""
    if isinstance(error, Throttled):
        return AttachmentError(Omission.UNREACHABLE, "429", retry_after=error.retry_after)
    if isinstance(error, Unsettled):
        return AttachmentError(Omission.UNREACHABLE, str(error), retry_after=RETRY_SECONDS)
    log.warning("no access to a file or a linked message", error=str(error))
    return AttachmentError(Omission.GONE if error.code in _MISSING else Omission.NO_ACCESS)


def vtt_text(data: bytes) -> str:
    """The words of a WebVTT file."""
    spoken: list[str] = []
    is_cue = False
    for line in data.decode("utf-8-sig", errors="replace").splitlines():
        if not line.strip():
            is_cue = False
        elif _TIMES in line:
            is_cue = True
        elif is_cue:
            spoken += _TAG.sub("", line).split()
    return " ".join(spoken)
