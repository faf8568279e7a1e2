"""Possible page breaks inside paragraphs and lines of code: between sentences, words, graphemes.

Invariant: emphasis and code spans that a break splits are closed in the page's tail and reopened in
the next page's head.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import regex  # type: ignore[import-untyped]  # it comes without types

from bot.replies.markdown.blocks import BlockTree, Leaf, quote_prefix
from bot.replies.markdown.inline import START, ResumePoint, Span, parse_inline
from bot.replies.markdown.mend import mask_markers, stays_paragraph
from bot.replies.paging.page_breaks import BreakQuality, PageBreak, fence_ends

# Scripts without spaces allow a break between any two characters.
_WIDE = r"(?<=[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff])" + (
    r"(?=[^\s\p{P}\p{M}\u200d\ufe00-\ufe0f])"
)
_BREAKS = regex.compile(
    rf"\s+ | (?P<wide>{_WIDE}) | (?<=[。！？；」』”）])(?![\s。！？；」』”）])", regex.VERBOSE
)
# Sentence ends and the marks that may follow them, in scripts with and without spaces.
_ENDS, _AFTER_ENDS = frozenset(".!?…:;"), frozenset("\"'”’)]*_")
_WIDE_ENDS, _AFTER_WIDE_ENDS = frozenset("。！？；"), frozenset("」』”）")
GRAPHEME = regex.compile(r"\X")


def word_breaks(tree: BlockTree, begin: int, resume_points: Sequence[int]) -> Iterator[PageBreak]:
    """Breaks between the words of paragraphs after offset `begin`."""
    for leaf in _leaves_after(tree, begin):
        if leaf.kind == "paragraph":
            yield from _Paragraph(tree, leaf, begin, resume_points).word_breaks()


def forced_breaks(
    tree: BlockTree, begin: int, since: int, resume_points: Sequence[int]
) -> Iterator[PageBreak]:
    """Breaks inside words and lines of code after `since`, in the leaf that contains `begin`."""
    for leaf in _leaves_after(tree, begin):
        if leaf.kind == "fence":
            yield from _in_line_of_code(tree, leaf, since)
        elif leaf.kind == "paragraph":
            yield from _Paragraph(tree, leaf, since, resume_points).grapheme_breaks()
        return


def _leaves_after(tree: BlockTree, begin: int) -> list[Leaf]:
    return [leaf for leaf in tree.leaves if tree.end_of(leaf) > begin]


def _in_line_of_code(tree: BlockTree, leaf: Leaf, begin: int) -> Iterator[PageBreak]:
    first = tree.line_starts[min(leaf.first + 1, len(tree.line_starts) - 1)]
    start = max(begin, first)
    line = bisect_right(tree.line_starts, start) - 1
    tail, head = fence_ends(tree, leaf, tree.fence_stack(leaf, max(line, leaf.first + 1)))
    head += quote_prefix(leaf.containers)
    for match in GRAPHEME.finditer(tree.text, first, tree.end_of(leaf)):
        if start < match.start():
            at = match.start()
            yield PageBreak(at, at, BreakQuality.GRAPHEME, tail, head, 0, leaf.containers)


class _Paragraph:
    """The breaks inside one paragraph, after offset `since` of the page.

    The markup is parsed from the last of `resume_points` before that offset.
    """

    def __init__(
        self, tree: BlockTree, leaf: Leaf, since: int, resume_points: Sequence[int]
    ) -> None:
        self._leaf = leaf
        self._begin = tree.line_starts[leaf.first]
        self._source = mask_markers(tree, leaf)
        self._closed = tree.is_closed(leaf)
        first = len(self._source) - len(self._source.lstrip())
        self._first = max(first + 1, since - self._begin)
        self._last = len(self._source.rstrip())
        self._quotes = quote_prefix(leaf.containers)
        self._resume_points = resume_points
        self._spans: list[Span] | None = None  # parsed when the first break needs them
        self._next = 0  # index of the first span that begins after the last break
        self._around: list[Span] = []  # the spans around the last break

    def word_breaks(self) -> Iterator[PageBreak]:
        """Breaks between sentences and words."""
        for match in _BREAKS.finditer(self._source, self._first):
            quality = _text_quality(self._source, match)
            if quality is not None:
                found = self._break_at(match.start(), match.end(), quality)
                if found is not None:
                    yield found

    def grapheme_breaks(self) -> Iterator[PageBreak]:
        """Breaks between any two graphemes."""
        for match in GRAPHEME.finditer(self._source):
            at = match.start()
            if at >= self._first:
                found = self._break_at(at, at, BreakQuality.GRAPHEME)
                if found is not None:
                    yield found

    def _break_at(self, at: int, resume: int, quality: BreakQuality) -> PageBreak | None:
        if resume >= self._last:
            return None
        on_word = quality < BreakQuality.GRAPHEME
        if on_word and not stays_paragraph(self._source, resume, ended=self._closed):
            return None
        tail = head = ""
        if around := self._spans_around(at, resume):
            quality = max(quality, _split_quality(around))
            delimiters = [span.delimiter for span in around]
            tail, head = "".join(reversed(delimiters)), "".join(delimiters)
        offsets = self._begin + at, self._begin + resume
        return PageBreak(*offsets, quality, tail, self._quotes + head, 0, self._leaf.containers)

    def _spans_around(self, at: int, resume: int) -> list[Span]:
        """The spans around a break, outermost first; call this for breaks in ascending order."""
        if self._spans is None:
            self._spans = self._parse_spans()
        while self._next < len(self._spans) and self._spans[self._next].start < at:
            self._around.append(self._spans[self._next])
            self._next += 1
        self._around = [span for span in self._around if resume < span.end]
        return self._around

    def _parse_spans(self) -> list[Span]:
        """Spans that end after the first break; unclosed markup extends to the paragraph's end."""
        found = parse_inline(self._source, ended=self._closed, resume=self._resume_point())
        end = len(self._source)
        unfinished = [
            Span(opener.at, end, opener.char * opener.length)
            for opener in found.open
            if opener.length > 1 and opener.char != "|"
        ]
        if found.code is not None:
            unfinished.append(Span(found.code[0], end, "`" * found.code[1]))
        unfinished += [Span(start, end) for start, _ in found.dropped_brackets]
        if found.hold_from < end:
            unfinished.append(Span(found.hold_from, end))
        near = [span for span in (*found.spans, *unfinished) if span.end > self._first]
        return sorted(near, key=lambda span: (span.start, -span.end))

    def _resume_point(self) -> ResumePoint:
        index = bisect_right(self._resume_points, self._begin + self._first) - 1
        if index < 0:
            return START
        return ResumePoint(self._resume_points[index]).shift(self._begin)


def _split_quality(around: Sequence[Span]) -> BreakQuality:
    """The quality of a break inside these spans."""
    if any(span.atomic for span in around):
        return BreakQuality.ATOMIC
    code = any(span.delimiter.startswith("`") for span in around)
    return BreakQuality.CODE if code else BreakQuality.EMPHASIS


def _text_quality(text: str, found: Any) -> BreakQuality | None:
    """SENTENCE or WORD for a match of _BREAKS; None after a closing bracket inside a sentence."""
    at = found.start()
    if found.end() > at:
        ends = _ends_sentence(text, at, _ENDS, _AFTER_ENDS)
        return BreakQuality.SENTENCE if ends else BreakQuality.WORD
    if _ends_sentence(text, at, _WIDE_ENDS, _AFTER_WIDE_ENDS):
        return BreakQuality.SENTENCE
    return BreakQuality.WORD if found["wide"] is not None else None


def _ends_sentence(text: str, at: int, ends: frozenset[str], after: frozenset[str]) -> bool:
    while at and text[at - 1] in after:
        at -= 1
    return at > 0 and text[at - 1] in ends
