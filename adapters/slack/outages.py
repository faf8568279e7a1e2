"""Reports, after each new connection, how long this process may have missed events."""

from __future__ import annotations

from collections.abc import Callable

from bot.ports.clock import Clock


class Outages:
    """Measures how long the connection is lost; `report` receives the seconds.

    An event that was under way when a connection ended may be lost: another process may fail to
    store it, too. Slack also replaces working connections.
    """

    def __init__(self, clock: Clock, report: Callable[[float], None]) -> None:
        self._clock, self._report = clock, report
        self._since: float | None = None

    def begin(self) -> None:
        """Record that the connection was lost."""
        self._since = self._clock.monotonic() if self._since is None else self._since

    def end(self) -> None:
        """Record that events arrive, for the first time or again."""
        now = self._clock.monotonic()
        self._report(now - (now if self._since is None else self._since))
        self._since = None
