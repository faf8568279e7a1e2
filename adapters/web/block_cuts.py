"""Cuts in a long unfinished block, so that updates do not render its beginning again.

Invariant: cutting a block does not change its HTML. A table's rows and the lines of a code block do
not depend on each other. In a paragraph, text before a cut contains no mark that later text could
complete: each pair of marks there is closed, and the cut is at a blank, which no pair of marks
crosses unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from adapters.web.render import page_parser
from bot.replies.markdown.block_rules import MOST_CELLS
from bot.replies.markdown.code_spans import BacktickRuns
from bot.replies.markdown.dialect import MOST_DELIMITERS, MOST_LINKS
from bot.replies.markdown.fences import contains_markdown
from bot.replies.markdown.math import LONGEST_DISPLAY, LONGEST_INLINE
from bot.replies.markdown.table_rows import split_cells

MOST_GROWING = 2_000
"""The most characters of a growing code block to highlight: each frame highlights it again."""

SHORTEST = 400
"""The fewest characters after a cut that justify another cut: a shorter rest takes half a
millisecond."""

LEFT = 2
"""The fewest lines of a table or code block to leave after a cut: the last one is incomplete."""

_LEFT_CHARACTERS = 40  # of a paragraph after a cut at least: the last word is incomplete
_TABLE_END = "</tbody>\n</table></div>\n"
_CODE, _CODE_END = '<code class="highlight">', "</code></pre>\n"
_WORD = "x "  # stands for the text before a cut, which was a paragraph


@dataclass(frozen=True, slots=True)
class Cut:
    """The place in an unfinished block up to which it is rendered.

    `head`, followed by the source from `at` on, parses like the rest of the block. Its HTML begins
    with `lead`, for which `html` stands in the HTML of the whole block.
    """

    at: int
    head: str
    lead: str
    html: str
    is_code: bool = False
    columns: int = 0
    missing: int = 0  # cells that the rows before the cut lack

    def holds(self, source: str, start: int) -> bool:
        """Whether the block, which begins at `start`, certainly stays within all limits on whole
        blocks."""
        if self.columns:
            most = (source.count("\n", self.at) + 1) * self.columns
            return self.missing + most <= MOST_CELLS
        return self.is_code or _is_within_limits(source[start:])

    def whole(self, html: str) -> str:
        """The HTML of the whole block; `html` shows `head` and the rest."""
        return self.html + html[len(self.lead) :]


def next_cut(
    cut: Cut | None, tokens: Sequence[Token], tail: str, html: str, done: int, env: dict[str, Any]
) -> Cut | None:
    """The cut for the next update, or `cut` if no later one is certain.

    `tokens` and `html` are those of `tail`: the source's last block from `done` on, or with a cut
    its head and its rest.
    """
    opening = tokens[0]
    if len(tail) < SHORTEST or opening.map is None:
        return cut
    block = _Block(cut, opening.map[0], tail, html, done)
    if opening.type == "table_open":
        return block.after_rows(sum(token.type == "th_open" for token in tokens))
    if opening.type == "fence" and not contains_markdown(opening.info):
        return block.after_lines(len(opening.content))
    if opening.type == "paragraph_open":
        return block.after_words(env)
    return cut


def line_start(text: str, line: int) -> int:
    """The offset at which a line starts."""
    at = 0
    for _ in range(line):
        at = text.index("\n", at) + 1
    return at


@dataclass(frozen=True, slots=True)
class _Block:
    """An unfinished block; `first` is its first line in `tail`."""

    cut: Cut | None
    first: int
    tail: str
    html: str
    done: int

    def _source_offset(self, in_tail: int) -> int:
        if self.cut is None:
            return self.done + in_tail
        return self.cut.at + in_tail - len(self.cut.head)

    def _lines(self, first: int, after: int) -> str:
        return self.tail[line_start(self.tail, first) : line_start(self.tail, after)]

    def after_rows(self, columns: int) -> Cut | None:
        """Cut after the complete rows of a table."""
        begin = self.html.find("<tbody>\n") + len("<tbody>\n")
        rows = self.html[begin : -len(_TABLE_END)].split("</tr>\n")[:-1]
        kept = len(rows) - LEFT
        if kept < 1 or not self.html.endswith(_TABLE_END):
            return self.cut
        lead = self.html[:begin]
        lines = self._lines(self.first + 2, self.first + 2 + kept).splitlines()
        missing = sum(columns - len(split_cells(line, columns)) for line in lines)
        return Cut(
            at=self._source_offset(line_start(self.tail, self.first + 2 + kept)),
            head=self._lines(self.first, self.first + 2),
            lead=lead,
            html=(self.cut.html if self.cut else lead)
            + "".join(f"{r}</tr>\n" for r in rows[:kept]),
            columns=columns,
            missing=missing + (self.cut.missing if self.cut else 0),
        )

    def after_lines(self, length: int) -> Cut | None:
        """Cut after complete lines of code that is too long for colors."""
        if self.cut is None and length <= MOST_GROWING:
            return None
        begin = self.html.find(_CODE) + len(_CODE)
        lines = self.html[begin : -len(_CODE_END)].split("\n")
        kept = len(lines) - 1 - LEFT
        if kept < 1:
            return self.cut
        lead = self.html[:begin]
        return Cut(
            at=self._source_offset(line_start(self.tail, self.first + 1 + kept)),
            head=self._lines(self.first, self.first + 1),
            lead=lead,
            html=(self.cut.html if self.cut else lead) + "".join(f"{c}\n" for c in lines[:kept]),
            is_code=True,
        )

    def after_words(self, env: dict[str, Any]) -> Cut | None:
        """Cut after the text of a paragraph that no later text can change."""
        begin = len(self.cut.head) if self.cut else line_start(self.tail, self.first)
        text = self.tail[begin:]
        if self.cut is None:
            begin += len(text) - len(text.lstrip(" "))
            text = text.lstrip(" ")
            if text.startswith("[") or not _is_within_limits(text):
                return None
        for share in (1.0, 0.6, 0.3):
            end = text.rfind(" ", 0, int((len(text) - _LEFT_CHARACTERS) * share)) + 1
            chunk = text[:end]
            if end and _is_border(text, end) and (html := _closed_html(chunk, env)) is not None:
                before = self.cut or Cut(0, _WORD, f"<p>{_WORD}", "<p>")
                at = self._source_offset(begin + end)
                return replace(before, at=at, html=before.html + html)
        return self.cut


# ── paragraphs ────────────────────────────────────────────────────────────────────────────────
def _is_within_limits(text: str) -> bool:
    """Whether the parser's limits for one paragraph are certainly not reached."""
    marks = sum(text.count(mark) for mark in "*_~")
    return marks <= MOST_DELIMITERS and text.count("[") <= MOST_LINKS


def _is_border(text: str, end: int) -> bool:
    """Whether the line that contains `end` stays a line of the paragraph, whatever follows.

    A line with a word in it is no rule, heading mark or delimiter row. A pipe may turn it into a
    table's header, and formulas are recognized by their whole line.
    """
    line = text[text.rfind("\n", 0, end) + 1 : end].lstrip(" ")
    known = any(map(str.isalnum, line)) and "|" not in line and line[0] not in "$\\"
    return known and not text[end - 2].isspace() and not text[end].isspace()


def _closed_html(chunk: str, env: dict[str, Any]) -> str | None:
    """The HTML of text that ends with a blank; None if later text could change it."""
    if not _is_closed(chunk, env):
        return None
    html = page_parser().render(_WORD + chunk[:-1], env)
    lead, end = f"<p>{_WORD}", "</p>\n"
    whole = html.startswith(lead) and html.endswith(end) and html.count(end) == 1
    return f"{html[len(lead) : -len(end)]} " if whole else None


def _is_closed(chunk: str, env: dict[str, Any]) -> bool:
    if "\\`" in chunk or not _is_free_of_formulas(chunk):
        return False
    plain, at = [], 0
    for start, end in BacktickRuns(chunk).spans():
        if end is None:
            return False
        plain.append(chunk[at:start])
        at = end
    plain.append(chunk[at:])
    return _has_no_open_bracket("".join(plain)) and _has_no_open_mark(chunk, env)


def _is_free_of_formulas(chunk: str) -> bool:
    """Whether no formula can begin in the chunk and end after it."""
    left = [(LONGEST_INLINE, "$"), (LONGEST_DISPLAY, "$$"), (LONGEST_DISPLAY, "\\")]
    return all(chunk.find(mark, max(0, len(chunk) - most)) < 0 for most, mark in left)


def _has_no_open_bracket(text: str) -> bool:
    depth = 0
    for sign in text:
        if sign == "[":
            depth += 1
        elif sign == "]" and depth:
            depth -= 1
    return depth == 0


def _has_no_open_mark(chunk: str, env: dict[str, Any]) -> bool:
    """Whether all emphasis is closed, and each beginning of a link target belongs to a complete
    link."""
    inline = page_parser().inline
    state = StateInline(chunk, page_parser(), env, [])
    inline.tokenize(state)
    for rule in inline.ruler2.getRules(""):
        rule(state)
    if any(each.open and each.end < 0 for each in state.delimiters):
        return False
    links = sum(
        token.type == "image" or (token.type == "link_open" and token.markup != "autolink")
        for token in state.tokens
    )
    return chunk.count("](") == links
