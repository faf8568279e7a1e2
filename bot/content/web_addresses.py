"""Decides which web addresses may be read: public ones, on web ports, on permitted hosts. Pure.

Invariant: the bot connects to the host that it checked. One parser (yarl) reads a link; a host that
it does not reduce to a plain domain name or a canonical IP address is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from yarl import URL

from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError

IPAddress = IPv4Address | IPv6Address

MAX_URL = 8_192
"""The longest link or redirect: what web servers accept as a request line by default."""

MAX_AUTHORITY = 512
"""The longest host with its port. A name has 253 characters; parsing an international one of
32,000, as a redirect may have, takes 50 ms."""

_AUTHORITY = re.compile(r"//([^/?#]*)")

WEB_PORTS = frozenset({80, 443, 8080, 8443})
"""The ports of web servers. If any port were allowed, people could make the bot scan other
machines, or send lines to servers of other protocols from the bot's network."""

# ── addresses ─────────────────────────────────────────────────────────────────────────────────
# `is_global` of the oldest Python that runs this (3.11.0) counts some of these as global.
# https://www.iana.org/assignments/iana-ipv4-special-registry
_NOT_PUBLIC_4 = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers; metadata of Alibaba Cloud
        "127.0.0.0/8",
        "168.63.129.16/32",  # the host of a virtual machine in Azure
        "169.254.0.0/16",  # metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # metadata of Oracle Cloud
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The only part of IPv6 assigned to public hosts. Mapped and NAT64 addresses (64:ff9b::/96,
64:ff9b:1::/48), unique local, site-local, link-local and multicast addresses are outside."""
# https://www.iana.org/assignments/iana-ipv6-special-registry
_NOT_PUBLIC_6 = tuple(
    IPv6Network(net)
    for net in (
        "2001::/23",  # Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4: contains an IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""Bits 64 to 95 of an ISATAP address, whose last bits are an IPv4 address (RFC 5214)."""


def is_public(address: IPAddress) -> bool:
    """Whether an address belongs to a host on the internet rather than to any nearer network."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in net for net in _NOT_PUBLIC_4)
    if address.scope_id is not None or address not in _GLOBAL_UNICAST:
        return False
    is_isatap = (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP
    return not is_isatap and not any(address in net for net in _NOT_PUBLIC_6)


# ── links ─────────────────────────────────────────────────────────────────────────────────────
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?!(?:[0-9]+|0x[0-9a-f]*)\Z){_LABEL}")
"""At least two labels, the last of which is not a number: resolvers read 127.1, 0x7f.1 and
017700000001 as IPv4 addresses. A name without a dot belongs to the bot's own network."""


@dataclass(frozen=True, slots=True)
class Target:
    """A checked link; only its host's addresses are still unchecked.

    `host` is a lower-case ASCII name or a canonical IP address; in the latter case `address` is
    set. `is_private`: the operator lists the host as one whose address may be private.
    """

    url: URL
    host: str
    port: int
    address: IPAddress | None
    is_private: bool = False

    @property
    def uses_tls(self) -> bool:
        """Whether the link is https."""
        return self.url.scheme == "https"


class PrivateHosts:
    """The operator's hosts whose addresses may be private: exactly these, without subdomains.

    An entry is HOST or HOST:PORT. With a port, only that port may be read; without, all web ports.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._ports: dict[str, set[int]] = {}
        for entry in entries:
            host, port = _host_and_port(entry)
            self._ports.setdefault(_entry(host), set()).update(port or WEB_PORTS)

    def has(self, host: str, port: int) -> bool:
        """Whether an entry names this host, in the form of `Target.host`, and this port."""
        return port in self._ports.get(host, ())


def _host_and_port(entry: str) -> tuple[str, set[int]]:
    """Split an entry; more than one colon without brackets means an IPv6 address."""
    host, _, port = entry.strip().rpartition(":")
    if port.isdecimal() and (host.endswith("]") or ":" not in host) and host:
        return host, {int(port)}
    return entry, set()


NO_PRIVATE_HOSTS = PrivateHosts()


def parse_link(text: str, private: PrivateHosts = NO_PRIVATE_HOSTS) -> Target:
    """Check the form of a link. Raises AttachmentError."""
    if not text.isprintable():
        raise AttachmentError(Omission.UNREACHABLE, "not a link")
    return check_link(parse_url(text), private)


def parse_url(text: str) -> URL:
    """Parse a link or the address of a redirect, in bounded time. Raises AttachmentError."""
    authority = _AUTHORITY.search(text)
    is_long = len(text) > MAX_URL or (authority and len(authority[1]) > MAX_AUTHORITY)
    try:
        if not is_long:
            return URL(text)
    except ValueError as error:
        raise AttachmentError(Omission.UNREACHABLE, "not a link") from error
    raise AttachmentError(Omission.UNREACHABLE, "a link that is too long")


def check_link(url: URL, private: PrivateHosts = NO_PRIVATE_HOSTS) -> Target:
    """Check a parsed link or redirect. Raises AttachmentError."""
    if url.scheme not in ("http", "https"):
        raise _forbidden(f"the scheme {url.scheme[:20]!r}")
    if "@" in url.raw_authority:
        raise _forbidden("a user name in a link")
    host, port = (url.raw_host or "").lower(), url.port
    if port is None or not url.raw_path_qs.isascii() or len(url.raw_path_qs) > 3 * MAX_URL:
        raise AttachmentError(Omission.UNREACHABLE, "not a link")
    address = _literal(host)
    if address is not None:
        return Target(url, str(address), port, address, private.has(str(address), port))
    name = host.removesuffix(".")
    is_private = private.has(name, port)
    if not is_private and not _DOMAIN.fullmatch(name):
        raise _forbidden(f"the host {host[:100]!r}")
    return Target(url.with_host(name), name, port, None, is_private)


def _literal(host: str) -> IPAddress | None:
    """The address if `host` is one in canonical form; `ip_address` refuses other IPv4 spellings.

    An address with a zone (fe80::1%eth0) is rejected: the zone names an interface of this machine.
    """
    if "%" in host:
        return None
    try:
        return ip_address(host)
    except ValueError:
        return None


def _forbidden(what: str) -> AttachmentError:
    return AttachmentError(Omission.FORBIDDEN_ADDRESS, f"{what} is not read")


# ── lists of hosts ────────────────────────────────────────────────────────────────────────────
class HostRules:
    """The operator's lists of hosts. An entry includes its subdomains, and denied hosts win."""

    def __init__(self, *, allowed: Iterable[str] = (), denied: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(_entry, allowed))
        self._denied = frozenset(map(_entry, denied))

    def permit(self, target: Target) -> bool:
        """Whether the lists permit the host of `target`; a private host needs no further entry."""
        names = {target.host} if target.address else _with_parents(target.host)
        if names & self._denied:
            return False
        return target.is_private or not self._allowed or bool(names & self._allowed)


def _with_parents(host: str) -> set[str]:
    """`host` and its parent domains. An IP address has no parents."""
    labels = host.split(".")
    return {".".join(labels[start:]) for start in range(len(labels))}


def _entry(name: str) -> str:
    """Normalize an entry like `Target.host`; accepts *.example.org, .example.org and IDN."""
    name = name.strip().strip("[]").removeprefix("*").strip(".").lower()
    address = _literal(name)
    if address is not None:
        return str(address)
    try:
        return (URL.build(scheme="http", host=name).raw_host or "").lower()
    except ValueError:
        return name
