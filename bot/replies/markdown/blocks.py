"""The block structure of a piece of Markdown: which lines belong to what, and in which containers.

Invariant: the structure of lines that are complete never changes with what follows, except that of
the last leaf; so whatever stands before a leaf at which parsing may start anew is never parsed
again.
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
from bot.replies.markdown.fences import Nesting, nests

QUOTE = re.compile(r" {0,3}> ?")
MARKER = re.compile(r" *(?:[-+*]|(\d{1,9})([.)]))(?=\s|$)")
# A line of which only marks have come: nobody can tell a heading's underline from a list.
MARKS = re.compile(
    r"(?:\s++|>|(?:[-+*]|\d{1,9}[.)])\s++)*+(?:[-+*=_#|~`>\s]*|\d{1,9}[.)]?|\[[ xX]?\]?)\Z"
)
# A line that may become a formula of its own, or go on with the text above it.
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
    """A block quote, or one item of a list; compared by identity.

    `line` is where it begins; `width` how far the content of an item is indented; `list` tells
    whose item it is; `number` is what people read before an ordered item.
    """

    line: int
    width: int = 0
    list: int = 0
    number: int | None = None

    @property
    def quote(self) -> bool:
        """Whether its lines are marked, not indented."""
        return self.width == 0


@dataclass(frozen=True, slots=True)
class Leaf:
    """A block that contains text: its lines (the last excluded), innermost container last.

    `kind` is paragraph, heading, fence, code (indented), formula, rule, table, or empty (an item
    without content); `markup` and `info` are a fence's, and `ended` tells of one with Markdown
    inside, and of a formula, whether it has its end; `doubtful` that the next line decides it.
    """

    kind: str
    first: int
    last: int
    containers: tuple[Container, ...]
    markup: str = ""
    info: str = ""
    ended: bool | None = None
    doubtful: bool = False


@cache
def _parser() -> MarkdownIt:
    """Blocks alone: the inline rules are most of the cost, and give no places in the source."""
    parser = make_parser()
    parser.disable("reference")  # a definition far below must not change a sealed page
    parser.core.ruler.disable(["inline", "text_join"])
    return parser


class BlockTree:
    """The leaves of `text`, and where its lines begin."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.leaves: list[Leaf] = []
        self._containers: list[Container] = []
        self._lists: list[tuple[int, int | None]] = []  # (token index, next number)
        # markdown-it takes \r for a line's end and would lose count of the characters.
        for index, token in enumerate(_parser().parse(text.replace("\r", " "))):
            self._take(index, token)

    def line(self, number: int) -> str:
        """A line with its line feed, if it has one."""
        end = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.text)
        return self.text[self.starts[number] : end]

    @property
    def complete(self) -> int:
        """How many lines end with a line feed: the one after them may still grow."""
        return len(self.starts) - 1

    @property
    def known(self) -> int:
        """How many lines there are whose place among the blocks cannot change any more."""
        last = self.starts[-1]
        unsure = MARKS.match(self.text, last) or _FORMULA.match(self.text, last)
        return self.complete + (unsure is None)

    def closed(self, leaf: Leaf) -> bool:
        """Whether no later text can belong to the leaf."""
        if leaf.kind == "fence":
            return self.fence_closed(leaf)
        if leaf.kind == "formula" and leaf.ended and leaf.last <= self.complete:
            return True
        return leaf.last < self.complete or (
            leaf.kind in ("heading", "rule") and leaf.last <= self.complete
        )

    def fence_closed(self, leaf: Leaf) -> bool:
        """Whether a fence has its closing line, whole."""
        if leaf.doubtful and leaf.last >= self.complete:
            return False
        return leaf.last <= self.complete and self.fence_ends(leaf)

    def fence_ends(self, leaf: Leaf) -> bool:
        """Whether a fence has its closing line, if nothing is added to that."""
        if leaf.ended is not None:
            return leaf.ended
        return leaf.last - leaf.first >= 2 and self.closes(leaf, leaf.last - 1)

    def closes(self, leaf: Leaf, number: int) -> bool:
        """Whether a line is the closing line of a fence."""
        line = self.line(number)
        rest = line[consume(line, number, leaf.containers) :].strip()
        return len(rest) >= len(leaf.markup) and not rest.strip(leaf.markup[0])

    def bare(self, leaf: Leaf, number: int) -> str:
        """Line `number` of a leaf without the marks and the indentation of its containers."""
        line = self.line(number)
        return line[consume(line, number, leaf.containers) :]

    def nesting(self, leaf: Leaf, upto: int) -> Nesting:
        """Which fences are open in a fence before line `upto`."""
        nesting = Nesting.of(leaf.info, leaf.markup)
        if nests(leaf.info):
            for number in range(leaf.first + 1, min(upto, len(self.starts))):
                more = number + 1 < len(self.starts)
                nesting.take(self.bare(leaf, number), self.bare(leaf, number + 1) if more else None)
        return nesting

    def closer(self, leaf: Leaf) -> str:
        """The line that ends a fence which has not ended."""
        return self.nesting(leaf, leaf.last).closer

    def end(self, leaf: Leaf) -> int:
        """The offset behind a leaf's last line."""
        return self.starts[leaf.last] if leaf.last < len(self.starts) else len(self.text)

    def restarts(self) -> Iterator[tuple[Leaf, Leaf]]:
        """The leaves before which nothing has to be parsed again, each after the one before it."""
        for before, leaf in pairwise(self.leaves):
            if leaf.first < self.complete and all(c.quote for c in shared(before, leaf)):
                yield before, leaf

    # ── from tokens to leaves ─────────────────────────────────────────────────────────────────
    def _take(self, index: int, token: Token) -> None:
        if token.type in _LEAVES and token.map is not None:
            first, last = token.map
            leaf = _LEAVES[token.type], first, last, token.markup, token.info
            self._add(*leaf, token.meta.get("ended"), token.meta.get("doubtful", False))
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
        doubtful: bool = False,
    ) -> None:
        while last - 1 > first and not self.line(last - 1).strip(" \t\n>") and kind != "fence":
            last -= 1
        self.leaves.append(
            Leaf(kind, first, last, tuple(self._containers), markup, info, ended, doubtful)
        )

    def _begin_item(self, first: int) -> None:
        line = self.line(first)
        at = consume(line, first, self._containers)
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


def siblings(one: Leaf, other: Leaf) -> bool:
    """Whether two leaves are in different items of one list that is in no other container."""
    if not one.containers or not other.containers:
        return False
    mine, yours = one.containers[0], other.containers[0]
    return mine is not yours and mine.list == yours.list != 0


def top_level(before: Leaf, leaf: Leaf) -> bool:
    """Whether a cut before `leaf` separates whole blocks, and no heading from its text."""
    return before.kind != "heading" and not shared(before, leaf) and not siblings(before, leaf)


def shared(one: Leaf, other: Leaf) -> tuple[Container, ...]:
    """The containers that two leaves are both in."""
    common = 0
    for mine, yours in zip(one.containers, other.containers, strict=False):
        if mine is not yours:
            break
        common += 1
    return one.containers[:common]


def consume(line: str, number: int, containers: tuple[Container, ...] | list[Container]) -> int:
    """How much of line `number` are the marks and the indentation of its containers."""
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


def prefix(containers: tuple[Container, ...]) -> str:
    """What a further line of these containers begins with."""
    return "".join("> " if container.quote else " " * container.width for container in containers)


def quotes(containers: tuple[Container, ...]) -> str:
    """What a line begins with when the items of these containers are left out."""
    return "> " * sum(container.quote for container in containers)
