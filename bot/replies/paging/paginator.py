"""Splits a growing reply into pages, one platform message each.

In: the reply's text, from `Document`. Out: its pages, which `Document` puts into a frame. Next:
`OpenPage` shows the page that still grows, with half-written markup completed by `mend`.

Invariant: a sealed page never changes again, whatever follows and however the text was chunked. The
pages' source ranges tile the reply, and each page fits the platform by the platform's own measure.

Where files are allowed, pages inside a code block are sealed only when the block ends: if the block
takes too many pages, its first page and a file replace them (see `code_files`). Until then pages
break as they would without files, so that this decision also depends only on the text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.domain.replies import FileRules, Page
from bot.ports.platform import Renderer
from bot.replies.paging import code_files
from bot.replies.paging.code_files import BlockStart, CodePart
from bot.replies.paging.open_page import STEP, OpenPage
from bot.replies.paging.page_breaks import PageBreak
from bot.replies.paging.page_text import Opening, PageText


@dataclass(frozen=True, slots=True)
class _SealedPage:
    """A page that will not change while the text before source offset `decided_by` stays the same.

    `next_opening` is how the next page begins, `part` the page's part of a code block that
    continues on the next page.
    """

    page: Page
    decided_by: int
    next_opening: Opening
    part: CodePart | None = None


class Paginator:
    """The pages of one growing text on one platform; if `files` is None, no code becomes a file."""

    def __init__(self, renderer: Renderer, files: FileRules | None = None) -> None:
        self._renderer, self._files = renderer, files
        self._sealed: list[_SealedPage] = []
        self._begin_page(Opening())

    def _begin_page(self, opening: Opening) -> None:
        self._open = OpenPage(self._renderer, opening)
        self._shown: Page | None = None  # the open page as it was last shown
        # The break after the block that becomes a file, and the length of the text that decides the
        # break.
        self._file_end: tuple[int, PageBreak] | None = None

    def paginate(self, text: str, *, final: bool) -> tuple[tuple[Page, ...], bool]:
        """The pages of `text`, which continues the previous text, and whether they are complete.

        If they are not, call again: each call checks or seals only one page, so that no call takes
        long.
        """
        page = self._open
        page.spent = 0
        page_text = PageText(text, page.opening)
        if page.end is None and page.check_end(page_text, final=final, file_ends=self._find_end):
            if self._file_ended(page_text, final=final):
                self._attach_file(page_text, text)
                return self._shown_so_far(text, page_text=None), False
            if not final and self._file_part is not None:
                return self._shown_so_far(text, page_text), True
            self._shown = page.show(text, page_text, final=final)
            return self._all_pages(text, final=final), True
        if page.end is not None and page.spent < STEP:
            self._seal(page_text, text)
        if self._file_part is not None:
            return self._shown_so_far(text, page_text=None), False
        return self._all_pages(text, final=False), False

    def rewind(self, common: int) -> None:
        """Drop the pages that depend on text after offset `common`, where the text was replaced."""
        while self._sealed and self._sealed[-1].decided_by > common:
            self._sealed.pop()
        self._begin_page(self._sealed[-1].next_opening if self._sealed else Opening())

    def _seal(self, page_text: PageText, text: str) -> None:
        page, end = self._open, self._open.end
        if end is None:
            raise RuntimeError("the page is not full")
        page_break = page.choose_break(page_text)
        source_end = page_text.source_offset(page_break.resume)
        if source_end <= page.opening.start:  # the head alone fills the page: drop the head
            self._begin_page(Opening(page.opening.start))
            self._forget_block()
            return
        shown = page_break.page_before(page_text.text)
        sealed = Page(shown, shown, page.opening.start, source_end, sealed=True)
        everything = end.decided_by == len(page_text.text)
        decided_by = len(text) + 1 if everything else self._decided_by(page_text, end.decided_by)
        following = page.opening_after(page_text, page_break)
        part = None
        if following.head:
            part = self._code_part(page_text, end.decided_by, page_break)
        self._sealed.append(_SealedPage(sealed, decided_by, following, part))
        self._begin_page(following)

    @staticmethod
    def _decided_by(page_text: PageText, length: int) -> int:
        """The source offset after the first `length` characters of a page's text."""
        return page_text.source_offset(length - 1) + 1

    # ── the pages shown ───────────────────────────────────────────────────────────────────────
    def _all_pages(self, text: str, *, final: bool) -> tuple[Page, ...]:
        """The sealed pages and the open one."""
        pages = [sealed.page for sealed in self._sealed]
        if not final:
            pages = self._mark_provisional(pages)
        if self._shown is not None:
            pages.append(self._shown)
        elif final and pages:
            pages[-1] = replace(pages[-1], end=len(text))
        return tuple(pages)

    def _shown_so_far(self, text: str, page_text: PageText | None) -> tuple[Page, ...]:
        """The sealed pages; only the first page of a block that becomes a file."""
        pages, part = [sealed.page for sealed in self._sealed], self._file_part
        if part is None:
            return tuple(self._mark_provisional(pages))
        lines = part.lines
        if page_text is not None:
            lines += code_files.remaining_code(page_text.text, part).count("\n")
        page = code_files.growing_page(
            _start_of(part), start=pages[part.first].start, end=len(text), lines=lines
        )
        return (*pages[: part.first], page)

    def _mark_provisional(self, pages: list[Page]) -> list[Page]:
        """Mark the pages of a code block that has not ended as not sealed."""
        part = self._last_part
        if part is None:
            return pages
        parts = [replace(page, sealed=False, provisional=True) for page in pages[part.first :]]
        return pages[: part.first] + parts

    # ── code blocks that become files ─────────────────────────────────────────────────────────
    @property
    def _last_part(self) -> CodePart | None:
        """The last sealed page's part of the block that the open page begins with."""
        return self._sealed[-1].part if self._sealed else None

    @property
    def _file_part(self) -> CodePart | None:
        """`_last_part`, if its block becomes a file."""
        part, files = self._last_part, self._files
        if part is None or files is None or part.start is None:
            return None
        pages = len(self._sealed) - part.first + 1
        return part if pages >= files.from_pages and part.size <= files.most_bytes else None

    def _code_part(
        self, page_text: PageText, decided_by: int, page_break: PageBreak
    ) -> CodePart | None:
        if self._files is None:
            return None
        return code_files.code_part(
            page_text.text[:decided_by],
            page_break,
            number=len(self._sealed),
            before=self._last_part,
            source_offset=page_text.source_offset,
            fits=lambda markdown: self._open.fill(markdown) <= 1,
        )

    def _forget_block(self) -> None:
        """Keep the block's pages as they are, because the next page does not reopen the block."""
        if self._sealed:
            self._sealed[-1] = replace(self._sealed[-1], part=None)

    def _find_end(self, text: str, complete: bool) -> bool:
        """Whether the block that becomes a file certainly ends in `text`, the page so far."""
        if self._file_part is None:
            return False
        found = code_files.break_after_block(text, ended=complete)
        self._file_end = None if found is None else (len(text) + complete, found)
        return found is not None

    def _file_ended(self, page_text: PageText, *, final: bool) -> bool:
        if self._file_part is None:
            return False
        settled = page_text.text[: page_text.settled]
        return final or self._file_end is not None or self._find_end(settled, False)

    def _attach_file(self, page_text: PageText, text: str) -> None:
        """Replace the block's pages with its first page and the file's page."""
        part = self._file_part
        if part is None:
            raise RuntimeError("no block becomes a file")
        if self._file_end is None:
            end, following, decided_by = len(page_text.text), Opening(len(text)), len(text) + 1
        else:
            seen, page_break = self._file_end
            end = page_break.at
            following = self._open.opening_after(page_text, page_break)
            decided_by = self._decided_by(page_text, seen)
        block = self._sealed[part.first :]
        rest = code_files.remaining_code(page_text.text[:end], part)
        code = "".join(each.part.code for each in block if each.part) + rest
        pages = code_files.file_pages(
            _start_of(part), code, start=block[0].page.start, end=following.start
        )
        self._sealed[part.first :] = [_SealedPage(page, decided_by, following) for page in pages]
        self._begin_page(following)


def _start_of(part: CodePart) -> BlockStart:
    if part.start is None:
        raise RuntimeError("a block without a start becomes no file")
    return part.start
