"""Host lookups in daemon threads, with the system's resolver replaced."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from bot.content.host_lookup import MAX_LOOKUPS, HostLookup

FOUND = [
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:4700:4700::1111", 0, 0, 0)),
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 0)),
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 0)),
]


def replace(monkeypatch: pytest.MonkeyPatch, look_up: Callable[[str], Any]) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, _port, **_: look_up(host))


async def test_all_addresses_are_returned_in_order_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace(monkeypatch, lambda _host: FOUND)
    found = await HostLookup()("page.test")
    assert list(found) == [ip_address("2606:4700:4700::1111"), ip_address("1.1.1.1")]


async def test_names_are_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, a search domain of the network could turn any name into an internal host."""
    asked: list[str] = []
    replace(monkeypatch, lambda host: asked.append(host) or FOUND)
    await HostLookup()("page.test")
    assert asked == ["page.test."]


async def test_names_of_the_local_network_are_looked_up_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only for these does the resolver consult the hosts file and search domains."""
    asked: list[str] = []
    replace(monkeypatch, lambda host: asked.append(host) or FOUND)
    await HostLookup(local=True)("wiki")
    assert asked == ["wiki"]


@pytest.mark.parametrize(
    "error",
    [socket.gaierror(socket.EAI_AGAIN, "later"), UnicodeError("label too long"), OSError("no")],
)
async def test_errors_are_os_errors(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(_host: str) -> None:
        raise error

    replace(monkeypatch, fail)
    with pytest.raises(OSError, match=str(error.args[-1])):
        await HostLookup()("page.test")


async def test_slow_lookups_occupy_a_bounded_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This holds even if the callers have given up: a slot is free only when its thread has
    ended."""
    release, busy = threading.Event(), threading.Semaphore(0)

    def wait(_host: str) -> Any:
        busy.release()
        assert release.wait(60)
        return FOUND

    replace(monkeypatch, wait)
    lookup = HostLookup()
    tasks = [asyncio.create_task(lookup("page.test")) for _ in range(2 * MAX_LOOKUPS)]
    for _ in range(MAX_LOOKUPS):
        await asyncio.to_thread(busy.acquire)
    for task in tasks[:MAX_LOOKUPS]:
        task.cancel()
    await asyncio.gather(*tasks[:MAX_LOOKUPS], return_exceptions=True)
    threads = [each for each in threading.enumerate() if each.name == "lookup page.test"]
    assert len(threads) == MAX_LOOKUPS
    assert all(thread.daemon for thread in threads)
    release.set()
    for task in tasks[MAX_LOOKUPS:]:
        assert len(await task) == 2
