"""The best place to cut a page: full enough, and breaking as little as can be.

Invariant: the cut is a function of the text up to where the page is known to be too long, never of
how that text came.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from bot.replies.markdown.blocks import BlockTree
from bot.replies.paging.page_breaks import (
    GRAPHEME,
    BreakQuality,
    PageBreak,
    block_cuts,
    broken_cuts,
    inline_cuts,
)

LOW = 0.6
"""A page that is at least so full may end at the best place, and not only at the last one."""

THIN = 0.25
"""A page that would be less full is cut in the middle of a word instead."""

NEAR = 1_200
"""Characters before a page's end in which words are looked at first: there is a sentence's end."""


def best_cut(text: str, fill: Callable[[str], float], read_from: Sequence[int] = (0,)) -> PageBreak:
    """The best place to cut `text`, which is too long for a page.

    `fill` tells how full a page with some Markdown is: above 1 it does not take it; `read_from`
    are the offsets from which words can be read as if from the beginning (`Mended.resume`).
    """
    outline = BlockTree(text)
    choice = _Choice(text, fill)
    choice.add(block_cuts(outline))
    begin, near = choice.last, max(choice.last, len(text) - NEAR)
    return (
        choice.best(worst=BreakQuality.LINE)
        or choice.add(inline_cuts(outline, near, read_from)).best(worst=BreakQuality.EMPHASIS)
        or choice.add(inline_cuts(outline, begin, read_from)).best(worst=BreakQuality.WORD)
        or choice.latest(worst=BreakQuality.EMPHASIS)
        or choice.add(broken_cuts(outline, begin, near, read_from)).best(worst=BreakQuality.SOLID)
        or choice.add(broken_cuts(outline, begin, begin, read_from)).best(worst=BreakQuality.SOLID)
        or choice.hard()
    )


# ── choosing ──────────────────────────────────────────────────────────────────────────────────
class _Choice:
    """Among the places that are known so far and that a page takes."""

    def __init__(self, text: str, fill: Callable[[str], float]) -> None:
        self._text, self._fill = text, fill
        self._cuts: list[PageBreak] = []
        self._fills: dict[str, float] = {}  # rendering is the dearest part of a cut

    @property
    def last(self) -> int:
        """The last place that fits."""
        return self._cuts[-1].at if self._cuts else 0

    def add(self, cuts: Iterable[PageBreak]) -> _Choice:
        """Take further places, as far as they fit: the later, the fuller, so that a search finds
        the first that does not.
        """
        new = sorted(cuts, key=lambda cut: cut.at)
        ends = [cut.at for cut in new]
        fitting = _fitting(ends, lambda index: self._full(new[index]), len(self._text))
        self._cuts = sorted(self._cuts + new[:fitting], key=lambda cut: cut.at)
        return self

    def best(self, *, worst: BreakQuality) -> PageBreak | None:
        """The last of the best among those that fill the page well."""
        window = [cut for cut in self._cuts if cut.rank <= worst]
        window.sort(key=lambda cut: (cut.rank, -cut.at))
        thin: BreakQuality | None = None  # its earlier places leave the page still emptier
        for cut in window:
            if cut.rank == thin or (fill := self._full(cut)) > 1:
                continue
            if fill >= LOW:
                return cut
            thin = cut.rank
        return None

    def latest(self, *, worst: BreakQuality) -> PageBreak | None:
        """The last one that is not too bad, unless the page would be thin."""
        good = (cut for cut in reversed(self._cuts) if cut.rank <= worst and self._full(cut) <= 1)
        last = next(good, None)
        return last if last is not None and self._full(last) >= THIN else None

    def hard(self) -> PageBreak:
        """Nothing else helps: as many graphemes as fit, or characters when not even one does."""
        ends = [match.end() for match in GRAPHEME.finditer(self._text)]
        count = self._count(ends)
        if count == 0:
            ends = list(range(1, len(self._text) + 1))
            count = max(1, self._count(ends))
        return PageBreak(ends[count - 1], ends[count - 1], BreakQuality.SOLID)

    def _count(self, ends: list[int]) -> int:
        return _fitting(ends, lambda i: self._fill(self._text[: ends[i]]), len(self._text))

    def _full(self, cut: PageBreak) -> float:
        page = cut.page(self._text)
        fill = self._fills.get(page)
        if fill is None:
            fill = self._fills[page] = self._fill(page)
        return fill


def _fitting(ends: Sequence[int], full: Callable[[int], float], too_long: int) -> int:
    """How many of the places at `ends`, beginning with the first, a page takes; at `too_long` it is
    known to be too long. `full` tells of a place how full the page is, and grows with it.

    Pages fill up evenly, so a straight line between what is known of both sides finds the place in
    a few steps, where halving takes eight or ten; where that is wrong, halving helps.
    """
    low, high = 0, len(ends)  # those before low fit, those from high on do not
    below, above = (0, 0.0), (too_long, 1.0 + 1 / 32)
    guess = True
    while low < high:
        middle = (low + high) // 2
        if guess and above[1] > below[1]:
            share = (1.0 - below[1]) / (above[1] - below[1])
            at = below[0] + share * (above[0] - below[0])
            middle = min(max(bisect_right(ends, at, low, high) - 1, low), high - 1)
        fill, before = full(middle), high - low
        if fill <= 1:
            low, below = middle + 1, (ends[middle], fill)
        else:
            high, above = middle, (ends[middle], fill)
        guess = not guess or high - low <= before // 2
    return low
