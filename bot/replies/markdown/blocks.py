"""The block structure of Markdown: which lines belong to which leaf, in which containers.

Invariant: later text never changes the structure of complete lines, except in the last leaf. So
text before a restart point is never parsed again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.replies.markdown.dialect import make_parser
from bot.replies.markdown.fences import FenceStack, contains_markdown

QUOTE = re.compile(r" {0,3}> ?")
MARKER = re.compile(r" *(?:[-+*]|(\d{1,9})([.)]))(?=\s|$)")
# A line that has only markers so far may become a list, an underline, a rule, a table …
MARKERS_ONLY = re.compile(
    r"(?:\s++|>|(?:[-+*]|\d{1,9}[.)])\s++)*+(?:[-+*=_#|~`>\s]*|\d{1,9}[.)]?|\[[ xX]?\]?)\Z"
)
# A line that may become a formula block or continue the text above.
_FORMULA = re.compile(r"(?:\s++|>|(?:[-+*]|\d{1,9}[.)])\s++)*+[$\\]")
_LEAVES = {
    "paragraph_open": "paragraph",
    "heading_open": "heading",
    "fence": "fence",
    "code_block": "code",
    "hr": "rule",
    "table_open": "table",
    "math_block": "formula",
}


@dataclass(frozen=True, slots=True, eq=False)
class Container:
    """A block quote or a list item; compared by identity.

    `line` is the number of its first line, `width` the indentation of an item's content. `list`
    identifies the item's list, and `number` is the number shown before an ordered item.
    """

    line: int
    width: int = 0
    list: int = 0
    number: int | None = None

    @property
    def quote(self) -> bool:
        """Whether this is a block quote, whose lines have a marker instead of an indentation."""
        return self.width == 0


@dataclass(frozen=True, slots=True)
class Leaf:
    """A block that contains text: lines `first` to `last` (exclusive), innermost container last.

    `kind` is paragraph, heading, fence, code (indented), formula, rule, table, or empty (an item
    without content). `markup` and `info` belong to a fence. `ended` says whether a formula, or a
    fence with Markdown inside, has its end; `ambiguous` that only the next line decides this.
    """

    kind: str
    first: int
    last: int
    containers: tuple[Container, ...]
    markup: str = ""
    info: str = ""
    ended: bool | None = None
    ambiguous: bool = False


@cache
def _parser() -> MarkdownIt:
    """A parser of blocks only: inline rules cost most of the time and give no source offsets."""
    parser = make_parser()
    parser.disable("reference")  # a definition further down must not change a sealed page
    parser.core.ruler.disable(["inline", "text_join"])
    return parser


class BlockTree:
    """The leaves of `text` and the offsets at which its lines begin."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.leaves: list[Leaf] = []
        self._containers: list[Container] = []
        self._lists: list[tuple[int, int | None]] = []  # (token index, next number)
        # markdown-it treats \r as a line end, which would shift the line numbers.
        for index, token in enumerate(_parser().parse(text.replace("\r", " "))):
            self._take(index, token)

    def line(self, number: int) -> str:
        """Line `number` with its line feed, if it has one."""
        end = self.line_starts[number + 1] if number + 1 < len(self.line_starts) else len(self.text)
        return self.text[self.line_starts[number] : end]

    @property
    def complete_lines(self) -> int:
        """Number of lines that end with a line feed; the line after them may still grow."""
        return len(self.line_starts) - 1

    @property
    def settled_lines(self) -> int:
        """Number of lines whose place in the block structure is final."""
        last = self.line_starts[-1]
        undecided = MARKERS_ONLY.match(self.text, last) or _FORMULA.match(self.text, last)
        return self.complete_lines + (undecided is None)

    def is_closed(self, leaf: Leaf) -> bool:
        """Whether no later text can belong to `leaf`."""
        if leaf.kind == "fence":
            return self.is_fence_closed(leaf)
        if leaf.kind == "formula" and leaf.ended and leaf.last <= self.complete_lines:
            return True
        return leaf.last < self.complete_lines or (
            leaf.kind in ("heading", "rule") and leaf.last <= self.complete_lines
        )

    def is_fence_closed(self, leaf: Leaf) -> bool:
        """Whether a fence's closing line is complete."""
        if leaf.ambiguous and leaf.last >= self.complete_lines:
            return False
        return leaf.last <= self.complete_lines and self.has_closing_line(leaf)

    def has_closing_line(self, leaf: Leaf) -> bool:
        """Whether a fence has a closing line, which may still grow into something else."""
        if leaf.ended is not None:
            return leaf.ended
        return leaf.last - leaf.first >= 2 and self.is_closing_line(leaf, leaf.last - 1)

    def is_closing_line(self, leaf: Leaf, number: int) -> bool:
        """Whether line `number` closes the fence `leaf`."""
        rest = self.line_content(leaf, number).strip()
        return len(rest) >= len(leaf.markup) and not rest.strip(leaf.markup[0])

    def line_content(self, leaf: Leaf, number: int) -> str:
        """Line `number` of a leaf without the markers and indentation of its containers."""
        line = self.line(number)
        return line[marker_length(line, number, leaf.containers) :]

    def fence_stack(self, leaf: Leaf, before: int) -> FenceStack:
        """The fences that are open in the fence `leaf` before line `before`."""
        stack = FenceStack.begin(leaf.info, leaf.markup)
        if contains_markdown(leaf.info):
            for number in range(leaf.first + 1, min(before, len(self.line_starts))):
                has_next = number + 1 < len(self.line_starts)
                next_line = self.line_content(leaf, number + 1) if has_next else None
                stack.feed(self.line_content(leaf, number), next_line)
        return stack

    def closing_line(self, leaf: Leaf) -> str:
        """The line that closes an open fence."""
        return self.fence_stack(leaf, leaf.last).closing_line

    def end_of(self, leaf: Leaf) -> int:
        """The offset after the last line of `leaf`."""
        return self.line_starts[leaf.last] if leaf.last < len(self.line_starts) else len(self.text)

    def restart_points(self) -> Iterator[tuple[Leaf, Leaf]]:
        """Pairs of neighboring leaves between which parsing can restart."""
        for before, leaf in pairwise(self.leaves):
            if leaf.first < self.complete_lines and all(
                c.quote for c in shared_containers(before, leaf)
            ):
                yield before, leaf

    # ── from tokens to leaves ─────────────────────────────────────────────────────────────────
    def _take(self, index: int, token: Token) -> None:
        if token.type in _LEAVES and token.map is not None:
            first, last = token.map
            leaf = _LEAVES[token.type], first, last, token.markup, token.info
            self._add(*leaf, token.meta.get("ended"), token.meta.get("ambiguous", False))
        elif token.type == "blockquote_open" and token.map is not None:
            self._containers.append(Container(token.map[0]))
        elif token.type in ("bullet_list_open", "ordered_list_open"):
            start = int(token.attrs.get("start", 1)) if token.type[0] == "o" else None
            self._lists.append((index + 1, start))
        elif token.type == "list_item_open" and token.map is not None:
            self._begin_item(token.map[0])
        elif token.type == "list_item_close":
            self._end_item()
        elif token.type == "blockquote_close":
            self._containers.pop()
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            self._lists.pop()

    def _add(
        self,
        kind: str,
        first: int,
        last: int,
        markup: str = "",
        info: str = "",
        ended: bool | None = None,
        ambiguous: bool = False,
    ) -> None:
        while last - 1 > first and not self.line(last - 1).strip(" \t\n>") and kind != "fence":
            last -= 1
        self.leaves.append(
            Leaf(kind, first, last, tuple(self._containers), markup, info, ended, ambiguous)
        )

    def _begin_item(self, first: int) -> None:
        line = self.line(first)
        at = marker_length(line, first, self._containers)
        marker = MARKER.match(line, at)
        end = marker.end() if marker else at + 1
        spaces = len(line) - end - len(line[end:].lstrip(" "))
        width = end - at + (spaces if line[end:].strip() and spaces <= 4 else 1)
        key, number = self._lists[-1]
        self._containers.append(Container(first, width, key, number))
        if number is not None:
            self._lists[-1] = (key, number + 1)

    def _end_item(self) -> None:
        item = self._containers[-1]
        if not self.leaves or item not in self.leaves[-1].containers:
            self._add("empty", item.line, item.line + 1)
        self._containers.pop()


def in_sibling_items(one: Leaf, other: Leaf) -> bool:
    """Whether two leaves are in different items of one top-level list."""
    if not one.containers or not other.containers:
        return False
    mine, yours = one.containers[0], other.containers[0]
    return mine is not yours and mine.list == yours.list != 0


def between_top_blocks(before: Leaf, leaf: Leaf) -> bool:
    """Whether a break before `leaf` separates top-level blocks, but not a heading from its text."""
    return (
        before.kind != "heading"
        and not shared_containers(before, leaf)
        and not in_sibling_items(before, leaf)
    )


def shared_containers(one: Leaf, other: Leaf) -> tuple[Container, ...]:
    """The containers that contain both leaves."""
    common = 0
    for mine, yours in zip(one.containers, other.containers, strict=False):
        if mine is not yours:
            break
        common += 1
    return one.containers[:common]


def marker_length(
    line: str, number: int, containers: tuple[Container, ...] | list[Container]
) -> int:
    """Length of the markers and indentation with which line `number` of `containers` begins."""
    at = 0
    for container in containers:
        if container.quote:
            mark = QUOTE.match(line, at)
            if mark is None:
                break
            at = mark.end()
        elif number == container.line:
            at = min(at + container.width, len(line.rstrip("\n")))
        else:
            spaces = len(line) - at - len(line[at:].lstrip(" "))
            at += min(spaces, container.width)
    return at


def line_prefix(containers: tuple[Container, ...]) -> str:
    """The markers and indentation of a continuation line in `containers`."""
    return "".join("> " if container.quote else " " * container.width for container in containers)


def quote_prefix(containers: tuple[Container, ...]) -> str:
    """The quote markers of a line in `containers`, without the items' indentation."""
    return "> " * sum(container.quote for container in containers)
