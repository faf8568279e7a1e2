"""Where a page may be cut, and how good each place is.

Invariant: what a cut leaves open is closed in the page's tail and opened again by the head of the
next page, which stands on its own.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import regex  # type: ignore[import-untyped]  # it comes without types

from bot.replies.markdown.blocks import (
    BlockTree,
    Container,
    Leaf,
    consume,
    prefix,
    quotes,
    shared,
    siblings,
)
from bot.replies.markdown.fences import Nesting, nests
from bot.replies.markdown.inline import START, Resume, Span, read
from bot.replies.markdown.mend import blanked, goes_on

LONGEST_INFO = 60
"""Characters of a fence's first line that are repeated: a language is a word."""

# Where a page may end between words; a script that has no blanks has them between its signs.
_WIDE = r"(?<=[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff])" + (
    r"(?=[^\s\p{P}\p{M}\u200d\ufe00-\ufe0f])"
)
_BREAKS = regex.compile(
    rf"\s+ | (?P<wide>{_WIDE}) | (?<=[。！？；」』”）])(?![\s。！？；」』”）])", regex.VERBOSE
)
# What a sentence ends with, and what may follow that: with blanks between sentences, and without.
_ENDS, _AFTER_ENDS = frozenset(".!?…:;"), frozenset("\"'”’)]*_")
_WIDE_ENDS, _AFTER_WIDE_ENDS = frozenset("。！？；"), frozenset("」』”）")
GRAPHEME = regex.compile(r"\X")


class BreakQuality(IntEnum):
    """How good a place is; smaller is better. From EMPHASIS on it breaks something visible."""

    BLOCK = 0
    ITEM = 1
    NESTED = 2
    ROW = 3
    BLANK_LINE = 4
    LINE = 5
    SENTENCE = 6
    WORD = 7
    EMPHASIS = 8
    GRAPHEME = 9
    CODE = 10
    SOLID = 11


class PageBreak(NamedTuple):
    """A place to cut: the page is the text before `at` and `tail`; the next one begins at `resume`
    with `head` instead of `skip` characters, inside `containers`.
    """

    at: int
    resume: int
    rank: BreakQuality
    tail: str = ""
    head: str = ""
    skip: int = 0
    containers: tuple[Container, ...] = ()

    @property
    def fence(self) -> str:
        """What closes the code block that is divided here; nothing where there is none."""
        return self.tail.strip("\n> ") if self.tail and "\n" in self.head else ""

    def page(self, text: str) -> str:
        """What the page says when it is cut here."""
        return text[: self.at].rstrip() + self.tail


# ── between and inside blocks ─────────────────────────────────────────────────────────────────
def block_cuts(outline: BlockTree) -> Iterator[PageBreak]:
    """The places between blocks, and between the lines of code and the rows of tables."""
    before: Leaf | None = None
    for leaf in outline.leaves:
        if before is not None and leaf.first < outline.known:
            yield between(outline, before, leaf)
        if leaf.kind == "fence":
            yield from _in_fence(outline, leaf)
        elif leaf.kind == "table":
            yield from _in_table(outline, leaf)
        elif leaf.kind in ("code", "formula"):
            for number in range(leaf.first + 1, min(leaf.last, outline.known)):
                yield _at_line(outline, number, leaf.containers, BreakQuality.LINE)
        before = leaf


def between(outline: BlockTree, before: Leaf, leaf: Leaf) -> PageBreak:
    """The place between a leaf and the next one."""
    common = shared(before, leaf)
    own = leaf.containers[len(common) :]
    rank = BreakQuality.NESTED if common else BreakQuality.BLOCK
    if siblings(before, leaf):
        rank = BreakQuality.ITEM
    if before.kind == "heading":
        rank = BreakQuality.WORD  # a heading belongs to what is below it
    cut = _at_line(outline, leaf.first, common, rank)
    return _renumbered(outline, cut, own[0]) if own and own[0].number is not None else cut


def _renumbered(outline: BlockTree, cut: PageBreak, item: Container) -> PageBreak:
    """An item goes on counting whatever number the model wrote before it."""
    line = outline.line(item.line)
    rest = line[cut.skip :]
    digits = re.match(r" *(\d{1,9})(?=[.)])", rest)
    if digits is None or int(digits[1]) == item.number:
        return cut
    return PageBreak(
        cut.at,
        cut.resume,
        cut.rank,
        head=f"{cut.head}{item.number}",
        skip=cut.skip + digits.end(),
        containers=cut.containers,
    )


def _at_line(
    outline: BlockTree,
    number: int,
    containers: tuple[Container, ...],
    rank: BreakQuality,
    *,
    tail: str = "",
    head: str = "",
) -> PageBreak:
    start = outline.starts[number]
    skip = consume(outline.line(number), number, containers)
    return PageBreak(start, start, rank, tail, head + quotes(containers), skip, containers)


def _in_fence(outline: BlockTree, leaf: Leaf) -> Iterator[PageBreak]:
    ended = outline.fence_ends(leaf)
    nesting = outline.nesting(leaf, leaf.first + 1)
    tail, head = _fence_ends(outline, leaf, nesting)
    for number in range(leaf.first + 2, min(leaf.last - ended, outline.known)):
        if nests(leaf.info):
            nesting.take(outline.bare(leaf, number - 1), outline.bare(leaf, number))
            tail, head = _fence_ends(outline, leaf, nesting)
        blank = not outline.line(number - 1).strip(" \t\n>")
        rank = BreakQuality.BLANK_LINE if blank else BreakQuality.LINE
        yield _at_line(outline, number, leaf.containers, rank, tail=tail, head=head)


def _fence_ends(outline: BlockTree, leaf: Leaf, nesting: Nesting) -> tuple[str, str]:
    """What closes a fence where `nesting` is open, and what opens it again."""
    opening = nesting.opening if nests(leaf.info) else outline.bare(leaf, leaf.first).strip()
    if len(opening) > LONGEST_INFO:
        opening = leaf.markup
    return (
        "\n" + prefix(leaf.containers) + nesting.closer,
        quotes(leaf.containers) + opening + "\n",
    )


def _in_table(outline: BlockTree, leaf: Leaf) -> Iterator[PageBreak]:
    head = ""
    for number in (leaf.first, leaf.first + 1):
        line = outline.line(number)
        cells = line[consume(line, number, leaf.containers) :].rstrip("\n")
        head += quotes(leaf.containers) + cells + "\n"
    for number in range(leaf.first + 3, min(leaf.last, outline.known)):
        yield _at_line(outline, number, leaf.containers, BreakQuality.ROW, head=head)


# ── inside a paragraph ────────────────────────────────────────────────────────────────────────
def _straddling(outline: BlockTree, begin: int) -> list[Leaf]:
    """The leaves from `begin` on."""
    return [leaf for leaf in outline.leaves if outline.end(leaf) > begin]


def inline_cuts(outline: BlockTree, begin: int, read_from: Sequence[int]) -> Iterator[PageBreak]:
    """The places between the words of paragraphs after `begin`."""
    for leaf in _straddling(outline, begin):
        if leaf.kind == "paragraph":
            yield from _Paragraph(outline, leaf, begin, read_from).breaks()


def broken_cuts(
    outline: BlockTree, begin: int, since: int, read_from: Sequence[int]
) -> Iterator[PageBreak]:
    """The places after `since` in the leaf that goes on at `begin`: inside words and lines."""
    for leaf in _straddling(outline, begin):
        if leaf.kind == "fence":
            yield from _in_line_of_code(outline, leaf, since)
        elif leaf.kind == "paragraph":
            yield from _Paragraph(outline, leaf, since, read_from).graphemes()
        return


def _in_line_of_code(outline: BlockTree, leaf: Leaf, begin: int) -> Iterator[PageBreak]:
    first = outline.starts[min(leaf.first + 1, len(outline.starts) - 1)]
    start = max(begin, first)
    line = bisect_right(outline.starts, start) - 1
    tail, head = _fence_ends(outline, leaf, outline.nesting(leaf, max(line, leaf.first + 1)))
    head += quotes(leaf.containers)
    for match in GRAPHEME.finditer(outline.text, first, outline.end(leaf)):
        if start < match.start():
            at = match.start()
            yield PageBreak(at, at, BreakQuality.GRAPHEME, tail, head, 0, leaf.containers)


class _Paragraph:
    """The places inside one paragraph, after the offset `since` of the page.

    What is markup there is read from the last of `read_from` before it.
    """

    def __init__(
        self, outline: BlockTree, leaf: Leaf, since: int, read_from: Sequence[int]
    ) -> None:
        self._leaf = leaf
        self._begin = outline.starts[leaf.first]
        self._source = blanked(outline, leaf)
        self._closed = outline.closed(leaf)
        first = len(self._source) - len(self._source.lstrip())
        self._first = max(first + 1, since - self._begin)
        self._last = len(self._source.rstrip())
        self._quotes = quotes(leaf.containers)
        self._read_from = read_from
        self._spans: list[Span] | None = None  # they are read when there is a place at all
        self._next = 0  # the first of them that begins after the last cut
        self._active: list[Span] = []  # those that the last cut is inside of

    def _marked(self) -> list[Span]:
        """What is markup around or after the first place, as far as anybody can tell."""
        found = read(self._source, ended=self._closed, since=self._nearest())
        end = len(self._source)
        waiting = [
            Span(opener.at, end, opener.char * opener.length)
            for opener in found.open
            if opener.length > 1 and opener.char != "|"
        ]
        if found.code is not None:
            waiting.append(Span(found.code[0], end, "`" * found.code[1]))
        waiting += [Span(start, end) for start, _ in found.dropped]
        if found.hold < end:
            waiting.append(Span(found.hold, end))
        near = [span for span in (*found.spans, *waiting) if span.end > self._first]
        return sorted(near, key=lambda span: (span.start, -span.end))

    def _nearest(self) -> Resume:
        """The last offset before the first place from which the source can be read."""
        index = bisect_right(self._read_from, self._begin + self._first) - 1
        return Resume(self._read_from[index]).moved(self._begin) if index >= 0 else START

    def breaks(self) -> Iterator[PageBreak]:
        """Between sentences and words."""
        for match in _BREAKS.finditer(self._source, self._first):
            rank = _break_rank(self._source, match)
            if rank is not None:
                cut = self._cut(match.start(), match.end(), rank)
                if cut is not None:
                    yield cut

    def graphemes(self) -> Iterator[PageBreak]:
        """Between any two graphemes."""
        for match in GRAPHEME.finditer(self._source):
            at = match.start()
            if at >= self._first and (cut := self._cut(at, at, BreakQuality.GRAPHEME)) is not None:
                yield cut

    def _cut(self, at: int, resume: int, rank: BreakQuality) -> PageBreak | None:
        if resume >= self._last:
            return None
        if rank < BreakQuality.GRAPHEME and not goes_on(self._source, resume, ended=self._closed):
            return None
        tail = head = ""
        if around := self._around(at, resume):
            rank = max(rank, _broken_rank(around))
            delimiters = [span.delimiter for span in around]
            tail, head = "".join(reversed(delimiters)), "".join(delimiters)
        place = self._begin + at, self._begin + resume, rank
        return PageBreak(*place, tail, self._quotes + head, 0, self._leaf.containers)

    def _around(self, at: int, resume: int) -> list[Span]:
        """The spans that a cut is inside of, outermost first; cuts are asked for in their order."""
        if self._spans is None:
            self._spans = self._marked()
        while self._next < len(self._spans) and self._spans[self._next].start < at:
            self._active.append(self._spans[self._next])
            self._next += 1
        self._active = [span for span in self._active if resume < span.end]
        return self._active


def _broken_rank(around: Sequence[Span]) -> BreakQuality:
    """How bad a cut inside of these spans is."""
    if any(span.solid for span in around):
        return BreakQuality.SOLID
    code = any(span.delimiter.startswith("`") for span in around)
    return BreakQuality.CODE if code else BreakQuality.EMPHASIS


def _break_rank(text: str, found: Any) -> BreakQuality | None:
    """Whether a break ends a sentence or a word; None when it is only the end of a bracket."""
    at = found.start()
    if found.end() > at:
        return BreakQuality.SENTENCE if _ended(text, at, _ENDS, _AFTER_ENDS) else BreakQuality.WORD
    if _ended(text, at, _WIDE_ENDS, _AFTER_WIDE_ENDS):
        return BreakQuality.SENTENCE
    return BreakQuality.WORD if found["wide"] is not None else None


def _ended(text: str, at: int, ends: frozenset[str], after: frozenset[str]) -> bool:
    """Whether a sentence ends before `at`."""
    while at and text[at - 1] in after:
        at -= 1
    return at > 0 and text[at - 1] in ends
