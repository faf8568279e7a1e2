"""The clock port."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """A clock that tests can control."""

    def time(self) -> float:
        """The time in Unix seconds, for the database."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for durations and rate limits."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...
