"""The Markdown of one page, made from the reply's source, with a map back to source offsets.

Invariant: a page stands on its own. Its head reopens what the page break left open. Lines that
continue inside a list item lose the item's indentation, which would turn them into code.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from bot.replies.markdown.blocks import QUOTE
from bot.replies.markdown.fences import FenceStack

_ORDERED = re.compile(r" {0,3}(\d{1,9})(?=[.)](?:\s|$))")
_BLANK_LINES = re.compile(r"(?:[ \t]*\n)*(?:[ \t]*\Z)?")
_PARTIAL_NUMBER = re.compile(r" {0,3}\d{1,9}[.)]?\Z")


@dataclass(frozen=True, slots=True)
class Opening:
    """How a page begins: at offset `start` of the source, with `head` replacing `skip` characters.

    `containers` are the containers around the break, outermost first: the width of a list item,
    whose indentation is removed, or 0 for a quote, whose marker stays. `number` is the number of
    the next item after the outermost one, if that is in an ordered list. `closing_fence` closes the
    code block that the head reopens.
    """

    start: int = 0
    skip: int = 0
    head: str = ""
    containers: tuple[int, ...] = ()
    number: int | None = None
    closing_fence: str = ""


class PageText:
    """The page's Markdown (`text`) up to the end of the source received so far.

    Further source does not change the first `settled` characters.
    """

    def __init__(self, source: str, opening: Opening) -> None:
        self._offsets: list[tuple[int, int]] = [(0, opening.start)]  # (in the text, in the source)
        self._parts: list[str] = []
        self._length = 0
        at = opening.start + opening.skip
        if opening.head:
            self._add(opening.head, opening.start)
        elif not opening.skip and (blank := _BLANK_LINES.match(source, at)):
            at = blank.end()
        self._unsettled: int | None = None
        self._open: list[tuple[int, tuple[int, ...]]] = [(opening.start, opening.containers)]
        if any(opening.containers):
            at = self._add_contained_lines(source, at, opening)
        self._add(source[at:], at)
        self.text = "".join(self._parts)
        self.settled = len(self.text) if self._unsettled is None else self._unsettled

    def source_offset(self, offset: int) -> int:
        """The source offset of the character at `offset` in the text."""
        index = bisect_right(self._offsets, offset, key=lambda pair: pair[0]) - 1
        text_start, source_start = self._offsets[index]
        following = self._offsets[index + 1][1] if index + 1 < len(self._offsets) else None
        mapped = source_start + offset - text_start
        return mapped if following is None else min(mapped, following)

    def containers_at(self, source: int) -> tuple[int, ...]:
        """The opening's containers that are still open at an offset in the source."""
        since = [start for start, _ in self._open]
        containers = self._open[max(0, bisect_right(since, source) - 1)][1]
        return containers if any(containers) else ()

    def _add(self, text: str, source: int) -> None:
        if self._length or source != self._offsets[0][1]:
            self._offsets.append((self._length, source))
        self._parts.append(text)
        self._length += len(text)

    def _add_contained_lines(self, source: str, at: int, opening: Opening) -> int:
        """Add lines while they are inside a list item; return where the other lines begin."""
        containers, fence = opening.containers, opening.closing_fence
        stack = FenceStack.reopened_by(opening.head) if fence else None
        end = source.find("\n", at) + 1
        while end:
            self._add(source[at:end], at)
            line = source[at:end]
            next_line = source[end : source.find("\n", end) + 1 or len(source)] or None
            if fence and (stack.feed(line, next_line) if stack else _closes(line, fence)):
                fence = ""
            at, end = end, source.find("\n", end) + 1
            markers, skip, depth = _match_containers(source[at : end or len(source)], containers)
            if depth < len(containers):
                if fence and all(containers[depth:]):  # the code block ends with its list item
                    closing_line = stack.closing_line if stack else fence
                    self._add(f"{markers}{closing_line}\n", at)
                fence = ""
                left_all = not any(containers[:depth])
                containers = containers[:depth]
                self._open.append((at, containers))
                self._separate_number(source, at, skip, markers)
                if left_all:
                    return self._renumber(source, at, skip, opening.number)
            if markers:
                self._add(markers, at)
            at += skip
        self._add(source[at:], at)
        return len(source)

    def _separate_number(self, source: str, start: int, skip: int, markers: str) -> None:
        """Add a blank line before an ordered item, which here would not end a paragraph."""
        if _PARTIAL_NUMBER.match(source, start + skip):
            self._unsettled = self._length  # the next character may show that it is no number
        if _ORDERED.match(source, start + skip) and self._parts[-1].strip(" \t\n>"):
            self._add(markers.rstrip() + "\n", start)

    def _renumber(self, source: str, start: int, skip: int, number: int | None) -> int:
        """Continue the list's numbers after the split item; return where the rest begins."""
        at = start + skip
        item = _ORDERED.match(source, at)
        if number is None or item is None:
            return start
        self._add(source[start:at], start)
        self._add(str(number), at)
        return item.end()


def _closes(line: str, fence: str) -> bool:
    """Whether a line closes a code block opened with `fence`."""
    content = line.strip()
    return (
        len(content) >= len(fence) and not content.strip(fence[0]) and not line.startswith("    ")
    )


def _match_containers(line: str, containers: tuple[int, ...]) -> tuple[str, int, int]:
    """Match a line against its containers.

    Returns the line's quote markers, the length of its markers and indentation, and how many of the
    containers the line is in.
    """
    at, markers = 0, ""
    for depth, width in enumerate(containers):
        if width == 0:
            marker = QUOTE.match(line, at)
            if marker is None:
                return markers, at, depth
            at, markers = marker.end(), markers + marker.group()
            continue
        rest = line[at:]
        spaces = len(rest) - len(rest.lstrip(" "))
        if spaces < width and rest.strip():
            return markers, at, depth
        at += min(spaces, width)
    return markers, at, len(containers)
