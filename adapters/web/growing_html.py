"""The HTML of a growing text, block by block; only what can still change is rendered again.

Invariant: the blocks match those from rendering the whole text, mended: no half-written mark is
shown (`bot.replies.markdown.mend`). Complete blocks are kept, and so is the beginning of a long
unfinished block (`block_cuts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_it.token import Token

from adapters.web.block_cuts import MOST_GROWING, Cut, line_start, next_cut
from adapters.web.highlighter import Highlight, plain
from adapters.web.render import page_parser
from bot.replies.markdown.mend import mend

_ENDED = frozenset({"paragraph_open", "heading_open", "table_open", "fence", "hr"})
"""Blocks that an empty line ends; lists, quotations and indented code continue across one."""


class GrowingHtml:
    """The HTML of a growing text.

    A link definition below its use takes effect only when the whole text is rendered.
    """

    def __init__(self, highlight: Highlight = plain) -> None:
        self._highlight = highlight
        self._source, self._done = "", 0
        self._complete: list[str] = []
        self._cut: Cut | None = None
        self._env: dict[str, Any] = {"highlight": highlight}

    def html(self, source: str, *, ended: bool = False) -> str:
        """The HTML of `source`: a continuation of the last one, or any other text.

        `ended` text is not mended.
        """
        return "".join(self.blocks(source, ended=ended))

    def blocks(self, source: str, *, ended: bool = False) -> tuple[str, ...]:
        """Like `html`, with one string for each top-level block."""
        if "\r" in source:  # markdown-it takes it for a line end, which would shift line numbers
            source = source.replace("\r\n", "\n").replace("\r", "\n")
        if not source.startswith(self._source[: self._cut.at if self._cut else self._done]):
            self._restart()
        self._source = source
        if self._cut is not None and not self._cut.holds(source, self._done):
            self._cut = None
        found = self._continue(ended) if self._cut is not None else None
        if found is None:
            self._cut = None
            found = self._continue(ended)
        return (*self._complete, *(found or ()))

    @property
    def parsed_length(self) -> int:
        """The fewest characters that the next call will parse."""
        return len(self._source) - (self._cut.at if self._cut else self._done)

    def _restart(self) -> None:
        self._source, self._done = "", 0
        self._complete, self._cut = [], None
        self._env = {"highlight": self._highlight}

    def _continue(self, ended: bool) -> list[str] | None:
        """The blocks that are not complete; None if the cut is no longer valid."""
        cut = self._cut
        head, at = (cut.head, cut.at) if cut else ("", self._done)
        tail = head + self._source[at:]
        shown = tail if ended else mend(tail).text
        groups = _top_level(page_parser().parse(shown, self._env))
        first = self._render(groups[0]) if groups else ""
        if cut is not None and not first.startswith(cut.lead):
            return None
        certain = _last_certain(groups, whole_lines=tail.count("\n"))
        if certain:
            first_line = groups[certain][0].map
            end = at + line_start(tail, first_line[0] if first_line else 0) - len(head)
            self._keep(groups[:certain], first, end)
            groups = groups[certain:]
            return [self._render(group) for group in groups]
        others = [self._render(group) for group in groups[1:]]
        if len(groups) == 1:
            self._cut = next_cut(cut, groups[0], tail, first, self._done, self._env)
        return [first if cut is None else cut.whole(first), *others] if groups else []

    def _keep(self, groups: Sequence[Sequence[Token]], first: str, end: int) -> None:
        """Add complete blocks, which end before `end`."""
        parser, cut = page_parser(), self._cut
        if cut is not None and not cut.is_code:
            self._complete.append(cut.whole(first))
        elif cut is not None:  # now it is known whether the code is short enough for colors
            last = groups[1][0].map if len(groups) > 1 else None
            tail = cut.head + self._source[cut.at :]
            stop = cut.at + line_start(tail, last[0]) - len(cut.head) if last else end
            self._complete.append(parser.render(self._source[self._done : stop], self._env))
        for group in groups[cut is not None :]:
            self._complete.append(parser.renderer.render(group, parser.options, self._env))
        self._done, self._cut = end, None

    def _render(self, group: Sequence[Token]) -> str:
        parser = page_parser()
        most = -1 if self._cut is not None and self._cut.is_code else MOST_GROWING
        env = self._env | {"highlighted": most}
        html: str = parser.renderer.render(group, parser.options, env)
        return html


# ── parts ─────────────────────────────────────────────────────────────────────────────────────
def _top_level(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """The tokens of each top-level block."""
    groups, start = [], 0
    for index, token in enumerate(tokens):
        if token.level == 0 and token.nesting <= 0:
            groups.append(tokens[start : index + 1])
            start = index + 1
    return groups


def _last_certain(groups: Sequence[Sequence[Token]], *, whole_lines: int) -> int:
    """The number of the last certain block; text before it cannot change. 0 if there is none.

    A block is certain once its first two lines are complete. Until then it may turn out to
    continue the block above: `*` starts a list item and `*em*` does not, `|-|` starts a
    table, `|-|x` does not. Nothing continues a paragraph or a table across an empty line.
    """
    for index in range(len(groups) - 1, 0, -1):
        above, lines = groups[index - 1][0], groups[index][0].map
        if lines is None:
            continue
        apart = above.type in _ENDED and above.map is not None and above.map[1] < lines[0]
        if apart or lines[0] + 2 <= whole_lines:
            return index
    return 0
