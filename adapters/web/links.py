"""Bare web addresses as links, in people's messages and in answers.

`bot.replies.markdown.addresses` says where an address ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

from markdown_it.token import Token

from bot.replies.markdown.addresses import addresses

REL = "noopener noreferrer nofollow"

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*+:", re.IGNORECASE)


def link_addresses(text: str) -> str:
    """`text` as HTML, with its addresses as links."""
    parts, at = [], 0
    for start, end in addresses(text):
        address = escape(text[start:end])
        parts += [
            escape(text[at:start]),
            f'<a href="{address}" target="_blank" rel="{REL}">{address}</a>',
        ]
        at = end
    return "".join([*parts, escape(text[at:])])


def is_absolute(href: str) -> bool:
    """Whether the address has a scheme: `./README.md` would link into this server."""
    return _SCHEME.match(href) is not None


def repair_links(tokens: Sequence[Token]) -> list[Token]:
    """Inline tokens in which every link has text and a usable target.

    A link without text shows its address; a link without a usable target becomes its text,
    with the address.
    """
    found: list[Token] = []
    hrefs: list[str] = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "link_open":
            hrefs.append(str(token.attrs.get("href", "")))
        elif token.type != "link_close":
            found.append(token)
            continue
        href = hrefs.pop() if token.nesting < 0 else hrefs[-1]
        empty = token.nesting < 0 and before is not None and before.type == "link_open"
        if is_absolute(href):
            found += [Token("text", "", 0, content=href)] * empty
            found.append(token)
        elif token.nesting < 0 and href:
            found.append(Token("text", "", 0, content=href if empty else f" ({href})"))
    return found


def add_links(tokens: Sequence[Token]) -> list[Token]:
    """Inline tokens with links for the bare addresses in their text."""
    found: list[Token] = []
    depth = 0
    for token in tokens:
        depth += token.nesting if token.type.startswith("link_") else 0
        plain = token.type == "text" and not depth and "://" in token.content
        found += _parts(token.content) if plain else [token]
    return found


def _parts(text: str) -> Iterator[Token]:
    at = 0
    for start, end in addresses(text):
        yield Token("text", "", 0, content=text[at:start])
        yield Token("link_open", "a", 1, attrs={"href": text[start:end]})
        yield Token("text", "", 0, content=text[start:end])
        yield Token("link_close", "a", -1)
        at = end
    yield Token("text", "", 0, content=text[at:])
