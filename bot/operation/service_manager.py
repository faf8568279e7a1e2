"""Tells systemd that the bot is ready, stopping and alive (sd_notify).

The protocol is one datagram of lines to the socket named by NOTIFY_SOCKET:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html

Invariant: the watchdog is fed only by the event loop, and only while an SQLite file's thread
answers, even if with an error. So systemd restarts a bot whose loop or thread hangs, but not one
that waits for a full disk, a server or a platform, because a restart would not help there.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Mapping

import structlog

from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

START_SECONDS = 60.0
"""Seconds that READY=1 waits for platforms that are still connecting: less than systemd's default
start limit of 90 s, so that a platform's outage does not end the process."""

STATUS_SECONDS = 10.0
"""Seconds between status updates if there is no watchdog."""

POLL_SECONDS = 0.1
"""Seconds between checks of platforms that are still connecting."""


class ServiceManager:
    """Notifies the socket at `address`. `watchdog` is its time limit in seconds, if there is one.

    An address that starts with @ is in the abstract namespace.
    """

    def __init__(self, address: str, watchdog: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog = watchdog
        self._status = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], process: int) -> ServiceManager | None:
        """The manager that started `process`; None if it does not wait for notifications."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address:
            return None
        limit = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(process)) == str(process)
        return cls(address, int(limit) / 1e6 if is_ours and limit.isdigit() else None)

    def notify(self, *states: str) -> None:
        """Send `states`, such as READY=1. Raises nothing: if the manager is gone, they are lost."""
        datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError), datagram as sending:
            sending.setblocking(False)
            sending.sendto("\n".join(states).encode(), self._address)

    def stopping(self) -> None:
        """Report that the bot is draining and will then end."""
        self.notify("STOPPING=1", "STATUS=finishing running answers")

    async def run(
        self,
        clock: Clock,
        *,
        is_starting: Callable[[], bool],
        is_alive: Callable[[], Awaitable[bool]],
        status: Callable[[], str],
    ) -> None:
        """Report the start, then feed the watchdog three times per limit, until cancelled.

        `is_starting`: some part has neither served nor failed yet. `is_alive` decides whether to
        feed; it may take any amount of time, and systemd counts that time.
        """
        until = clock.monotonic() + START_SECONDS
        while is_starting() and clock.monotonic() < until:
            await clock.sleep(POLL_SECONDS)
        self.notify("READY=1", f"STATUS={status()}")
        while True:
            if self.watchdog is not None and await is_alive():
                self.notify("WATCHDOG=1")
            self._report(status())
            await clock.sleep(self.watchdog / 3 if self.watchdog is not None else STATUS_SECONDS)

    def _report(self, status: str) -> None:
        if status != self._status:
            self._status = status
            self.notify(f"STATUS={status}")
