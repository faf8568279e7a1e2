"""Chooses where a page ends: full enough, and splitting as little as possible.

Invariant: the choice depends only on the text up to the point where the page is known to be too
long, never on how the text arrived.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from bot.replies.markdown.blocks import BlockTree
from bot.replies.paging.page_breaks import BreakQuality, PageBreak, block_breaks
from bot.replies.paging.text_breaks import GRAPHEME, forced_breaks, word_breaks

WELL_FILLED = 0.6
"""From this share of a page on, the page may end at the best break instead of the last one."""

THIN = 0.25
"""If the page would be emptier than this share, it ends in the middle of a word instead."""

NEAR = 1_200
"""Characters before a page's end to search first for word breaks: enough to end a sentence."""


def best_break(
    text: str, fill: Callable[[str], float], resume_points: Sequence[int] = (0,)
) -> PageBreak:
    """The best break in `text`, which is too long for one page.

    `fill` returns the share of a page that some Markdown takes (above 1 if it does not fit).
    `resume_points` are offsets from which inline markup may be parsed (`MendedText.resume`).
    """
    tree = BlockTree(text)
    candidates = _Candidates(text, fill)
    candidates.add(block_breaks(tree))
    begin, near = candidates.last, max(candidates.last, len(text) - NEAR)

    def words_from(offset: int) -> _Candidates:
        return candidates.add(word_breaks(tree, offset, resume_points))

    def forced_from(offset: int) -> _Candidates:
        return candidates.add(forced_breaks(tree, begin, offset, resume_points))

    return (
        candidates.best(worst=BreakQuality.LINE)
        or words_from(near).best(worst=BreakQuality.EMPHASIS)
        or words_from(begin).best(worst=BreakQuality.WORD)
        or candidates.latest(worst=BreakQuality.EMPHASIS)
        or forced_from(near).best(worst=BreakQuality.ATOMIC)
        or forced_from(begin).best(worst=BreakQuality.ATOMIC)
        or candidates.hard_break()
    )


class _Candidates:
    """The breaks found so far at which the page fits."""

    def __init__(self, text: str, fill: Callable[[str], float]) -> None:
        self._text, self._fill = text, fill
        self._breaks: list[PageBreak] = []
        self._fills: dict[str, float] = {}  # rendering is the most expensive part

    @property
    def last(self) -> int:
        """Offset of the last break that fits."""
        return self._breaks[-1].at if self._breaks else 0

    def add(self, breaks: Iterable[PageBreak]) -> _Candidates:
        """Add those of `breaks` that fit; a later break fills the page more."""
        new = sorted(breaks, key=lambda each: each.at)
        ends = [each.at for each in new]
        fitting = _count_fitting(ends, lambda index: self._fill_at(new[index]), len(self._text))
        self._breaks = sorted(self._breaks + new[:fitting], key=lambda each: each.at)
        return self

    def best(self, *, worst: BreakQuality) -> PageBreak | None:
        """The last break of the best quality that leaves a well-filled page."""
        good = [each for each in self._breaks if each.quality <= worst]
        good.sort(key=lambda each: (each.quality, -each.at))
        thin: BreakQuality | None = None  # earlier breaks of this quality are even thinner
        for each in good:
            if each.quality == thin or (fill := self._fill_at(each)) > 1:
                continue
            if fill >= WELL_FILLED:
                return each
            thin = each.quality
        return None

    def latest(self, *, worst: BreakQuality) -> PageBreak | None:
        """The last break of acceptable quality, unless its page would be thin."""
        good = (
            each
            for each in reversed(self._breaks)
            if each.quality <= worst and self._fill_at(each) <= 1
        )
        last = next(good, None)
        return last if last is not None and self._fill_at(last) >= THIN else None

    def hard_break(self) -> PageBreak:
        """The break after the last grapheme that fits, or the last character if none does."""
        ends = [match.end() for match in GRAPHEME.finditer(self._text)]
        count = self._count_ends(ends)
        if count == 0:
            ends = list(range(1, len(self._text) + 1))
            count = max(1, self._count_ends(ends))
        return PageBreak(ends[count - 1], ends[count - 1], BreakQuality.ATOMIC)

    def _count_ends(self, ends: list[int]) -> int:
        return _count_fitting(ends, lambda i: self._fill(self._text[: ends[i]]), len(self._text))

    def _fill_at(self, found: PageBreak) -> float:
        page = found.page_before(self._text)
        fill = self._fills.get(page)
        if fill is None:
            fill = self._fills[page] = self._fill(page)
        return fill


def _count_fitting(ends: Sequence[int], fill: Callable[[int], float], too_long: int) -> int:
    """The number of `ends` (ascending) at which the page fits; at `too_long` it does not.

    `fill` returns the share of a page up to an end, by index, and grows with it. Pages fill evenly,
    so linear interpolation finds the last fitting end in a few steps, where bisection takes eight
    or ten. The bisection steps in between help where pages fill unevenly.
    """
    low, high = 0, len(ends)  # ends before `low` fit, those from `high` on do not
    below, above = (0, 0.0), (too_long, 1.0 + 1 / 32)
    interpolate = True
    while low < high:
        middle = (low + high) // 2
        if interpolate and above[1] > below[1]:
            share = (1.0 - below[1]) / (above[1] - below[1])
            at = below[0] + share * (above[0] - below[0])
            middle = min(max(bisect_right(ends, at, low, high) - 1, low), high - 1)
        filled, before = fill(middle), high - low
        if filled <= 1:
            low, below = middle + 1, (ends[middle], filled)
        else:
            high, above = middle, (ends[middle], filled)
        interpolate = not interpolate or high - low <= before // 2
    return low
