"""Renders a growing reply for a terminal: emphasis, headings, colored code, and tables in columns.

Invariant: the rendering of a beginning stays the beginning of every later rendering. So a code
block grows by complete lines, a table appears only when complete, and every line is rendered once.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal

from adapters.console.styles import style_emphasis
from bot.replies.markdown.block_rules import TIGHT_HEADING
from bot.replies.markdown.fences import language_of
from bot.replies.markdown.segments import Segment, split_segments
from bot.replies.markdown.table_rows import alignments, replace_breaks, split_cells

# Select Graphic Rendition (ECMA-48); the terminal's own colors suit its background.
_HEADING = ("\x1b[1;36m", "\x1b[22;39m")
_FENCE = ("\x1b[2m", "\x1b[22m")

_TITLE = re.compile(rf" {{0,3}}(?:#{{1,6}}[ \t]|{TIGHT_HEADING.pattern})")
_INFO = re.compile(r"[\s>]*(?:`{3,}+|~{3,}+)([^\n]*)")

CONTEXT_LINES = 100
"""Lines of code above a new line that may affect its colors, for example by opening a string."""

LINE_CHARACTERS = 500
"""The longest line of code to color: longer ones are data, and may take a lexer long."""


class GrowingReply:
    """Renders one reply, always from its beginning; a different beginning starts over."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._source = self._shown = ""  # of the complete blocks
        self._count = 0  # number of these blocks
        self._begun = self._rendered = ""  # the longest beginning, and its rendering
        self._code: list[str] = []  # the rendered lines of an open code block
        self._is_text = False  # the open block has been shown as text, so it stays text

    def begun(self, markdown: str) -> str:
        """The part of the rendering that later text will not change."""
        if not self._begun.startswith(markdown):
            self._rendered = self._render(markdown, ended=False)
            self._begun = markdown
        return self._rendered

    def whole(self, markdown: str) -> str:
        """The rendering of the whole reply."""
        return self._render(markdown, ended=True)

    def _render(self, markdown: str, *, ended: bool) -> str:
        if not markdown.startswith(self._source):
            self._start()
        segments = list(split_segments(markdown))[self._count :]
        for segment in segments[: None if ended else -1]:
            self._shown += self._complete(segment)
            self._source += segment.text
            self._count += 1
            self._code, self._is_text = [], False
        return self._shown if ended or not segments else self._shown + self._open(segments[-1])

    def _complete(self, segment: Segment) -> str:
        if segment.code:
            return "".join(self._code_lines(segment, segment.text.splitlines(keepends=True)))
        if not self._is_text and (table := _table(segment.text)):
            return table
        return "".join(_styled(segment.text))

    def _open(self, segment: Segment) -> str:
        """The part of the last block that later text cannot change."""
        if segment.code:
            lines = segment.text.splitlines(keepends=True)
            certain = [line for line in lines if line.endswith("\n")]
            return "".join(self._code_lines(segment, certain))
        if not self._is_text and _is_table(segment.text):
            return ""
        text = segment.text
        if _TITLE.match(text, text.rfind("\n") + 1):
            text = text[: text.rfind("\n") + 1]  # a heading's style ends with its line
        self._is_text = self._is_text or bool(text)
        return "".join(_styled(text))

    def _code_lines(self, segment: Segment, lines: list[str]) -> list[str]:
        """All rendered lines; lines from an earlier call stay unchanged."""
        begun = len(self._code)
        if begun < len(lines):
            self._code += _code(segment, lines)[begun:]
        return self._code


def _styled(text: str) -> Iterator[str]:
    """Yield headings, and the styled text between them."""
    between: list[str] = []
    for line in text.splitlines(keepends=True):
        if _TITLE.match(line):
            yield style_emphasis("".join(between))
            yield _wrap(line, _HEADING)
            between = []
        else:
            between.append(line)
    yield style_emphasis("".join(between))


def _wrap(line: str, style: tuple[str, str]) -> str:
    """Apply a style to a line; the style ends before the line feed."""
    bare = line.rstrip("\n")
    return style[0] + bare + style[1] + line[len(bare) :]


# ── code ──────────────────────────────────────────────────────────────────────────────────────
def _code(segment: Segment, lines: list[str]) -> list[str]:
    """Color the lines of a code block, including its fences, without changing their number."""
    info = _INFO.match(lines[0])
    language = language_of(info[1]) if info else ""
    if not language or segment.nested:
        return lines
    is_closed = segment.ended and sum(map(len, lines)) == len(segment.text)
    closing = [_wrap(lines[-1], _FENCE)] if is_closed else []
    body = lines[1 : len(lines) - len(closing)]
    return [_wrap(lines[0], _FENCE), *_highlight(body, language.lower()), *closing]


def _highlight(lines: list[str], language: str) -> list[str]:
    from pygments import highlight  # takes 0.1 s: import it only if there is code
    from pygments.formatters import TerminalFormatter

    plain, recent = lines[:-CONTEXT_LINES], lines[-CONTEXT_LINES:]
    lexer = _lexer(language)
    if lexer is None or any(len(line) > LINE_CHARACTERS for line in recent):
        return lines
    coloured = highlight("".join(recent), lexer, TerminalFormatter(bg="dark")).splitlines(
        keepends=True
    )
    return [*plain, *coloured] if len(coloured) == len(recent) else lines


@lru_cache(16)
def _lexer(language: str) -> object:
    """The lexer of a language; None for an unknown one."""
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


# ── tables ────────────────────────────────────────────────────────────────────────────────────
def _is_table(text: str) -> bool:
    lines = text.splitlines()
    return len(lines) > 1 and "|" in lines[0] and alignments(lines[1]) is not None


def _table(text: str) -> str:
    """Lay out a table in columns as wide as the terminal; "" for other text."""
    if not _is_table(text):
        return ""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    head, delimiter, *rows = text.splitlines()
    aligned = alignments(delimiter) or []
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title, side in zip(_cells(head, len(aligned)), aligned, strict=True):
        table.add_column(Text.from_ansi(title), justify=_JUSTIFY[side])
    for row in rows:
        table.add_row(*(Text.from_ansi(cell) for cell in _cells(row, len(aligned))))
    out = io.StringIO()
    width = shutil.get_terminal_size().columns
    Console(file=out, force_terminal=True, width=width, legacy_windows=False).print(table)
    shown = "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")
    return shown + "\n" * text.endswith("\n")


_JUSTIFY: Mapping[str, Literal["left", "center", "right"]] = {
    "": "left",
    "left": "left",
    "center": "center",
    "right": "right",
}


def _cells(row: str, columns: int) -> list[str]:
    """The styled cells of a row, padded to the number of columns."""
    cells = [replace_breaks(style_emphasis(cell), "\n") for cell in split_cells(row, columns)]
    return [*cells, *[""] * (columns - len(cells))]
