"""Reports for how long this process got no events."""

from __future__ import annotations

from collections.abc import Callable

from bot.ports.clock import Clock


class Outages:
    """An event that was under way when the connection broke may be lost: another process may fail
    to store it, too. `report` gets the seconds.
    """

    def __init__(self, clock: Clock, report: Callable[[float], None]) -> None:
        self._clock, self._report = clock, report
        self._since: float | None = None

    def begin(self) -> None:
        """The connection is lost."""
        self._since = self._clock.monotonic() if self._since is None else self._since

    def end(self) -> None:
        """Events arrive, maybe again."""
        if self._since is not None:
            self._report(self._clock.monotonic() - self._since)
        self._since = None
