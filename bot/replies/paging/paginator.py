"""Cutting a growing reply into pages.

Invariant: a sealed page never changes again, whatever follows and however it came; the pages'
source ranges tile the reply, and each page fits the platform in the platform's own measure.

Whether a page is full is asked at checkpoints that depend on the page's text alone, and the cut
is chosen from the text up to the checkpoint: that makes it the same for every chunking.

Pages that end inside a code block are not sealed before the block ends, where files are taken: when
it takes too many pages, the first of them and a file take the place of all (see `longcode`). The
cuts go on as they would without, so that this too depends on the text alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from bot.domain.replies import FileRules, Page
from bot.ports.platform import Renderer
from bot.replies.markdown.blocks import BlockTree, top_level
from bot.replies.markdown.inline import START
from bot.replies.markdown.mend import Mended, close_open, mend
from bot.replies.paging import code_files
from bot.replies.paging.best_break import LOW, best_cut
from bot.replies.paging.page_breaks import BreakQuality, PageBreak
from bot.replies.paging.page_text import Opening, PageText

FINEST = 32
"""Checkpoints come closer as a page fills up, down to this share of it."""

NEARLY = 0.8
"""A page that is at least so full ends where a block begins: nothing of that block is shown on it
and taken back when it turns out not to fit. A reply that would just have fitted takes one message
more for that."""

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
    """A page, how much of the source decided it, how the next one begins, and what it has of a
    code block that goes on there.
    """

    page: Page
    known: int
    following: Opening
    part: code_files.Part | None = None


class Paginator:
    """The pages of one growing text, for one platform; without `files` none becomes one."""

    def __init__(self, renderer: Renderer, files: FileRules | None = None) -> None:
        self._renderer, self._files = renderer, files
        self._sealed: list[_Sealed] = []
        self._open: Page | None = None  # as it was shown last
        self._begin(Opening())

    def pages(self, text: str, *, final: bool) -> tuple[tuple[Page, ...], bool]:
        """The pages of `text`, which continues the one before, and whether that is all of them.

        When it is not, ask again: one step takes a look or seals a page, so that none is long.
        """
        self._spent = 0
        view = PageText(text, self._opening)
        if self._known is None and self._look(view, final=final):
            if self._file_ends(view, final=final):
                self._attach(view, text)
                return self._so_far(text, view=None), False
            if not final and self._filing is not None:
                return self._so_far(text, view=view), True
            self._open = self._open_page(text, view, final=final)
            return self._with_open(self._open, text, final), True
        if self._known is not None and self._spent < STEP:
            self._seal(view, *self._known, text)
        if self._filing is not None:
            return self._so_far(text, view=None), False
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
        self._known: tuple[int, PageBreak | None] | None = (
            None  # what decided its end, and where that is
        )
        self._spent = 0  # characters that were parsed and measured in this step
        self._base = 0  # offset in the page before which nothing is parsed again
        self._mended_to = 0  # offset up to which the page has been mended
        self._resume = START
        self._read = [0]  # offsets from which words can be read as if from the beginning
        self._block = 0  # offset of the last block that surely begins on the page
        self._measured = (0, 0.0)  # how full the page is before such a block
        self._stable = 0  # offset before which no later text changes anything
        self._end: PageBreak | None = None  # behind the block that is to be a file
        self._seen = 0  # the length of the text that told it, its end counted

    def _fill(self, markdown: str) -> float:
        self._spent += len(markdown)
        return self._renderer.measure(markdown) / self._renderer.limit

    # ── sealing ───────────────────────────────────────────────────────────────────────────────
    def _look(self, view: PageText, *, final: bool) -> bool:
        """Look whether the page is full (then it is `known` where it ends); whether all that has
        come belongs to it.
        """
        limit = self._renderer.limit
        while self._checkpoint <= view.settled:
            known = self._checkpoint
            if self._file_is_whole(view.text[:known]):
                return True
            if known - self._mended_to > GULP:
                self._mend(view.text[: self._mended_to + GULP])
                return False
            fill = self._fill(self._mend(view.text[:known]).text.rstrip())
            self._known = self._decided(view.text[:known], fill)
            if self._known is not None:
                return False
            self._checkpoint += max(limit // FINEST, int(limit * (NEARLY - fill)) // 2, 1)
            if self._spent >= STEP:
                return False
        if final and not self._file_is_whole(view.text, whole=True):
            over = self._fill(_ended(view.text)) > 1
            self._known = (len(view.text), None) if over else None
        return self._known is None

    def _decided(self, text: str, fill: float) -> tuple[int, PageBreak | None] | None:
        """How much of its text decides that the page ends, and where if that is known already."""
        if self._block != self._measured[0]:
            self._measured = self._block, self._fill(text[: self._block].rstrip())
        if NEARLY <= self._measured[1] <= 1:
            return len(text), PageBreak(self._block, self._block, BreakQuality.BLOCK)
        if fill > 1 or len(text) > MOST_SOURCE * self._renderer.limit:
            return len(text), None
        return None

    def _mend(self, text: str) -> Mended:
        """The page's text made whole; what is decided of it is not parsed again the next time."""
        self._spent += len(text) - self._base
        outline = self._advance(text)
        mended = mend(text, self._base, self._resume, outline)
        self._mended_to, self._resume = len(text), mended.resume
        if mended.resume.at - self._read[-1] >= APART:
            self._read.append(mended.resume.at)
        return mended

    def _advance(self, text: str) -> BlockTree:
        """Move the place from which parsing starts, and that of the last block; the structure from
        there on.
        """
        base, outline = self._base, BlockTree(text[self._base :])
        for _, leaf in outline.restarts():
            self._base = base + outline.starts[leaf.first]
        for before, leaf in pairwise(outline.leaves):
            if leaf.first < outline.known and top_level(before, leaf):
                self._block = base + outline.starts[leaf.first]
        return outline if self._base == base else BlockTree(text[self._base :])

    def _seal(self, view: PageText, known: int, cut: PageBreak | None, text: str) -> None:
        cut = cut or best_cut(view.text[:known], self._fill, self._read)
        end = view.source(cut.resume)
        if end <= self._opening.start:  # the head alone is too much: do without
            self._begin(Opening(self._opening.start))
            self._forget_block()
            return
        shown = cut.page(view.text)
        page = Page(shown, shown, self._opening.start, end, sealed=True)
        whole = known == len(view.text)
        decided = len(text) + 1 if whole else view.source(known - 1) + 1
        following = self._following(view, cut)
        part = self._part_of(view, known, cut) if following.head else None
        self._sealed.append(_Sealed(page, decided, following, part))
        self._begin(following)

    def _following(self, view: PageText, cut: PageBreak) -> Opening:
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
            fence=cut.fence if head else "",
        )

    # ── code blocks that go on ────────────────────────────────────────────────────────────────
    @property
    def _part(self) -> code_files.Part | None:
        """What the last page has of the block that the open one begins with."""
        return self._sealed[-1].part if self._sealed else None

    @property
    def _filing(self) -> code_files.Part | None:
        """The same, when the block is to be a file."""
        part, files = self._part, self._files
        if part is None or files is None or part.beginning is None:
            return None
        pages = len(self._sealed) - part.first + 1
        return part if pages >= files.from_pages and part.size <= files.most_bytes else None

    def _part_of(self, view: PageText, known: int, cut: PageBreak) -> code_files.Part | None:
        if self._files is None:
            return None
        return code_files.part_of(
            view.text[:known],
            cut,
            number=len(self._sealed),
            before=self._part,
            source=view.source,
            fits=lambda markdown: self._fill(markdown) <= 1,
        )

    def _forget_block(self) -> None:
        """The next page does not open the block again: what there is of it stays as it is."""
        if self._sealed:
            self._sealed[-1] = replace(self._sealed[-1], part=None)

    def _file_is_whole(self, text: str, *, whole: bool = False) -> bool:
        """Whether the block that is to be a file surely ends in `text`, the page's beginning."""
        if self._filing is None:
            return False
        self._seen, self._end = len(text) + whole, code_files.end_of(text, whole=whole)
        return self._end is not None

    def _file_ends(self, view: PageText, *, final: bool) -> bool:
        """Whether the block that is to be a file ends, in the text or with it."""
        if self._filing is None:
            return False
        return final or self._end is not None or self._file_is_whole(view.text[: view.settled])

    def _attach(self, view: PageText, text: str) -> None:
        """Put the block into a file: two pages instead of all that it took."""
        part, cut = self._filing, self._end
        if part is None or part.beginning is None:
            raise RuntimeError("no block is to be a file")
        end = len(view.text) if cut is None else cut.at
        following = Opening(len(text)) if cut is None else self._following(view, cut)
        decided = len(text) + 1 if cut is None else view.source(self._seen - 1) + 1
        last = code_files.rest_of(view.text[:end], part)
        code = "".join(each.part.code for each in self._sealed[part.first :] if each.part) + last
        pages = code_files.complete(
            part.beginning,
            code,
            start=self._sealed[part.first].page.start,
            end=following.start,
        )
        self._sealed[part.first :] = [_Sealed(page, decided, following) for page in pages]
        self._begin(following)

    def _so_far(self, text: str, view: PageText | None) -> tuple[Page, ...]:
        """The pages without the open one; of a block that is to be a file only how it begins."""
        pages, part = [sealed.page for sealed in self._sealed], self._filing
        if part is None or part.beginning is None:
            return tuple(self._provisional(pages))
        lines = part.lines
        if view is not None:
            lines += code_files.rest_of(view.text, part).count("\n")
        start = pages[part.first].start
        page = code_files.growing(part.beginning, start=start, end=len(text), lines=lines)
        return (*pages[: part.first], page)

    def _provisional(self, pages: list[Page]) -> list[Page]:
        """`pages`, those of a block that has not ended marked as what they are."""
        part = self._part
        if part is None:
            return pages
        parts = [replace(page, sealed=False, provisional=True) for page in pages[part.first :]]
        return pages[: part.first] + parts

    # ── the open page ─────────────────────────────────────────────────────────────────────────
    def _with_open(self, page: Page | None, text: str, final: bool) -> tuple[Page, ...]:
        pages = [sealed.page for sealed in self._sealed]
        if not final:
            pages = self._provisional(pages)
        if page is not None:
            pages.append(page)
        elif final and pages:
            pages[-1] = replace(pages[-1], end=len(text))
        return tuple(pages)

    def _open_page(self, text: str, view: PageText, *, final: bool) -> Page | None:
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
        # Between two checkpoints: it is cut at the next one.
        cut = best_cut(text, self._fill, self._read)
        return cut.page(text), cut.resume


def _ended(text: str) -> str:
    """The last page of a finished reply."""
    return close_open(text.rstrip())
