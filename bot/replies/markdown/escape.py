"""Escapes plain text, so that Markdown renders it unchanged."""

from __future__ import annotations

import re

# Characters that CommonMark or a platform's dialect reads as markup.
_INLINE = re.compile(r"[*`~<\[|$]|\\(?=[!-/:-@\[-`{-~]|$)|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
_LIST_NUMBER = re.compile(r"\d{0,9}")


def escape(line: str) -> str:
    """Escape one line of plain text, so that Markdown renders exactly that text."""
    escaped = _INLINE.sub(lambda found: f"\\{found.group()}", line)
    number = _LIST_NUMBER.match(escaped)
    at = number.end() if number else 0
    sign = escaped[at : at + 1]
    block = sign in "#>+=-" if at == 0 else sign in ".)"
    return f"{escaped[:at]}\\{escaped[at:]}" if sign and block else escaped
