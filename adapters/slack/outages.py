"""How long events may have been missing: what the cluster must read again, and whether Slack
redelivers all of them."""

from __future__ import annotations

from collections.abc import Callable

from bot.ports.clock import Clock

# Slack retries immediately, after one minute and after five more. An event from the beginning of an
# outage still arrives if the outage ends before the last retry; a minute is left for noticing that.
# https://docs.slack.dev/apis/events-api/
SHORT_OUTAGE = 240.0  # seconds
REDELIVERY_SECONDS = 420.0  # after this, no earlier event is redelivered
SILENCE_SECONDS = 45.0
"""Slack's second retry comes a minute after the first one; a silence before it may have been an
outage."""

LATE_ATTEMPT = 2
"""The second retry."""

MAX_SECONDS = 86_400.0
"""How far back to look for lost events; Slack stops delivering to a URL that fails for hours."""

DROPPED_SECONDS = (120.0, 120.0)
"""Slack says once a minute that it drops events: for how many seconds before and after that."""

OnLost = Callable[[float, float], None]
"""Receives for how many seconds before and after now Slack gives up events."""


def ignore_loss(_seconds: float, _lasts: float) -> None:
    """`OnLost` that does nothing."""


class Outages:
    """Measures how long the connection is lost; `report` receives the seconds after each new
    connection.

    An event that was under way when a connection ended may be lost: another process may fail to
    store it, too. Slack also replaces working connections.
    """

    def __init__(self, clock: Clock, report: Callable[[float], None]) -> None:
        self._clock, self._report = clock, report
        self._since: float | None = None

    def begin(self, seconds: float) -> None:
        """Record that the connection was lost within the last `seconds`."""
        now = self._clock.monotonic()
        self._since = now - seconds if self._since is None else self._since

    def end(self) -> None:
        """Record that events arrive, for the first time or again."""
        now = self._clock.monotonic()
        self._report(now - (now if self._since is None else self._since))
        self._since = None


class MissedRedeliveries:
    """Decides after an outage whether Slack redelivers its events.

    Outages that follow each other within the time of redeliveries count as one, because all
    attempts to deliver an event may fall into them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None
        self._ended_at: float | None = None

    def begin(self, seconds: float) -> None:
        """Record that the connection was lost within the last `seconds`."""
        now = self._clock.monotonic()
        is_over = self._ended_at is not None and now - self._ended_at > REDELIVERY_SECONDS
        if self._since is None or is_over:
            self._since = now - seconds
        self._ended_at = None

    def end(self) -> bool:
        """Record that events arrive again; return whether some may be lost, and must be read."""
        self._ended_at = self._clock.monotonic()
        if self._since is None or self._ended_at - self._since < SHORT_OUTAGE:
            return False
        self._since = None
        return True


class Arrivals:
    """Finds out by Slack's retries that deliveries over HTTP did not arrive for a while: there is
    no connection whose loss would show it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.time()  # which also counts while a machine sleeps
        self._silence: tuple[float, float] | None = None  # begin and end

    def note(self, attempt: int) -> float | None:
        """Record a delivery; return for how many seconds events may be lost, if any may be."""
        now = self._clock.time()
        before, self._last = self._last, now
        if self._silence is not None and now - self._silence[1] > REDELIVERY_SECONDS:
            self._silence = None
        if now - before >= SILENCE_SECONDS:
            begin = before if self._silence is None else self._silence[0]
            self._silence = (begin, now)
        if attempt < LATE_ATTEMPT or self._silence is None:
            return None
        begin, self._silence = self._silence[0], None
        return min(now - begin, MAX_SECONDS)
