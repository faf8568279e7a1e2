"""The last, still open page of a reply: what it shows, and where it ends once it is full.

Invariant: fullness is checked at checkpoints that depend only on the page's text, and the page
break is chosen from the text up to the checkpoint. So the pages are the same for every chunking.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from bot.domain.replies import Page
from bot.ports.platform import Renderer
from bot.replies.markdown.blocks import BlockTree, between_top_blocks
from bot.replies.markdown.inline import START
from bot.replies.markdown.mend import MendedText, close_open, mend
from bot.replies.markdown.table_cut import TableCut, next_cut
from bot.replies.paging.best_break import WELL_FILLED, best_break
from bot.replies.paging.page_breaks import BreakQuality, PageBreak
from bot.replies.paging.page_text import Opening, PageText

FINEST = 32
"""As a page fills up, checkpoints come closer, down to this fraction of the limit."""

NEARLY_FULL = 0.8
"""Share of a page above which the page ends where a block begins, so that no part of a block is
shown and then taken back because the block does not fit. The price: a reply that would just have
fitted takes one more message."""

MOST_SOURCE = 2
"""The most source for one page, in pages. Longer source is almost invisible (spaces, held-back
marks) and would take long to break."""

STEP = 3_000
"""Characters that one step parses and measures, unless it is a single check of a larger page. A
thousand characters take 1 ms, or 4 ms if they are dense with markup."""

MEND_STEP = 2_000
"""Characters of new text that one step mends; text with dense markup takes 3 ms per thousand."""

RESUME_DISTANCE = 100
"""Characters between two resume points for inline markup; a shorter distance would save nothing."""

MOST_HEAD = 0.5
"""Share of a page that a repeated table header may take; larger headers are not repeated."""


class PageEnd(NamedTuple):
    """The page is full: the first `decided_by` characters of its text decide the break.

    `page_break` is None until the best one is chosen.
    """

    decided_by: int
    page_break: PageBreak | None


class OpenPage:
    """The page that begins with `opening`. `end` is set once the page is known to be full.

    `spent` counts the characters parsed and measured; the owner resets it before each step.
    """

    def __init__(self, renderer: Renderer, opening: Opening) -> None:
        self._renderer = renderer
        self.opening = opening
        self.end: PageEnd | None = None
        self.spent = 0
        self._checkpoint = max(renderer.limit // 2, 1)
        self._base = 0  # offset in the text before which blocks are not parsed again
        self._cut = TableCut("", 0)  # the same for the rows of an open table; else at `_base`
        self._mended_to = 0
        self._resume = START
        self._resume_points = [0]  # offsets from which inline markup may be parsed
        self._last_block = 0  # offset of the last top-level block certain to begin on the page
        self._fill_before_block = (0, 0.0)  # that offset, and the share of the page before it
        self._stable = 0  # offset before which no later text changes anything

    def fill(self, markdown: str) -> float:
        """Share of a page that some Markdown takes; above 1 the Markdown does not fit."""
        self.spent += len(markdown)
        return self._renderer.measure(markdown) / self._renderer.limit

    def check_end(
        self, page_text: PageText, *, final: bool, file_ends: Callable[[str, bool], bool]
    ) -> bool:
        """Set `end` if the page is full; return whether all of the text belongs to this page.

        False while `end` is still None means that the next step continues the check. `file_ends`
        returns whether the code that becomes a file ends in the page's text; its second argument
        says whether that text is complete.
        """
        limit, text = self._renderer.limit, page_text.text
        while self._checkpoint <= page_text.settled:
            checked = text[: self._checkpoint]
            if file_ends(checked, False):
                return True
            if self._checkpoint - self._mended_to > MEND_STEP:
                self._mend(text[: self._mended_to + MEND_STEP])
                return False
            fill = self.fill(self._mend(checked).text.rstrip())
            self.end = self._end_of(checked, fill)
            if self.end is not None:
                return False
            self._checkpoint += max(limit // FINEST, int(limit * (NEARLY_FULL - fill)) // 2, 1)
            if self.spent >= STEP:
                return False
        if final and not file_ends(text, True) and self.fill(_close_page(text)) > 1:
            self.end = PageEnd(len(text), None)
        return self.end is None

    def choose_break(self, page_text: PageText) -> PageBreak:
        """The break at the end of a full page."""
        if self.end is None:
            raise RuntimeError("the page is not full")
        if self.end.page_break is not None:
            return self.end.page_break
        return best_break(page_text.text[: self.end.decided_by], self.fill, self._resume_points)

    def opening_after(self, page_text: PageText, page_break: PageBreak) -> Opening:
        """How the page after a break begins."""
        start = page_text.source_offset(page_break.resume)
        still_open = page_text.containers_at(start)
        item = next((each for each in page_break.containers if not each.quote), None)
        number = item.number + 1 if item and item.number is not None else None
        widths = tuple(container.width for container in page_break.containers)
        quotes = sum(
            width == 0 for width in still_open
        )  # of the break's containers, these quotes come first
        head = page_break.head if self.fill(page_break.head) <= MOST_HEAD else ""
        skipped = page_text.source_offset(page_break.resume + page_break.skip) - start
        return Opening(
            start=start,
            skip=skipped if page_break.skip else 0,
            head=head,
            containers=still_open + widths[quotes:],
            number=self.opening.number if still_open else number,
            closing_fence=page_break.closing_fence if head else "",
        )

    def show(self, text: str, page_text: PageText, *, final: bool) -> Page | None:
        """The page as people see it now, or None if it is blank; `text` is the whole reply."""
        if final:
            shown, end = _close_page(page_text.text), len(page_text.text)
            stable = shown
        else:
            shown, end = self._show_growing(page_text.text)
            if self._resume.at > page_text.settled:
                self._resume, self._resume_points = START, [0]
            stable = page_text.text[: self._stable].rstrip()
        if not shown.strip():
            return None
        source_end = len(text) if end >= len(page_text.text) else page_text.source_offset(end)
        return Page(shown, stable, self.opening.start, source_end, sealed=final)

    def _show_growing(self, text: str) -> tuple[str, int]:
        """The mended text that fits, and the offset where it ends."""
        mended = self._mend(text)
        shown = mended.text.rstrip()
        fill = self.fill(shown)
        if fill <= 1:
            stable = mended.stable_end if fill <= WELL_FILLED else self._last_block
            self._stable = max(self._stable, stable)
            return shown, mended.end
        # Too long between two checkpoints: the page will end at the next one.
        page_break = best_break(text, self.fill, self._resume_points)
        return page_break.page_before(text), page_break.resume

    def _end_of(self, text: str, fill: float) -> PageEnd | None:
        if self._last_block != self._fill_before_block[0]:
            before = self.fill(text[: self._last_block].rstrip())
            self._fill_before_block = self._last_block, before
        if NEARLY_FULL <= self._fill_before_block[1] <= 1:
            at = self._last_block
            return PageEnd(len(text), PageBreak(at, at, BreakQuality.BLOCK))
        if fill > 1 or len(text) > MOST_SOURCE * self._renderer.limit:
            return PageEnd(len(text), None)
        return None

    def _mend(self, text: str) -> MendedText:
        """Mend the page's text, parsing only what earlier calls left undecided."""
        tree, cut = self._parse_blocks(text)
        mended = mend(text, cut.at, self._resume, tree, head=cut.head)
        self._mended_to, self._resume = len(text), mended.resume
        if mended.resume.at - self._resume_points[-1] >= RESUME_DISTANCE:
            self._resume_points.append(mended.resume.at)
        return mended

    def _parse_blocks(self, text: str) -> tuple[BlockTree, TableCut]:
        """Parse from `_cut` on, then advance `_base`, `_last_block` and `_cut`.

        Returns the blocks, and where they begin.
        """
        cut = self._cut
        begin, tree = cut.begin, BlockTree(cut.head + text[cut.at :])
        self.spent += len(text) - cut.at
        base = self._base
        for _, leaf in tree.restart_points():
            self._base = begin + tree.line_starts[leaf.first]
        for before, leaf in pairwise(tree.leaves):
            if leaf.first < tree.settled_lines and between_top_blocks(before, leaf):
                self._last_block = begin + tree.line_starts[leaf.first]
        if self._base == base:
            self._cut = next_cut(tree, begin) or cut
            return tree, cut
        self._cut = TableCut("", self._base)
        return BlockTree(text[self._base :]), self._cut


def _close_page(text: str) -> str:
    """Close open markup on the last page of a finished reply."""
    return close_open(text.rstrip())
