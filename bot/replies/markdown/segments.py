"""Splits Markdown into segments, for platforms that parse Markdown themselves.

A segment is a code block with its fences, or the lines between two empty lines. While a reply
grows, only its last segment changes, so renderings can be cached by segment. This uses no parser,
because each frame would then have to parse the whole page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bot.replies.markdown.fences import FenceStack, contains_markdown

_CONTAINERS = r"(?:[ \t>]|(?:[-*+]|\d{1,9}[.)])[ \t])*+"
_OPENING = re.compile(rf"{_CONTAINERS}(`{{3,}}+(?=[^`\n]*$)|~{{3,}}+)([^\n]*)")
_ITEM = re.compile(r"[ >]*+(?:[-*+]|\d{1,9}[.)])[ \t]")


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the source.

    `nested`: a code block that contains Markdown. `ended`: a fenced block that has its closing
    line.
    """

    text: str
    code: bool = False
    nested: bool = False
    ended: bool = False


def split_segments(markdown: str) -> Iterator[Segment]:
    """Yield the segments of a document; joined together, they give the document again."""
    lines = markdown.splitlines(keepends=True) if "\r" not in markdown else _lines(markdown)
    at, begin, in_list = 0, 0, False
    while at < len(lines):
        opening = _OPENING.match(lines[at]) if _may_open(lines[at]) else None
        if opening is not None:
            yield from _text(lines[begin:at])
            begin = at
            at, ended = _end_of_fence(lines, at, opening)
            yield Segment("".join(lines[begin:at]), True, contains_markdown(opening[2]), ended)
            begin = at
        elif not lines[at].strip():
            yield from _text(lines[begin:at])
            yield Segment(lines[at])
            at += 1
            begin = at
        elif at == begin and _is_indented(lines[at]) and not in_list:
            at = _end_of_indented(lines, at)
            yield Segment("".join(lines[begin:at]), code=True)
            begin = at
        else:
            item = _ITEM.match(lines[at]) is not None
            in_list = item or (in_list and (at > begin or lines[at][0] in " \t"))
            at += 1
    yield from _text(lines[begin:])


def _lines(markdown: str) -> list[str]:
    return [f"{line}\n" for line in markdown.split("\n")[:-1]] + [markdown.rpartition("\n")[2]]


def _text(lines: list[str]) -> Iterator[Segment]:
    if lines:
        yield Segment("".join(lines))


def _may_open(line: str) -> bool:
    return "```" in line or "~~~" in line


def _is_indented(line: str) -> bool:
    return line.startswith(("    ", "\t"))


def _end_of_indented(lines: list[str], at: int) -> int:
    while at < len(lines) and _is_indented(lines[at]):
        at += 1
    return at


def _end_of_fence(lines: list[str], at: int, opening: re.Match[str]) -> tuple[int, bool]:
    """The number of the line after a fenced block, and whether the block has its closing line."""
    markup, stack = opening[1], None
    if contains_markdown(opening[2]):
        stack = FenceStack.begin(opening[2], markup)
    at += 1
    while at < len(lines):
        bare = lines[at].lstrip(" \t>").rstrip()
        next_line = lines[at + 1].lstrip(" \t>") if at + 1 < len(lines) else None
        ends = stack.feed(bare, next_line) if stack else _is_closing_line(bare, markup)
        at += 1
        if ends:
            return at, True
    return at, False


def _is_closing_line(bare: str, markup: str) -> bool:
    return len(bare) >= len(markup) and not bare.strip(markup[0])
