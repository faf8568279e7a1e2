"""Highlights one code block; runs in the highlighter's worker process."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pygments
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import find_lexer_class

from adapters.web.languages import NAMES, OPTIONS


def run(task: bytes) -> bytes:
    """Highlight `{"lexer": NAME, "code": …}` as HTML. Raises ValueError for an unlisted lexer."""
    asked = json.loads(task)
    html = pygments.highlight(asked["code"], _lexer(asked["lexer"]), HtmlFormatter(nowrap=True))
    return str(html).encode("utf-8", "surrogatepass")


@cache
def _lexer(name: str) -> Any:
    if name not in NAMES:
        raise ValueError("not listed")
    lexer = find_lexer_class(name)
    assert lexer is not None  # noqa: S101 - a test looks up every name of the list
    return lexer(stripnl=False, ensurenl=False, **OPTIONS.get(name, {}))
