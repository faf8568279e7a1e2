"""Tracks when a reply's oldest unseen text was written, for a fair order of interim requests.

Invariant: the reported age is never too low, and memory is bounded.
"""

from __future__ import annotations

from collections import deque

GRAIN = 0.01
"""Writes within this many seconds count as one: far below any visible difference."""

MAX_MARKS = 1_024
"""Ten seconds of writes at this grain; later text counts as old as the last mark."""


class UnseenText:
    """Remembers when each part of a growing text was written until the part is on the screen."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque()  # (end of the part, when it was written)

    def text_written(self, end: int, at: float) -> None:
        """Record that the text reached offset `end` at the time `at`."""
        if self._marks:
            _, since = self._marks[-1]
            if at - since < GRAIN or len(self._marks) >= MAX_MARKS:
                self._marks[-1] = (end, since)
                return
        self._marks.append((end, at))

    def text_shown(self, end: int) -> None:
        """Record that the screen shows the text up to offset `end`."""
        while self._marks and self._marks[0][0] <= end:
            self._marks.popleft()

    @property
    def since(self) -> float | None:
        """When the oldest unseen text was written; None if all text is visible."""
        return self._marks[0][1] if self._marks else None

    def oldest(self, now: float) -> float:
        """When the oldest unseen text was written; `now` if all text is visible."""
        return now if self.since is None else self.since
