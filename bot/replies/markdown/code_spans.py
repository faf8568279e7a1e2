"""Code spans: pairs each run of backticks with the next run of the same length.

Invariant: finding partners takes linear time even if every run has a different length.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from re import Match

_RUN = re.compile("`+")


class BacktickRuns:
    """The backtick runs of one text, indexed by length when first needed."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts: dict[int, list[int]] | None = None

    def partner(self, at: int, length: int) -> int | None:
        """Offset of the first run of exactly `length` backticks at or after `at`, if any.

        `at` is where a run ends.
        """
        following = _RUN.search(self._text, at)
        if following is None or len(following.group()) == length:
            return following.start() if following else None
        if self._starts is None:
            self._starts = {}
            for run in _RUN.finditer(self._text, at):
                self._starts.setdefault(len(run.group()), []).append(run.start())
        starts = self._starts.get(length, [])
        index = bisect_left(starts, at)
        return starts[index] if index < len(starts) else None

    def span_end(self, run: Match[str]) -> int | None:
        """Offset after the code span that the matched `run` opens; None for an unpaired run."""
        partner = self.partner(run.end(), len(run[0]))
        return None if partner is None else partner + len(run[0])

    def spans(self) -> Iterator[tuple[int, int | None]]:
        """Start and end of each code span in order; end is None for an unpaired run."""
        at = 0
        while (run := _RUN.search(self._text, at)) is not None:
            end = self.span_end(run)
            yield run.start(), end
            at = run.end() if end is None else end
