"""What a message shows besides its author's words, as labelled and bounded text for the model.

Forwards, quotes, tables, embeds and attachments become a line that says what they are, and a
Markdown quote below it, so that the model never takes them for what the author wrote.
"""

from __future__ import annotations

from collections.abc import Iterable

EXCERPT_CHARACTERS = 8_000
"""The longest single excerpt: four times the longest message that a person can type on Discord."""

EXCERPTS_CHARACTERS = 24_000
"""All excerpts of one message; about 6,000 tokens, less than half of the default window."""


def quoted(text: str) -> str:
    """`text` as a Markdown quote."""
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def excerpt(label: str, text: str, *, limit: int = EXCERPT_CHARACTERS) -> str:
    """`text` quoted under `label`, cut after `limit` characters; "" when there is no text."""
    text = text.strip()
    if not text:
        return ""
    return f"{label}:\n{quoted(bounded(text, limit))}"


def bounded(text: str, limit: int) -> str:
    """The first `limit` characters of `text`, and a line that says how many are left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()}\n[{len(text) - limit} more characters left out]"


def joined(parts: Iterable[str], *, limit: int = EXCERPTS_CHARACTERS) -> str:
    """The parts that are not empty, with an empty line between, cut after `limit` characters."""
    return bounded("\n\n".join(part for part in parts if part), limit)
