"""How old the oldest text is that nobody has seen yet: the fair order among interim edits.

Invariant: the age is never younger than the truth, and what is remembered is bounded.
"""

from __future__ import annotations

from collections import deque

GRAIN = 0.01
"""Seconds in which writes count as one: well below what an order of edits could show."""

MOST_MARKS = 1_024
"""Ten seconds of writes at the grain; what comes later counts as old as the last of them."""


class Ages:
    """When each part of a growing text was written, as far as it is not on the screen."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque()  # (end of the part, when it was written)
        self._seen = 0

    def wrote(self, end: int, at: float) -> None:
        """The text reaches to offset `end` since the time `at`."""
        if self._marks:
            _, since = self._marks[-1]
            if at - since < GRAIN or len(self._marks) >= MOST_MARKS:
                self._marks[-1] = (end, since)
                return
        self._marks.append((end, at))

    def saw(self, end: int) -> None:
        """The screen shows the text up to offset `end`."""
        self._seen = end
        while self._marks and self._marks[0][0] <= end:
            self._marks.popleft()

    def oldest(self, now: float) -> float:
        """When the oldest unseen text was written; `now` if all is seen."""
        return self._marks[0][1] if self._marks else now
