"""Text for the model from forwards, quotes, tables, embeds and attachments of a message.

Each becomes a label with a Markdown quote of bounded length below it, so that the model does not
mistake it for the author's own words.
"""

from __future__ import annotations

from collections.abc import Iterable

EXCERPT_CHARACTERS = 8_000
"""The longest excerpt: four times Discord's longest message without Nitro (2,000)."""

EXCERPTS_CHARACTERS = 24_000
"""All excerpts of a message: about 6,000 tokens, less than half of the default context window."""


def quote(text: str) -> str:
    """`text` as a Markdown quote."""
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def excerpt(label: str, text: str, *, limit: int = EXCERPT_CHARACTERS) -> str:
    """`text` quoted below `label`, truncated to `limit` characters; "" if there is no text."""
    text = text.strip()
    if not text:
        return ""
    return f"{label}:\n{quote(truncate(text, limit))}"


def truncate(text: str, limit: int) -> str:
    """The first `limit` characters of `text`, and a line that says how many were left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()}\n[{len(text) - limit} more characters left out]"


def join_excerpts(parts: Iterable[str], *, limit: int = EXCERPTS_CHARACTERS) -> str:
    """The parts that are not empty, separated by blank lines, truncated to `limit` characters."""
    return truncate("\n\n".join(part for part in parts if part), limit)
