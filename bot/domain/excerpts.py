"""Formats forwards, quotes, tables, embeds and attachments of a message as text for the model.

Each becomes a label with a Markdown quote of bounded length below it, so that the model does not
mistake it for the author's own words.
"""

from __future__ import annotations

from collections.abc import Iterable

EXCERPT_CHARACTERS = 8_000
"""The most characters of one excerpt: four times Discord's longest message without Nitro (2,000).
"""

EXCERPTS_CHARACTERS = 24_000
"""The most characters of a message's excerpts together: about 6,000 tokens, less than half of the
default context window."""


def quote(text: str) -> str:
    """`text` as a Markdown quote."""
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def excerpt(label: str, text: str, *, limit: int = EXCERPT_CHARACTERS) -> str:
    """Quote `text` below `label`, truncated to `limit` characters; "" if there is no text."""
    text = text.strip()
    if not text:
        return ""
    return f"{label}:\n{quote(truncate(text, limit))}"


def truncate(text: str, limit: int) -> str:
    """The first `limit` characters of `text`, and a line with the number of characters left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()}\n[{len(text) - limit} more characters left out]"


def join_excerpts(parts: Iterable[str], *, limit: int = EXCERPTS_CHARACTERS) -> str:
    """Join the non-empty parts with blank lines, and truncate the result to `limit` characters."""
    return truncate("\n\n".join(part for part in parts if part), limit)
