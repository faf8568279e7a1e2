"""One page's Markdown, made from the reply's source: how it opens, and which source it shows.

Invariant: a page stands on its own. What a cut left open is opened again at its head, and lines
that went on inside a list's item lose the item's indentation, which would make code of them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from bot.replies.markdown.blocks import QUOTE
from bot.replies.markdown.fences import Nesting

_ORDERED = re.compile(r" {0,3}(\d{1,9})(?=[.)](?:\s|$))")
_BLANK_LINES = re.compile(r"(?:[ \t]*\n)*(?:[ \t]*\Z)?")
_NUMBER_TO_BE = re.compile(r" {0,3}\d{1,9}[.)]?\Z")


@dataclass(frozen=True, slots=True)
class Opening:
    """How a page begins: at `start` in the source, with `head` for the next `skip` characters.

    `strip` are the containers that the cut was in, outermost first: the width of an item, whose
    indentation goes, or 0 for a quote, whose mark stays. `number` is what the item after the
    outermost one is called, when that is in an ordered list. `fence` is what closes the code block
    that the head opens again.
    """

    start: int = 0
    skip: int = 0
    head: str = ""
    strip: tuple[int, ...] = ()
    number: int | None = None
    fence: str = ""


class PageText:
    """The page's Markdown as far as the source has come, and the way back to the source.

    `settled` is the length of what further source only adds to.
    """

    def __init__(self, source: str, opening: Opening) -> None:
        self._pieces: list[tuple[int, int]] = [(0, opening.start)]  # (offset in text, in source)
        self._parts: list[str] = []
        self._length = 0
        at = opening.start + opening.skip
        if opening.head:
            self._add(opening.head, opening.start)
        elif not opening.skip and (blank := _BLANK_LINES.match(source, at)):
            at = blank.end()
        self._unsettled: int | None = None
        self._strips: list[tuple[int, tuple[int, ...]]] = [(opening.start, opening.strip)]
        if any(opening.strip):
            at = self._stripped(source, at, opening)
        self._add(source[at:], at)
        self.text = "".join(self._parts)
        self.settled = len(self.text) if self._unsettled is None else self._unsettled

    def source(self, offset: int) -> int:
        """Where in the source the character at `offset` of the text comes from."""
        index = bisect_right(self._pieces, offset, key=lambda piece: piece[0]) - 1
        there, source = self._pieces[index]
        following = self._pieces[index + 1][1] if index + 1 < len(self._pieces) else None
        mapped = source + offset - there
        return mapped if following is None else min(mapped, following)

    def strip(self, source: int) -> tuple[int, ...]:
        """What is left of the opening's containers at an offset in the source."""
        at = [since for since, _ in self._strips]
        strip = self._strips[max(0, bisect_right(at, source) - 1)][1]
        return strip if any(strip) else ()

    def _add(self, text: str, source: int) -> None:
        if self._length or source != self._pieces[0][1]:
            self._pieces.append((self._length, source))
        self._parts.append(text)
        self._length += len(text)

    def _stripped(self, source: str, at: int, opening: Opening) -> int:
        """Add lines as long as they are inside an item; where those begin that are not."""
        strip, fence = opening.strip, opening.fence
        nesting = Nesting.opened_by(opening.head) if fence else None
        end = source.find("\n", at) + 1
        while end:
            self._add(source[at:end], at)
            line = source[at:end]
            following = source[end : source.find("\n", end) + 1 or len(source)] or None
            if fence and (nesting.take(line, following) if nesting else _closes(line, fence)):
                fence = ""
            at, end = end, source.find("\n", end) + 1
            marks, skip, depth = _strip(source[at : end or len(source)], strip)
            if depth < len(strip):
                if fence and all(strip[depth:]):
                    self._add(
                        f"{marks}{nesting.closer if nesting else fence}\n", at
                    )  # it ends with the item that it is in
                fence = ""
                outermost = not any(strip[:depth])
                strip = strip[:depth]
                self._strips.append((at, strip))
                self._part(source, at, skip, marks)
                if outermost:
                    return self._renumber(source, at, skip, opening.number)
            if marks:
                self._add(marks, at)
            at += skip
        self._add(source[at:], at)
        return len(source)

    def _part(self, source: str, start: int, skip: int, marks: str) -> None:
        """A list's number ends no paragraph as it ended the item: a blank line does."""
        if _NUMBER_TO_BE.match(source, start + skip):
            self._unsettled = self._length  # with the next character it may be no number
        if _ORDERED.match(source, start + skip) and self._parts[-1].strip(" \t\n>"):
            self._add(marks.rstrip() + "\n", start)

    def _renumber(self, source: str, start: int, skip: int, number: int | None) -> int:
        """The next item after the one that was cut goes on counting; where the rest begins."""
        at = start + skip
        item = _ORDERED.match(source, at)
        if number is None or item is None:
            return start
        self._add(source[start:at], start)
        self._add(str(number), at)
        return item.end()


def _closes(line: str, fence: str) -> bool:
    """Whether a line is the closing line of a fence."""
    bare = line.strip()
    return len(bare) >= len(fence) and not bare.strip(fence[0]) and not line.startswith("    ")


def _strip(line: str, containers: tuple[int, ...]) -> tuple[str, int, int]:
    """The quote marks of a line, how much of it they and the indentation take, and how many of the
    containers it is in: fewer than all when it has left one.
    """
    at, marks = 0, ""
    for depth, width in enumerate(containers):
        if width == 0:
            mark = QUOTE.match(line, at)
            if mark is None:
                return marks, at, depth
            at, marks = mark.end(), marks + mark.group()
            continue
        rest = line[at:]
        spaces = len(rest) - len(rest.lstrip(" "))
        if spaces < width and rest.strip():
            return marks, at, depth
        at += min(spaces, width)
    return marks, at, len(containers)
