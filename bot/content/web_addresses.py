"""Which web addresses may be read: public ones, on web ports, on permitted hosts. Pure.

Invariant: the host that is checked is the host that is connected to. One parser (yarl) reads a
link; what it does not reduce to a plain domain name or a canonical IP address is refused.
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
"""Characters of a link or redirect: what web servers accept as a request line by default."""

WEB_PORTS = frozenset({80, 443, 8080, 8443})
"""The ports of web servers. With any port, people could make the bot scan the ports of other
machines, or send lines to servers of other protocols, in the name of the bot's network."""

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
"""The only part of IPv6 that is assigned to public hosts. Mapped and NAT64 addresses
(64:ff9b::/96, 64:ff9b:1::/48), unique local, site-local, link-local and multicast are outside."""
# https://www.iana.org/assignments/iana-ipv6-special-registry
_NOT_PUBLIC_6 = tuple(
    IPv6Network(net)
    for net in (
        "2001::/23",  # Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4: has an IPv4 address inside
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""Bits 64 to 95 of an ISATAP address, which has an IPv4 address in its last bits (RFC 5214)."""


def is_public(address: IPAddress) -> bool:
    """Whether an address belongs to a host on the internet, and to nothing nearer."""
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
"""Two labels or more. The last one is not a number: resolvers read 127.1, 0x7f.1 and 017700000001
as IPv4 addresses. A name without a dot is one of the bot's own network."""


@dataclass(frozen=True, slots=True)
class Target:
    """A link that was checked, except for the addresses of its host.

    `host` is a lower-case ASCII name or a canonical IP address; `address` is set for the latter.
    `is_private`: the operator lists it as a host whose address may be private.
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

    An entry is HOST or HOST:PORT. With a port, that one may be read; without, the web ports may.
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
    """An entry's parts; more than one colon without brackets is an IPv6 address."""
    host, _, port = entry.strip().rpartition(":")
    if port.isdecimal() and (host.endswith("]") or ":" not in host) and host:
        return host, {int(port)}
    return entry, set()


NO_PRIVATE_HOSTS = PrivateHosts()


def parse_link(text: str, private: PrivateHosts = NO_PRIVATE_HOSTS) -> Target:
    """Check a link's form. Raises AttachmentError."""
    if len(text) > MAX_URL or not text.isprintable():
        raise AttachmentError(Omission.UNREACHABLE, "not a link")
    try:
        url = URL(text)
    except ValueError as error:
        raise AttachmentError(Omission.UNREACHABLE, "not a link") from error
    return check_link(url, private)


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
    """The address that `host` spells canonically; `ip_address` refuses other spellings of IPv4.

    An address with a zone (fe80::1%eth0) is not one: the zone names an interface of this machine.
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
    """The operator's lists of hosts; an entry includes its subdomains, and a denied host wins."""

    def __init__(self, *, allowed: Iterable[str] = (), denied: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(_entry, allowed))
        self._denied = frozenset(map(_entry, denied))

    def permit(self, target: Target) -> bool:
        """Whether the lists permit the host of `target`; a private one needs no other entry."""
        names = {target.host} if target.address else _with_parents(target.host)
        if names & self._denied:
            return False
        return target.is_private or not self._allowed or bool(names & self._allowed)


def _with_parents(host: str) -> set[str]:
    """`host` and the domains above it. An IP address has none: its end is not its network."""
    labels = host.split(".")
    return {".".join(labels[start:]) for start in range(len(labels))}


def _entry(name: str) -> str:
    """A list's entry in the form of `Target.host`: *.example.org, .example.org and IDN, too."""
    name = name.strip().strip("[]").removeprefix("*").strip(".").lower()
    address = _literal(name)
    if address is not None:
        return str(address)
    try:
        return (URL.build(scheme="http", host=name).raw_host or "").lower()
    except ValueError:
        return name
