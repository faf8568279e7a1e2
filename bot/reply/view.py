"""One page's Markdown, made from the reply's source: how it opens, and which source it shows.

Invariant: a page stands on its own. What a cut left open is opened again at its head, and lines
that went on inside a list's item lose the item's indentation, which would make code of them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from bot.reply.blocks import QUOTE

_ORDERED = re.compile(r" {0,3}(\d{1,9})(?=[.)](?:\s|$))")
_BLANK_LINES = re.compile(r"(?:[ \t]*\n)*(?:[ \t]*\Z)?")
_NUMBER_TO_BE = re.compile(r" {0,3}\d{1,9}[.)]?\Z")


@dataclass(frozen=True, slots=True)
class Opening:
    """How a page begins: at `start` in the source, with `head` for the next `skip` characters.

    `strip` are the containers that the cut was in, outermost first: the width of an item, whose
    indentation goes, or 0 for a quote, whose mark stays. `number` is what the next item of the
    outermost list is called, when it is an ordered one.
    """

    start: int = 0
    skip: int = 0
    head: str = ""
    strip: tuple[int, ...] = ()
    number: int | None = None


class View:
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
        self.inside = len(source)  # up to here in the source, lines lose the item's indentation
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

    def _add(self, text: str, source: int) -> None:
        if self._length or source != self._pieces[0][1]:
            self._pieces.append((self._length, source))
        self._parts.append(text)
        self._length += len(text)

    def _stripped(self, source: str, at: int, opening: Opening) -> int:
        """Add lines as long as they are inside the containers; where the others begin."""
        end = source.find("\n", at) + 1
        while end:
            self._add(source[at:end], at)
            at, end = end, source.find("\n", end) + 1
            line = source[at : end or len(source)]
            marks, skip = _strip(line, opening.strip)
            if skip < 0:
                self.inside = at
                return self._renumber(source, at, opening.number)
            if marks:
                self._add(marks, at)
            at += skip
        self._add(source[at:], at)
        return len(source)

    def _renumber(self, source: str, at: int, number: int | None) -> int:
        if number is not None and _NUMBER_TO_BE.match(source, at):
            self._unsettled = self._length  # with the next character it may count otherwise
        item = _ORDERED.match(source, at)
        if number is None or item is None:
            return at
        self._add(str(number), at)
        return item.end()


def _strip(line: str, containers: tuple[int, ...]) -> tuple[str, int]:
    """The quote marks of a line, and how much of it they and the indentation take.

    The latter is negative when the line is not in the outermost container any more.
    """
    at, marks = 0, ""
    for depth, width in enumerate(containers):
        blank = not line[at:].strip()
        if width == 0:
            mark = QUOTE.match(line, at)
            if mark is None:
                return (marks, at) if depth else ("", -1)
            at, marks = mark.end(), marks + mark.group()
            continue
        spaces = len(line) - at - len(line[at:].lstrip(" "))
        if spaces < width and not blank and depth == 0:
            return "", -1
        at += min(spaces, width)
    return marks, at
