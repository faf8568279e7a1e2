"""Downloads pages that people link to, from public addresses and the operator's private hosts.

Invariants: a host is resolved once per request, every address is checked, and the connection goes
to a checked address; each redirect passes the same checks. Nothing identifies the bot's owner or
network: no cookies, credentials, referrer or proxy. A page is the content of the first response:
scripts, HTML refreshes and login forms are not followed.

A private host is read only if a link names it or another private host redirects to it. A redirect
from a public page to a private host is refused, or the page's owner could choose what the bot
requests in the operator's network.

Redirects from https to http are followed: plain http links are read as well, the content is
untrusted in either case, and the request contains only the address, which the server sent.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from email.utils import parsedate_to_datetime

import h11

from bot.content import web_body
from bot.content.host_lookup import HostLookup
from bot.content.web_addresses import (
    NO_PRIVATE_HOSTS,
    WEB_PORTS,
    HostRules,
    IPAddress,
    PrivateHosts,
    Target,
    check_link,
    is_public,
    parse_link,
    parse_url,
)
from bot.content.web_response import WebResponse, get
from bot.domain.attachments import Download, Omission
from bot.domain.errors import AttachmentError
from bot.ports.clock import Clock

MAX_BYTES = 5 * 1024 * 1024
"""The longest unpacked body: longer than any page written for people, and most PDFs."""

MAX_SECONDS = 10.0
"""Seconds from the lookup to the last byte, including redirects, but not the wait for a slot."""

MAX_REDIRECTS = 5

MAX_REQUESTS = 8
"""Concurrent requests: at most 40 MB of bodies in memory."""

MAX_REQUESTS_PER_HOST = 2
"""Concurrent requests to one host: few, so that people cannot attack it through the bot."""

RETRY_SECONDS = 5.0
"""Seconds to wait after a temporary failure, if the server suggests no time."""

LONGEST_RETRY_SECONDS = 3_600.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NO_ACCESS = frozenset({401, 402, 403, 407, 451})
_GONE = frozenset({404, 410})
_TRY_AGAIN = frozenset({408, 425, 429})
_UNKNOWN_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class PublicLinkReader:
    """Implements `bot.ports.attachments.LinkReader`.

    `allowed_hosts` and `denied_hosts` include their subdomains; with no allowed hosts, all are
    allowed. `private_hosts`: see `bot.content.web_addresses.PrivateHosts`. The arguments from
    `resolve` on are for tests, which serve pages on loopback addresses: `resolve` returns a host's
    addresses or raises OSError.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        allowed_hosts: Iterable[str] = (),
        denied_hosts: Iterable[str] = (),
        private_hosts: Iterable[str] = (),
        resolve: Callable[[str], Awaitable[Sequence[IPAddress]]] | None = None,
        is_allowed_address: Callable[[IPAddress], bool] = is_public,
        ports: Container[int] = WEB_PORTS,
        tls: ssl.SSLContext | None = None,
        seconds: float = MAX_SECONDS,
    ) -> None:
        self._clock = clock
        self._rules = HostRules(allowed=allowed_hosts, denied=denied_hosts)
        self._private = PrivateHosts(private_hosts)
        self._resolve = resolve or HostLookup()
        self._resolve_private = resolve or HostLookup(local=True)
        self._is_allowed_address = is_allowed_address
        self._ports = ports
        self._tls = tls
        self._seconds = seconds
        self._slots = _Slots()

    async def download(self, url: str, *, limit: int) -> Download:
        """Download the body at `url`, at most `limit` bytes and 5 MB. Raises AttachmentError."""
        target = parse_link(url, self._private)
        self._require_permitted(target)
        try:
            async with asyncio.timeout(self._seconds) as deadline:
                return await self._follow(target, min(limit, MAX_BYTES), deadline)
        except TimeoutError as error:
            raise AttachmentError(Omission.TIMED_OUT, target.host) from error

    async def aclose(self) -> None:
        """Do nothing: no connection stays open between downloads."""

    # ── redirects ─────────────────────────────────────────────────────────────────────────────
    async def _follow(self, target: Target, limit: int, deadline: asyncio.Timeout) -> Download:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._slots.hold(target.host, deadline):
                found = await self._request(target, limit)
            if isinstance(found, Download):
                return found
            target = found
        raise AttachmentError(Omission.UNREACHABLE, "too many redirects")

    async def _request(self, target: Target, limit: int) -> Download | Target:
        """Send one request; return the body or the target of a redirect."""
        self._require_permitted(target)
        addresses = await self._addresses(target)
        tls = await self._get_tls() if target.uses_tls else None
        try:
            # Twice the limit, because chunk headers add to the received bytes.
            async with get(target, addresses, tls, max_bytes=2 * limit + 2**16) as response:
                return await self._read(target, response, limit)
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise AttachmentError(Omission.UNREACHABLE, f"{target.host}: {error}") from error
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise _unreachable(target.host, error) from error
        except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
            raise AttachmentError(Omission.UNREACHABLE, f"{target.host}: {error}") from error

    async def _read(self, target: Target, response: WebResponse, limit: int) -> Download | Target:
        if response.status in _REDIRECTS and "location" in response.headers:
            private = self._private if target.is_private else NO_PRIVATE_HOSTS
            return _redirect(target, response.headers["location"], private)
        self._require_success(response)
        media_type = web_body.media_type_of(response.headers)
        name = web_body.name_of(target.url, response.headers)
        web_body.require_readable(media_type, name)
        data = await web_body.read_body(response.pieces(), response.headers, limit=limit)
        return Download(data=data, media_type=media_type, name=name)

    def _require_success(self, response: WebResponse) -> None:
        status, detail = response.status, f"status {response.status}"
        if status in (204, 205):
            raise AttachmentError(Omission.EMPTY, detail)
        if status in _NO_ACCESS:
            raise AttachmentError(Omission.NO_ACCESS, detail)
        if status in _GONE:
            raise AttachmentError(Omission.GONE, detail)
        if status in _TRY_AGAIN or status >= 500:
            wait = self._retry_after(response.headers.get("retry-after", ""))
            raise AttachmentError(Omission.UNREACHABLE, detail, retry_after=wait)
        if not 200 <= status < 300 or status == 206:
            raise AttachmentError(Omission.UNREACHABLE, detail)

    def _retry_after(self, value: str) -> float:
        """The seconds from a Retry-After header, which contains a number or a date."""
        try:
            if value.strip().isdecimal():
                wait = float(value)
            else:
                wait = parsedate_to_datetime(value).timestamp() - self._clock.time()
        except (ValueError, OverflowError):
            wait = RETRY_SECONDS
        return min(max(wait, 1.0), LONGEST_RETRY_SECONDS)

    # ── what may be connected to ──────────────────────────────────────────────────────────────
    def _require_permitted(self, target: Target) -> None:
        if target.port not in self._ports and not target.is_private:
            raise AttachmentError(Omission.FORBIDDEN_ADDRESS, f"port {target.port}")
        if not self._rules.permit(target):
            raise AttachmentError(Omission.FORBIDDEN_ADDRESS, f"{target.host}: lists of hosts")

    async def _addresses(self, target: Target) -> Sequence[IPAddress]:
        """The host's addresses. One forbidden address rejects them all: an honest host has none."""
        if target.address is not None:
            addresses: Sequence[IPAddress] = (target.address,)
        else:
            addresses = await self._look_up(target)
        for address in addresses:
            if not (target.is_private or self._is_allowed_address(address)):
                raise AttachmentError(Omission.FORBIDDEN_ADDRESS, f"{target.host} at {address}")
        return addresses

    async def _look_up(self, target: Target) -> Sequence[IPAddress]:
        host = target.host
        resolve = self._resolve_private if target.is_private else self._resolve
        try:
            addresses = await resolve(host)
        except TimeoutError:
            raise
        except OSError as error:
            unknown = isinstance(error, socket.gaierror) and error.errno in _UNKNOWN_HOST
            wait = None if unknown else RETRY_SECONDS
            raise AttachmentError(Omission.UNREACHABLE, host, retry_after=wait) from error
        if not addresses:
            raise AttachmentError(Omission.UNREACHABLE, f"{host} has no address")
        return addresses

    async def _get_tls(self) -> ssl.SSLContext:
        if self._tls is None:
            # Reading the certificates takes about 20 ms.
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls


def _redirect(target: Target, location: str, private: PrivateHosts = NO_PRIVATE_HOSTS) -> Target:
    """The target of a redirect. Servers send UTF-8, which h11 decodes as Latin-1."""
    try:
        location = location.encode("latin-1").decode("utf-8", "replace")
        return check_link(target.url.join(parse_url(location)), private)
    except ValueError as error:
        raise AttachmentError(Omission.UNREACHABLE, "a malformed redirect") from error


def _unreachable(host: str, error: OSError) -> AttachmentError:
    detail = f"{host}: {error or type(error).__name__}"
    return AttachmentError(Omission.UNREACHABLE, detail, retry_after=RETRY_SECONDS)


class _Slots:
    """Limits concurrent requests, and keeps nothing about idle hosts.

    The slot of the host is taken first, so requests waiting for a slow host do not block other
    hosts.
    """

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(MAX_REQUESTS)
        self._hosts: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def hold(self, host: str, deadline: asyncio.Timeout) -> AsyncIterator[None]:
        """Take a slot for `host`; the wait for it does not count towards `deadline`."""
        own = self._hosts.setdefault(host, asyncio.Semaphore(MAX_REQUESTS_PER_HOST))
        self._users[host] += 1
        try:
            async with AsyncExitStack() as stack:
                await _without_deadline(stack.enter_async_context(own), deadline)
                await _without_deadline(stack.enter_async_context(self._all), deadline)
                yield
        finally:
            self._users[host] -= 1
            if not self._users[host]:
                del self._users[host], self._hosts[host]


async def _without_deadline(work: Awaitable[object], deadline: asyncio.Timeout) -> None:
    """Await `work`, and postpone `deadline` by the time that takes."""
    loop, due = asyncio.get_running_loop(), deadline.when()
    start = loop.time()
    deadline.reschedule(None)
    await work
    if due is not None:
        deadline.reschedule(due + loop.time() - start)
