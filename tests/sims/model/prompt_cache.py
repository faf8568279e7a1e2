"""Prompt caches as the providers publish their rules: exact beginnings of requests, for a time.

A request is a list of `Block` values. Each beginning of it has a digest, and the cache knows the
digests of the beginnings that requests wrote. `AnthropicCache` writes at breakpoints and looks back
from them; another provider's rules are another class over `Beginnings`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class Block(NamedTuple):
    """A part of a request: its exact content, its tokens, and whether a cache breakpoint ends it."""

    content: bytes
    tokens: int
    is_breakpoint: bool = False


class CacheUse(NamedTuple):
    """Tokens that a request read from the cache, wrote to it, and neither."""

    read: int
    written: int
    rest: int


class Beginnings:
    """The beginnings of requests that are cached, by digest, until they expire.

    `seconds` is the time that an entry lives after its last use; `now` returns seconds.
    """

    def __init__(self, seconds: float, now: Callable[[], float]) -> None:
        self._seconds, self._now = seconds, now
        self._until: dict[bytes, float] = {}

    def has(self, digest: bytes) -> bool:
        """Whether a beginning is cached now."""
        return self._until.get(digest, float("-inf")) > self._now()

    def use(self, digests: Iterable[bytes]) -> None:
        """Write these beginnings, or let them live on."""
        self._until.update(dict.fromkeys(digests, self._now() + self._seconds))


def digests(scope: str, contents: Iterable[bytes]) -> list[bytes]:
    """The digest of each beginning of a request; requests of another scope share none.

    `scope` names what a cache is isolated by, such as the account and the model.
    """
    found, last = [], hashlib.sha256(scope.encode()).digest()
    for content in contents:
        last = hashlib.sha256(last + content).digest()
        found.append(last)
    return found


class AnthropicCache:
    """Anthropic's published rules.

    Their source is https://platform.claude.com/docs/en/build-with-claude/prompt-caching. Entries are written at breakpoints only, and only for beginnings of a model's minimum length. A
    breakpoint finds an entry at one of the 20 blocks that end with its own. An entry lives for five
    minutes after its last use. `skip` puts the cache's clock forward.
    """

    SECONDS, LOOKBACK = 300.0, 20

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._skipped = 0.0
        self._beginnings = Beginnings(self.SECONDS, lambda: now() + self._skipped)

    def skip(self, seconds: float) -> None:
        """Let this time pass."""
        self._skipped += seconds

    def use(self, scope: str, blocks: Sequence[Block], *, minimum: int) -> CacheUse:
        """Look up a request and write it; `minimum` is the model's, in tokens."""
        total, sizes = 0, []
        for block in blocks:
            total += block.tokens
            sizes.append(total)
        marks = [index for index, block in enumerate(blocks) if block.is_breakpoint]
        marks = [index for index in marks if sizes[index] >= minimum]
        if not marks:
            return CacheUse(0, 0, total)
        known = digests(scope, (block.content for block in blocks))
        hit = max((self._find(known, mark) for mark in marks), default=-1)
        read = sizes[hit] if hit >= 0 else 0
        self._beginnings.use(known[index] for index in (hit, *marks) if index >= 0)
        end = sizes[marks[-1]]
        return CacheUse(read, end - read, total - end)

    def _find(self, known: Sequence[bytes], mark: int) -> int:
        """The newest cached beginning that a breakpoint finds, or -1."""
        window = range(mark, max(-1, mark - self.LOOKBACK), -1)
        return next((index for index in window if self._beginnings.has(known[index])), -1)
