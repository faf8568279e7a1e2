"""How much one answer holds: the newest entries that fit, in characters as well as in number."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bot.domain.records import MessageRecord

MOST_CHARACTERS = 4_000_000
"""Text in one answer: 16 bytes for each in JSON at worst. A model's context has a tenth of it."""

_FIRST, _FACTOR = 64, 4  # few long entries are read first, and more of them if they turn out short

T = TypeVar("T")


def message_size(message: MessageRecord) -> int:
    """Characters of a message."""
    return len(message.content)


def newest(entries: Sequence[T], size: Callable[[T], int], left: int = MOST_CHARACTERS) -> list[T]:
    """The last entries that have at most `left` characters; the last one always."""
    for count, entry in enumerate(reversed(entries)):
        left -= size(entry)
        if left < 0:
            return list(entries[len(entries) - max(count, 1) :])
    return list(entries)


def first(entries: Sequence[T], size: Callable[[T], int], left: int = MOST_CHARACTERS) -> list[T]:
    """The first entries that have at most `left` characters; the first one always."""
    return newest(entries[::-1], size, left)[::-1]


async def read_newest(
    read: Callable[[int], Awaitable[Sequence[T]]],
    size: Callable[[T], int],
    *,
    most: int,
    left: int = MOST_CHARACTERS,
) -> list[T]:
    """At most `most` of the newest entries, which `read` gives so many of, oldest first."""
    limit = min(_FIRST, most)
    while True:
        found = await read(limit)
        fitting = newest(found, size, left)
        if len(fitting) < len(found) or len(found) < limit or limit == most:
            return fitting
        limit = min(limit * _FACTOR, most)
