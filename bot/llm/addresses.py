"""Reads a server's URL: the host to show to people, and what kind of server is behind it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

# Their chat completions API documents `prompt_cache_key` ("Prompt caching" in the documentation of
# each); others might reject it.
_CACHE_KEY_HOSTS = ("api.openai.com", "openai.azure.com", "api.mistral.ai")
_LOCAL_ENDINGS = (".local", ".lan", ".internal", ".localhost", ".home.arpa")


def host_and_port(url: str) -> str:
    """The host and port of `url`, without user, password, path and query, which may be secret."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return f"{host}:{parts.port}" if parts.port else host


def is_local(url: str) -> bool:
    """Whether the server runs on this machine or its network, as Ollama and llama.cpp usually do.

    A host name without a dot counts as local, because it names a container or a machine on the
    network.
    """
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_ENDINGS)
    return address.is_loopback or address.is_private or address.is_link_local


def takes_cache_key(url: str) -> bool:
    """Whether chat completion requests to the server may contain a prompt cache key."""
    host = urlsplit(url).hostname or ""
    return any(host == known or host.endswith(f".{known}") for known in _CACHE_KEY_HOSTS)
