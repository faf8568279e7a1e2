"""What a server's address tells: its host for people, and whether it is one of our own; pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

_LOCAL_ENDINGS = (".local", ".lan", ".internal", ".localhost", ".home.arpa")


def host_and_port(url: str) -> str:
    """Without what else an address may hold: a password, a path with a key."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return f"{host}:{parts.port}" if parts.port else host


def is_local(url: str) -> bool:
    """Whether the server is on this machine or in this network, as Ollama and llama.cpp are.

    A name without a dot is a container's, or a machine's in the same network.
    """
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_ENDINGS)
    return address.is_loopback or address.is_private or address.is_link_local
