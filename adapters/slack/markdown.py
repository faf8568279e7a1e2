"""Adapts Markdown to the parser of Slack's `markdown` block.

The authors of slack-markdown-parser observed how Slack's web client parses it
(https://github.com/darkgaldragon/slack-markdown-parser, docs/spec.md and
docs/slack-nested-modifier-findings.md, 2026): emphasis and code that touch Chinese, Japanese or
Korean text often fail and need a zero-width space outside; emphasis that contains code needs a
visible space; `<foo>` is parsed as a control sequence; formulas and HTML are not supported. Where
CommonMark's flanking rule would reject emphasis, this module adds a hair space, which every parser
treats as a space. That Slack reads pipes in a table's code like GFM is a guess.

Invariants: code keeps its characters; later text never changes the output for earlier text, so a
stream can append it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from adapters.slack.literal_text import (
    Edits,
    break_angles,
    end_addresses,
    keep_stray_marks,
    show_names,
    space,
)
from bot.replies.markdown.block_rules import TIGHT_HEADING, may_be_title
from bot.replies.markdown.flanking import is_punctuation
from bot.replies.markdown.inline import Span, parse_inline
from bot.replies.markdown.math import formula_block_length
from bot.replies.markdown.segments import Segment, split_segments
from bot.replies.markdown.table_rows import (
    alignments,
    count_header_cells,
    escape_for_gfm,
    replace_breaks,
)

CACHED_PIECES = 512  # only the last piece of a growing reply changes

# Text without any of these needs no change, so most English answers cost only this search.
_SIGNS = (
    *("$", "|", "<", "~", "\\", "__", "\n---", "> ---"),
    *("```m", "```M", "```gfm", "```rmd", "```Rmd", "```qmd"),
)
_TOUCHING = re.compile(r"""[*`~_]["'(\[]?[^\x00-\x7f]|(?<=[^\x00-\x7f])["')\]]?[*`~_]""")
_PATTERN = re.compile(r"[\d/(]\*|\*[\d/.)\]]|[)\]}]\*[(\[{]")
_PREFIX = re.compile(r"(?:[ \t>]|(?:[-*+]|\d{1,9}[.)])[ \t])*+")
_RULE = re.compile(r"\A(?:>[ ]?)*[ ]{0,3}-{3,}[ \t]*\n?")
_LONG_FENCE = re.compile("`{4,}")
_FENCE_LINE = re.compile(r"(?<!`)`{3,}+(?=[^`\n]*+\n?$)")


def for_slack(markdown: str) -> str:
    """`markdown` rewritten so that Slack displays it as intended."""
    if not _may_change(markdown):
        return markdown
    return "".join(map(_rewrite_piece, split_segments(markdown)))


def _may_change(text: str) -> bool:
    """Whether `text` has anything that may need a change."""
    if any(sign in text for sign in _SIGNS) or _PATTERN.search(text) is not None:
        return True
    if "##" in text and TIGHT_HEADING.search(text) is not None:
        return True
    return not text.isascii() and ("://" in text or _TOUCHING.search(text) is not None)


def _rewrite_piece(piece: Segment) -> str:
    if piece.code:
        return _flatten_fence(piece) if piece.nested else piece.text
    return _rewrite(piece.text)


def _flatten_fence(piece: Segment) -> str:
    """Markdown in a fence, with tildes in place of its inner fences, so that none ends the
    block."""
    first, *lines = piece.text.splitlines(keepends=True)
    opening = re.sub(r"(\w) [+~_\d]+$", r"\1", first.rstrip("\n")) + "\n" * first.endswith("\n")
    opening = _LONG_FENCE.sub("```", opening)
    if "```" not in first:
        return "".join([opening, *lines])  # the fence has tildes, so no backtick ends the block
    closing = [_LONG_FENCE.sub("```", line) for line in lines[-1:] if piece.ended]
    inner = lines[: len(lines) - len(closing)]
    return "".join([opening, *(_FENCE_LINE.sub(_tildes, line) for line in inner), *closing])


def _tildes(found: re.Match[str]) -> str:
    return "~" * len(found[0])


@lru_cache(CACHED_PIECES)
def _rewrite(text: str) -> str:
    if not _may_change(text):
        return text
    lines = text.splitlines(keepends=True)
    return "".join(_table(lines) or _paragraph(lines))


# ── blocks ────────────────────────────────────────────────────────────────────────────────────
def _table(lines: list[str]) -> list[str] | None:
    """A table's lines for a parser that splits rows at every pipe; None if there is no table."""
    for number in range(1, len(lines)):
        if "|" not in lines[number - 1]:
            continue
        prefix = _prefix(lines[number - 1])
        columns = alignments(lines[number][_prefix(lines[number], "> \t") :])
        if columns and count_header_cells(lines[number - 1][prefix:].strip(), len(columns)) == len(
            columns
        ):
            rows = [lines[number - 1], *lines[number + 1 :]]
            shown = [_row(row, len(columns)) for row in rows]
            return [*_paragraph(lines[: number - 1]), shown[0], lines[number], *shown[1:]]
    return None


def _prefix(line: str, marks: str = "") -> int:
    if marks:
        return len(line) - len(line.lstrip(marks))
    found = _PREFIX.match(line)
    return found.end() if found else 0


@lru_cache(4 * CACHED_PIECES)
def _row(line: str, columns: int) -> str:
    at = _prefix(line)
    end = len(line.rstrip("\n"))
    row = replace_breaks(escape_for_gfm(line[at:end], columns), " ")
    if _may_change(row.replace("|", " ")):
        row = _inline(row)
    return line[:at] + row + line[end:]


def _paragraph(lines: list[str]) -> list[str]:
    """Text with each multi-line formula as a code block."""
    shown: list[str] = []
    lines = [_spaced_heading(line) for line in _apart_from_rules(lines)]
    begin = at = 0

    def line(number: int) -> str | None:
        return lines[number][_prefix(lines[number]) :] if number < len(lines) else None

    while at < len(lines):
        length, _ = formula_block_length(line, at)
        if length:
            prefix = re.sub(r"[^ \t>]", " ", lines[at][: _prefix(lines[at])])
            block = _code_block(lines[at : at + length], prefix)
            shown += [_inline("".join(lines[begin:at])), *block]
            begin = at + length
        at += max(length, 1)
    return [*shown, _inline("".join(lines[begin:]))]


def _spaced_heading(line: str) -> str:
    """A line with a blank behind the marks of a heading, without which Slack sees text."""
    at = _prefix(line)
    marks = TIGHT_HEADING.match(line, at)
    return f"{line[: marks.end()]} {line[marks.end() :]}" if marks else line


def _apart_from_rules(lines: list[str]) -> Iterator[str]:
    """The lines with an empty one above each rule that would make a heading of a sentence."""
    for number, line in enumerate(lines):
        above = lines[max(0, number - 2) : number]
        if above and _RULE.fullmatch(line) and not may_be_title(_without_quotes(above)):
            yield line[: len(line) - len(line.lstrip("> "))].rstrip() + "\n"
        yield line


def _without_quotes(lines: list[str]) -> str:
    return "\n".join(line.strip().lstrip("> ") for line in lines)


def _code_block(lines: list[str], prefix: str) -> list[str]:
    end = "" if lines[-1].endswith("\n") else "\n"
    first = lines[0][: _prefix(lines[0])]
    rest = lines[0][len(first) :]
    return [f"{first}```\n", prefix + rest, *lines[1:], f"{end}{prefix}```\n"]


# ── inline ────────────────────────────────────────────────────────────────────────────────────
def _inline(text: str) -> str:
    spans = parse_inline(text, ended=True).spans
    opaque = sorted(
        (span for span in spans if span.formula or span.delimiter.startswith("`")),
        key=lambda span: span.start,
    )
    edits: Edits = {}  # start offset → (end offset, replacement)
    for span in spans:
        edits.update(_boundaries(text, span))
    gaps = list(_gaps(opaque, len(text)))
    for start, end in gaps:
        edits.update(break_angles(text, start, end))
    edits.update(keep_stray_marks(text, gaps, spans))
    edits.update(show_names(text, gaps, spans))
    edits.update(end_addresses(text, gaps, spans))
    for span in opaque:
        if span.formula:
            edits.update(_formula(text, span))
    return _apply_edits(text, edits)


def _apply_edits(text: str, edits: Edits) -> str:
    parts, at = [], 0
    for start in sorted(edits):
        end, replacement = edits[start]
        if start >= at:
            parts += [text[at:start], replacement]
            at = max(end, start)
    return "".join([*parts, text[at:]])


def _gaps(opaque: list[Span], end: int) -> Iterator[tuple[int, int]]:
    """The ranges outside code and formulas."""
    at = 0
    for span in opaque:
        yield at, span.start
        at = span.end
    yield at, end


def _formula(text: str, span: Span) -> Edits:
    """A formula's source as code, unchanged."""
    content = text[span.start : span.end].replace("\n", " ")
    if "`" in content:
        return {}
    before = space(text[span.start - 1 : span.start], False)
    after = space(text[span.end : span.end + 1], False)
    return {span.start: (span.end, f"{before}`{content}`{after}")}


def _boundaries(text: str, span: Span) -> Edits:
    """Add spaces around emphasis and code that touch a script written without spaces."""
    if not span.delimiter or span.delimiter[0] == "|":
        return {}
    mark, start, end = span.delimiter[0], span.start, span.end
    while start and text[start - 1] == mark:
        start -= 1
    while end < len(text) and text[end] == mark:
        end += 1
    inside = text[start:end].strip(mark)
    code = mark == "`"
    visible = not code and "`" in inside
    first, last = inside[:1], inside[-1:]
    before = space(text[start - 1 : start] if start else "", visible or (not code and _mark(first)))
    after = space(text[end : end + 1], visible or (not code and _mark(last)))
    found = {start: (start, before)} if before else {}
    return found | ({end: (end, after)} if after else {})


def _mark(char: str) -> bool:
    return bool(char) and is_punctuation(char)
