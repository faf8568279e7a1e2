"""Anthropic's prompt cache, by the rules that Anthropic publishes.

From the guide "Prompt caching" (platform.claude.com/docs/en/build-with-claude/prompt-caching): only
exact prefixes hit; entries are written only at breakpoints, and only for prefixes of a model's
minimum length; a breakpoint finds an entry at one of the 20 blocks up to the breakpoint; an entry
lives for five minutes after its last use; accounts and models share no entries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

SECONDS, LOOKBACK_BLOCKS = 300.0, 20


class Block(NamedTuple):
    """A part of a request: its content, its tokens, and whether a cache breakpoint ends it."""

    content: bytes
    tokens: int
    is_breakpoint: bool = False


class CacheUse(NamedTuple):
    """Tokens that a request read from the cache, wrote to it, or neither."""

    read: int
    written: int
    rest: int


class AnthropicCache:
    """The cached prefixes of requests, by digest."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}

    def use(self, scope: str, blocks: Sequence[Block], *, minimum: int, now: float) -> CacheUse:
        """Look up a request, then cache it.

        `scope` names the account and the model; `minimum` is the model's minimum length in tokens.
        """
        total, sizes = 0, []
        for block in blocks:
            total += block.tokens
            sizes.append(total)
        marks = [
            index
            for index, block in enumerate(blocks)
            if block.is_breakpoint and sizes[index] >= minimum
        ]
        if not marks:
            return CacheUse(0, 0, total)
        known = _digests(scope, (block.content for block in blocks))
        hit = max(self._find(known, mark, now) for mark in marks)
        self._until |= {known[index]: now + SECONDS for index in (hit, *marks) if index >= 0}
        read, end = (sizes[hit] if hit >= 0 else 0), sizes[marks[-1]]
        return CacheUse(read, end - read, total - end)

    def _find(self, known: Sequence[bytes], mark: int, now: float) -> int:
        """The newest cached prefix that a breakpoint finds, or -1."""
        window = range(mark, max(-1, mark - LOOKBACK_BLOCKS), -1)
        return next((index for index in window if self._until.get(known[index], 0.0) > now), -1)


def _digests(scope: str, contents: Iterable[bytes]) -> list[bytes]:
    """The digest of each prefix of a request."""
    found, last = [], hashlib.sha256(scope.encode()).digest()
    for content in contents:
        last = hashlib.sha256(last + content).digest()
        found.append(last)
    return found
