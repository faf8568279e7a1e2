"""HTTP proxies from the environment: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.

One rule for every connection, in both spellings (lower case first), as the standard library reads
them. Loopback addresses are never proxied: what runs beside the bot is no proxy's business.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.request
from collections.abc import MutableMapping
from urllib.parse import urlsplit

from bot.domain.errors import CannotStart
from bot.domain.health import Finding, Verdict

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Without the value: it may hold a password.
NO_ADDRESS = "The proxy in HTTPS_PROXY (or HTTP_PROXY, ALL_PROXY) is no address"
ADVICE = "write it as http://HOST:PORT."
_SCHEMES = {"https": "https", "wss": "https", "http": "http", "ws": "http"}


def proxy_for(url: str) -> str | None:
    """The proxy on the way to `url`, as a URL that may hold its password; None for no proxy."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host or is_loopback(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(_SCHEMES.get(parts.scheme, "https")) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxy = proxy.strip()
    return proxy if "://" in proxy else f"http://{proxy.removeprefix('//')}"


def http_proxy_for(url: str) -> str | None:
    """As `proxy_for`, for clients that know HTTP proxies only; raises CannotStart for another."""
    proxy = proxy_for(url)
    if proxy is not None and not is_address(proxy):
        raise CannotStart(f"{NO_ADDRESS}: {ADVICE}")
    if proxy is not None and urlsplit(proxy).scheme.lower() not in ("http", "https"):
        raise CannotStart(
            f"The proxy {shown(proxy)} is no HTTP proxy: set HTTPS_PROXY to an http:// address, "
            f"or put {urlsplit(url).hostname} into NO_PROXY."
        )
    return proxy


def is_address(proxy: str) -> bool:
    """Whether a proxy can be connected to: it has a host, and its port is a port."""
    try:
        parts = urlsplit(proxy)
        return bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", parts.netloc)
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def keep_loopback_direct(environ: MutableMapping[str, str]) -> None:
    """Tell libraries that read the environment themselves what `proxy_for` knows."""
    excepted = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in excepted.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in LOOPBACK if host not in hosts]
    environ["no_proxy"] = environ["NO_PROXY"] = ",".join(hosts)


def finding(subject: str, url: str) -> Finding:
    """Which way requests to `url` go, for `doctor`."""
    host, proxy = urlsplit(url).hostname or url, proxy_for(url)
    if proxy is not None and not is_address(proxy):
        return Finding(f"{subject} network", Verdict.FAILED, NO_ADDRESS, ADVICE)
    way = f"through the proxy {shown(proxy)}" if proxy else "directly"
    return Finding(f"{subject} network", Verdict.OK, f"{host} is reached {way}")


def shown(proxy: str) -> str:
    """A proxy's address without its password."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
