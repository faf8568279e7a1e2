"""Reports since when this process may have lost events, with each new connection."""

from __future__ import annotations

from collections.abc import Callable

from bot.ports.clock import Clock


class Outages:
    """An event that was under way when a connection ended may be lost: another process may fail
    to store it, too. Slack replaces working connections as well. `report` gets the seconds.
    """

    def __init__(self, clock: Clock, report: Callable[[float], None]) -> None:
        self._clock, self._report = clock, report
        self._since: float | None = None

    def begin(self) -> None:
        """The connection is lost."""
        self._since = self._clock.monotonic() if self._since is None else self._since

    def end(self) -> None:
        """Events arrive, maybe again."""
        now = self._clock.monotonic()
        self._report(now - (now if self._since is None else self._since))
        self._since = None
