"""The clock port."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time, so that tests can hold it."""

    def time(self) -> float:
        """Unix seconds, for what is stored."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for budgets and limits."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
