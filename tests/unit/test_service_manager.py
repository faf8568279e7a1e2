"""What the bot reports to the service manager (systemd), over a real socket."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Iterator

import pytest

from bot.operation.service_manager import START_SECONDS, ServiceManager
from tests.support.clock import ManualClock


class Listener:
    """A service manager's socket in the abstract namespace."""

    def __init__(self) -> None:
        self.address = f"@threadline-{uuid.uuid4()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:])
        self._socket.setblocking(False)

    def received(self) -> list[str]:
        found: list[str] = []
        try:
            while True:
                found += self._socket.recv(4_096).decode().splitlines()
        except BlockingIOError:
            return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.mark.parametrize(
    ("environ", "watchdog"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),  # another process's
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_read_from_the_environment(
    environ: dict[str, str], watchdog: float | None
) -> None:
    manager = ServiceManager.from_environ({"NOTIFY_SOCKET": "/run/systemd/notify", **environ}, 7)
    assert manager is not None and manager.watchdog == watchdog
    assert ServiceManager.from_environ(environ, 7) is None


def test_a_service_manager_that_is_gone_costs_nothing(listener: Listener) -> None:
    """The bot never waits for it, even if it does not read."""
    ServiceManager("/nowhere/at/all").notify("READY=1")
    manager = ServiceManager(listener.address)
    for _ in range(10_000):
        manager.notify("WATCHDOG=1")
    assert set(listener.received()) == {"WATCHDOG=1"}


async def test_the_watchdog_is_fed_only_while_the_bot_is_alive(listener: Listener) -> None:
    clock, alive, starting, status = ManualClock(), True, True, "slack waits"
    manager = ServiceManager(listener.address, watchdog=6.0)

    async def is_alive() -> bool:
        return alive

    running = asyncio.create_task(
        manager.run(clock, is_starting=lambda: starting, is_alive=is_alive, status=lambda: status)
    )
    await clock.advance(5)
    assert listener.received() == []
    starting, status = False, "slack works"
    await clock.advance(1)
    assert listener.received()[:3] == ["READY=1", "STATUS=slack works", "WATCHDOG=1"]
    await clock.advance(2)
    assert listener.received() == ["WATCHDOG=1"]
    alive, status = False, "slack waits"
    await clock.advance(20)
    assert listener.received() == ["STATUS=slack waits"]
    alive = True
    await clock.advance(2)
    assert listener.received() == ["WATCHDOG=1"]
    manager.stopping()
    assert listener.received() == ["STOPPING=1", "STATUS=finishing running answers"]
    running.cancel()


async def test_an_outage_at_the_start_does_not_keep_systemd_waiting(listener: Listener) -> None:
    clock = ManualClock()

    async def is_alive() -> bool:
        raise AssertionError("there is no watchdog")

    manager = ServiceManager(listener.address)
    running = asyncio.create_task(
        manager.run(clock, is_starting=lambda: True, is_alive=is_alive, status=lambda: "waits")
    )
    await clock.advance(START_SECONDS + 1)
    assert listener.received()[0] == "READY=1"
    running.cancel()
