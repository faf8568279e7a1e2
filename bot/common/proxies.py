"""HTTP proxies from the environment: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.

All connections follow the same rules. The standard library reads the variables (lower case first).
Loopback addresses are never proxied.
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
# The message leaves out the value, which may contain a password.
INVALID_PROXY = "The proxy in HTTPS_PROXY (or HTTP_PROXY, ALL_PROXY) is not a valid address"
ADVICE = "write it as http://HOST:PORT."
_SCHEMES = {"https": "https", "wss": "https", "http": "http", "ws": "http"}


def proxy_for(url: str) -> str | None:
    """The URL of the proxy for `url`, possibly with a password; None for a direct connection."""
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
    """Like `proxy_for`, for clients that support HTTP proxies only. Raises CannotStart for other
    proxies."""
    proxy = proxy_for(url)
    if proxy is not None and not is_valid(proxy):
        raise CannotStart(f"{INVALID_PROXY}: {ADVICE}")
    if proxy is not None and urlsplit(proxy).scheme.lower() not in ("http", "https"):
        raise CannotStart(
            f"The proxy {redact(proxy)} is not an HTTP proxy: set HTTPS_PROXY to an http:// "
            f"address, or add {urlsplit(url).hostname} to NO_PROXY."
        )
    return proxy


def is_valid(proxy: str) -> bool:
    """Whether a proxy's URL has a host and a valid port."""
    try:
        parts = urlsplit(proxy)
        return bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", parts.netloc)
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether a host name or address is the local machine's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def keep_loopback_direct(environ: MutableMapping[str, str]) -> None:
    """Add loopback to NO_PROXY, for libraries that read the environment themselves."""
    excepted = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in excepted.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in LOOPBACK if host not in hosts]
    environ["no_proxy"] = environ["NO_PROXY"] = ",".join(hosts)


def check_route(subject: str, url: str) -> Finding:
    """Report to `doctor` whether requests to `url` go through a proxy."""
    host, proxy = urlsplit(url).hostname or url, proxy_for(url)
    if proxy is not None and not is_valid(proxy):
        return Finding(f"{subject} network", Verdict.FAILED, INVALID_PROXY, ADVICE)
    way = f"through the proxy {redact(proxy)}" if proxy else "directly"
    return Finding(f"{subject} network", Verdict.OK, f"{host} is reached {way}")


def redact(proxy: str) -> str:
    """A proxy's URL without its password."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
