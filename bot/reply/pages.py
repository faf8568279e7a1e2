"""Cutting a growing reply into pages.

Invariant: a sealed page never changes again, whatever follows and however it came; the pages'
source ranges tile the reply, and each page fits the platform in the platform's own measure.

Whether a page is full is asked at checkpoints that depend on the page's text alone, and the cut
is chosen from the text up to the checkpoint: that makes it the same for every chunking.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from bot.frames import Page
from bot.ports import Renderer
from bot.reply.blocks import Outline, top_level
from bot.reply.cuts import LOW, best_cut
from bot.reply.mend import close_open, mend
from bot.reply.places import Cut, Rank
from bot.reply.view import Opening, View

FINEST = 32
"""Checkpoints come closer as a page fills up, down to this share of it."""

NEARLY = 0.8
"""A page that is at least so full ends where a block begins: nothing of that block is shown on it
and taken back when it turns out not to fit. A reply that would just have fitted takes one message
more for that."""

MOST_HEAD = 0.5
"""What of a page a repeated table header may take; a larger one is not repeated."""


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A page, how much of the source decided it, and how the next one begins."""

    page: Page
    known: int
    following: Opening


class Cutter:
    """The pages of one growing text, for one platform."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._sealed: list[_Sealed] = []
        self._begin(Opening())

    def pages(self, text: str, *, final: bool) -> tuple[tuple[Page, ...], bool]:
        """The pages of `text`, which continues the one before, and whether that is all of them.

        When it is not, ask again: one step seals one page, so that none is long.
        """
        view = View(text, self._opening)
        decided = self._decided(view, final=final)
        if decided is None:
            return self._with_open(self._open_page(text, view, final=final), text, final), True
        self._seal(view, *decided, text)
        return tuple(sealed.page for sealed in self._sealed), False

    def rewind(self, common: int) -> None:
        """The text was replaced from offset `common` on: keep the pages decided before that."""
        while self._sealed and self._sealed[-1].known > common:
            self._sealed.pop()
        self._begin(self._sealed[-1].following if self._sealed else Opening())

    def _begin(self, opening: Opening) -> None:
        self._opening = opening
        self._checkpoint = max(self._renderer.limit // 2, 1)
        self._base = 0  # offset in the page before which nothing is parsed again
        self._block = 0  # offset of the last block that surely begins on the page
        self._stable = 0  # offset before which no later text changes anything

    def _fill(self, markdown: str) -> float:
        return self._renderer.measure(markdown) / self._renderer.limit

    # ── sealing ───────────────────────────────────────────────────────────────────────────────
    def _decided(self, view: View, *, final: bool) -> tuple[int, Cut] | None:
        """Where the page ends, and how much of its text decides that; None when it goes on."""
        limit = self._renderer.limit
        while self._checkpoint <= view.settled:
            known = self._checkpoint
            text = view.text[:known]
            self._advance(text)
            fill = self._fill(mend(text, self._base).text.rstrip())
            if self._block and self._fill(text[: self._block].rstrip()) >= NEARLY:
                return known, Cut(self._block, self._block, Rank.BLOCK)
            if fill > 1:
                return known, best_cut(text, self._fill)
            self._checkpoint += max(limit // FINEST, int(limit * (NEARLY - fill)) // 2, 1)
        if final and self._fill(_ended(view.text)) > 1:
            return len(view.text), best_cut(view.text, self._fill)
        return None

    def _advance(self, text: str) -> None:
        """Move the place from which parsing starts, and that of the last block."""
        outline = Outline(text[self._base :])
        base = self._base
        for _, leaf in outline.restarts():
            self._base = base + outline.starts[leaf.first]
        for before, leaf in pairwise(outline.leaves):
            if leaf.first < outline.known and top_level(before, leaf):
                self._block = base + outline.starts[leaf.first]

    def _seal(self, view: View, known: int, cut: Cut, text: str) -> None:
        end = view.source(cut.resume)
        if end <= self._opening.start:  # the head alone is too much: do without
            self._begin(Opening(self._opening.start))
            return
        shown = cut.page(view.text)
        page = Page(shown, shown, self._opening.start, end, sealed=True)
        whole = known == len(view.text)
        decided = len(text) + 1 if whole else view.source(known - 1) + 1
        following = self._following(view, cut)
        self._sealed.append(_Sealed(page, decided, following))
        self._begin(following)

    def _following(self, view: View, cut: Cut) -> Opening:
        """How the page after a cut begins."""
        start = view.source(cut.resume)
        strip = view.strip(start)
        item = next((each for each in cut.containers if not each.quote), None)
        number = item.number + 1 if item and item.number is not None else None
        widths = tuple(container.width for container in cut.containers)
        marked = sum(width == 0 for width in strip)  # these quotes are the same ones
        head = cut.head if self._fill(cut.head) <= MOST_HEAD else ""
        return Opening(
            start=start,
            skip=view.source(cut.resume + cut.skip) - start if cut.skip else 0,
            head=head,
            strip=strip + widths[marked:],
            number=self._opening.number if strip else number,
        )

    # ── the open page ─────────────────────────────────────────────────────────────────────────
    def _with_open(self, page: Page | None, text: str, final: bool) -> tuple[Page, ...]:
        pages = [sealed.page for sealed in self._sealed]
        if page is not None:
            pages.append(page)
        elif final and pages:
            pages[-1] = replace(pages[-1], end=len(text))
        return tuple(pages)

    def _open_page(self, text: str, view: View, *, final: bool) -> Page | None:
        if final:
            shown, keep = _ended(view.text), len(view.text)
            stable = shown
        else:
            self._advance(view.text)
            shown, keep = self._mended(view.text)
            stable = view.text[: self._stable].rstrip()
        if not shown.strip():
            return None
        end = len(text) if keep >= len(view.text) else view.source(keep)
        return Page(shown, stable, self._opening.start, end, sealed=final)

    def _mended(self, text: str) -> tuple[str, int]:
        """What the open page says, and how far it reaches."""
        mended = mend(text, self._base)
        shown, keep = mended.text.rstrip(), mended.keep
        fill = self._fill(shown)
        if fill <= 1:
            self._stable = max(self._stable, mended.clean if fill <= LOW else self._block)
            return shown, keep
        cut = best_cut(text, self._fill)  # between two checkpoints: it is cut at the next one
        return cut.page(text), cut.resume


def _ended(text: str) -> str:
    """The last page of a finished reply."""
    return close_open(text.rstrip())
