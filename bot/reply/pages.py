"""Cutting a growing reply into pages.

Invariant: a sealed page never changes again, whatever follows and however it came; the pages'
source ranges tile the reply, and each page fits the platform in the platform's own measure.

Whether a page is full is asked at checkpoints that depend on the page's text alone, and the cut
is chosen from the text up to the checkpoint: that makes it the same for every chunking.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.frames import Page
from bot.ports import Renderer
from bot.reply.blocks import Outline, top_level
from bot.reply.cuts import LOW, best_cut
from bot.reply.inline import START
from bot.reply.mend import Mended, close_open, mend
from bot.reply.places import Cut
from bot.reply.view import Opening, View

FINEST = 32
"""Checkpoints come closer as a page fills up, down to this share of it: a page says at most that
much too little for as long as it takes to write it."""

MOST_SOURCE = 2
"""Pages' worth of source that one page may take: of more nearly nothing is seen (blanks, marks that
are held back), and to cut it would take long."""

STEP = 3_000
"""Characters that one step parses and measures, unless it is a single look at a larger page: a
thousand of them take one millisecond, and four where they are dense with markup."""

GULP = 2_000
"""Characters of new text that one step reads: dense markup takes three milliseconds a thousand."""

APART = 100
"""Characters between two offsets from which words can be read anew: closer ones save nothing."""

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
        self._open: Page | None = None  # as it was shown last
        self._begin(Opening())

    def pages(self, text: str, *, final: bool) -> tuple[tuple[Page, ...], bool]:
        """The pages of `text`, which continues the one before, and whether that is all of them.

        When it is not, ask again: one step takes a look or seals a page, so that none is long.
        """
        self._spent = 0
        view = View(text, self._opening)
        if self._known is None and self._look(view, final=final):
            self._open = self._open_page(text, view, final=final)
            return self._with_open(self._open, text, final), True
        if self._known is not None and self._spent < STEP:
            self._seal(view, self._known, text)
        return self._with_open(self._open, text, final=False), False

    def rewind(self, common: int) -> None:
        """The text was replaced from offset `common` on: keep the pages decided before that."""
        while self._sealed and self._sealed[-1].known > common:
            self._sealed.pop()
        self._begin(self._sealed[-1].following if self._sealed else Opening())

    def _begin(self, opening: Opening) -> None:
        self._opening = opening
        self._checkpoint = max(self._renderer.limit // 2, 1)
        self._open = None
        self._known: int | None = None  # the length of its text that is known to be too long
        self._spent = 0  # characters that were parsed and measured in this step
        self._base = 0  # offset in the page before which nothing is parsed again
        self._mended_to = 0  # offset up to which the page has been mended
        self._resume = START
        self._read = [0]  # offsets from which words can be read as if from the beginning
        self._block = 0  # offset of the last block that surely begins on the page
        self._stable = 0  # offset before which no later text changes anything

    def _fill(self, markdown: str) -> float:
        self._spent += len(markdown)
        return self._renderer.measure(markdown) / self._renderer.limit

    # ── sealing ───────────────────────────────────────────────────────────────────────────────
    def _look(self, view: View, *, final: bool) -> bool:
        """Look whether the page is full (then it is `known`); whether all that has come fits."""
        limit = self._renderer.limit
        while self._checkpoint <= view.settled:
            if self._checkpoint - self._mended_to > GULP:
                self._mend(view.text[: self._mended_to + GULP])
                return False
            fill = self._fill(self._mend(view.text[: self._checkpoint]).text.rstrip())
            if fill > 1 or self._checkpoint > MOST_SOURCE * limit:
                self._known = self._checkpoint
                return False
            step = max(limit // FINEST, int(limit * (1 - fill)) // 2, 1)
            self._checkpoint += step
            if self._spent >= STEP:
                return False
        if final and self._fill(_ended(view.text)) > 1:
            self._known = len(view.text)
        return self._known is None

    def _mend(self, text: str) -> Mended:
        """The page's text made whole; what is decided of it is not parsed again the next time."""
        self._spent += len(text) - self._base
        outline = self._advance(text)
        mended = mend(text, self._base, self._resume, outline)
        self._mended_to, self._resume = len(text), mended.resume
        if mended.resume.at - self._read[-1] >= APART:
            self._read.append(mended.resume.at)
        return mended

    def _advance(self, text: str) -> Outline:
        """Move the place from which parsing starts; the structure from there on."""
        base, outline = self._base, Outline(text[self._base :])
        for before, leaf in outline.restarts():
            self._base = base + outline.starts[leaf.first]
            if top_level(before, leaf):
                self._block = self._base
        return outline if self._base == base else Outline(text[self._base :])

    def _seal(self, view: View, known: int, text: str) -> None:
        cut = best_cut(view.text[:known], self._fill, self._read)
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
            shown, keep = self._mended(view.text)
            if self._resume.at > view.settled:
                self._resume, self._read = START, [0]
            stable = view.text[: self._stable].rstrip()
        if not shown.strip():
            return None
        end = len(text) if keep >= len(view.text) else view.source(keep)
        return Page(shown, stable, self._opening.start, end, sealed=final)

    def _mended(self, text: str) -> tuple[str, int]:
        """What the open page says, and how far it reaches."""
        mended = self._mend(text)
        shown, keep = mended.text.rstrip(), mended.keep
        fill = self._fill(shown)
        if fill <= 1:
            self._stable = max(self._stable, mended.clean if fill <= LOW else self._block)
            return shown, keep
        cut = best_cut(
            text, self._fill, self._read
        )  # between two checkpoints: it is cut at the next one
        return cut.page(text), cut.resume


def _ended(text: str) -> str:
    """The last page of a finished reply."""
    return close_open(text.rstrip())
