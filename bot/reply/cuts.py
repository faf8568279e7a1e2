"""The best place to cut a page: full enough, and breaking as little as can be.

Invariant: the cut is a function of the text up to where the page is known to be too long, never of
how that text came.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable

from bot.reply.blocks import Outline
from bot.reply.places import GRAPHEME, Cut, Rank, block_cuts, broken_cuts, inline_cuts

LOW = 0.6
"""A page that is at least so full may end at the best place, and not only at the last one."""

THIN = 0.25
"""A page that would be less full is cut in the middle of a word instead."""

NEAR = 1_200
"""Characters before a page's end in which words are looked at first: there is a sentence's end."""


def best_cut(text: str, fill: Callable[[str], float]) -> Cut:
    """The best place to cut `text`, which is too long for a page.

    `fill` tells how full a page with some Markdown is: above 1 it does not take it.
    """
    outline = Outline(text)
    choice = _Choice(text, fill)
    choice.add(block_cuts(outline))
    begin, near = choice.last, max(choice.last, len(text) - NEAR)
    return (
        choice.best(worst=Rank.LINE)
        or choice.add(inline_cuts(outline, near)).best(worst=Rank.EMPHASIS)
        or choice.add(inline_cuts(outline, begin)).best(worst=Rank.WORD)
        or choice.latest(worst=Rank.EMPHASIS)
        or choice.add(broken_cuts(outline, begin, near)).best(worst=Rank.SOLID)
        or choice.add(broken_cuts(outline, begin, begin)).best(worst=Rank.SOLID)
        or choice.hard()
    )


# ── choosing ──────────────────────────────────────────────────────────────────────────────────
class _Choice:
    """Among the places that are known so far and that a page takes."""

    def __init__(self, text: str, fill: Callable[[str], float]) -> None:
        self._text, self._fill = text, fill
        self._cuts: list[Cut] = []

    @property
    def last(self) -> int:
        """The last place that fits."""
        return self._cuts[-1].at if self._cuts else 0

    def add(self, cuts: Iterable[Cut]) -> _Choice:
        """Take further places, as far as they fit: the later, the fuller, so bisecting finds it."""
        new = sorted(cuts, key=lambda cut: cut.at)
        fitting = bisect_right(new, 1.0, key=self._full)
        self._cuts = sorted(self._cuts + new[:fitting], key=lambda cut: cut.at)
        return self

    def best(self, *, worst: Rank) -> Cut | None:
        """The last of the best among those that fill the page well."""
        low = bisect_left(self._cuts, LOW, key=self._full)
        window = [cut for cut in self._cuts[low:] if cut.rank <= worst]
        window.sort(key=lambda cut: (cut.rank, -cut.at))
        return next((cut for cut in window if self._full(cut) <= 1), None)

    def latest(self, *, worst: Rank) -> Cut | None:
        """The last one that is not too bad, unless the page would be thin."""
        good = [cut for cut in self._cuts if cut.rank <= worst and self._full(cut) <= 1]
        return good[-1] if good and self._full(good[-1]) >= THIN else None

    def hard(self) -> Cut:
        """Nothing else helps: as many graphemes as fit, or characters when not even one does."""
        ends = [match.end() for match in GRAPHEME.finditer(self._text)]
        count = self._count(ends)
        if count == 0:
            ends = list(range(1, len(self._text) + 1))
            count = max(1, self._count(ends))
        return Cut(ends[count - 1], ends[count - 1], Rank.SOLID)

    def _count(self, ends: list[int]) -> int:
        return bisect_right(ends, 1.0, key=lambda end: self._fill(self._text[:end]))

    def _full(self, cut: Cut) -> float:
        return self._fill(cut.page(self._text))
