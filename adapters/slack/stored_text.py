"""Writes text in Slack's stored form: escaped, with links and dates as control sequences. Pure.

See docs.slack.dev/messaging/formatting-message-text; `text.for_model` reads this form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_PIPE = re.compile(r"<([^<>|]*)\|([^<>]*)>|\|")


def escape(literal: str) -> str:
    """`literal` with Slack's three entities."""
    return literal.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def link(url: str, label: str) -> str:
    """A link; the bare label if there is no address."""
    target = escape(url).replace("|", "%7C")
    if not target:
        return escape(label)
    return f"<{target}|{escape(label)}>" if label else f"<{target}>"


def emoji(name: str, code_points: str) -> str:
    """The character with these code points ("1f44d-1f3fb"), or the name of a custom emoji."""
    try:
        character = "".join(chr(int(code, 16)) for code in code_points.split("-") if code)
        character.encode()
    except (ValueError, OverflowError):
        character = ""
    return character or f":{name}:"


def date(seconds: int | None, fallback: str) -> str:
    """A date in Unix seconds; people see `fallback` here."""
    return f"<!date^{'' if seconds is None else seconds}^x|{escape(fallback)}>"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first row is the header; "" without cells."""
    width = max(map(len, rows), default=0)
    if not width:
        return ""
    cells = [[*map(_table_cell, row), *[""] * (width - len(row))] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


def _table_cell(stored: str) -> str:
    """`stored` on one line, with all pipes escaped except those in control sequences."""
    return _PIPE.sub(_escape_pipe, " ".join(stored.split()))


def _escape_pipe(match: re.Match[str]) -> str:
    if match[1] is None:
        return r"\|"
    return f"<{match[1]}|{match[2].replace('|', chr(92) + '|')}>"
