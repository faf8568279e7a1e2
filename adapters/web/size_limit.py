"""Size limit of list responses: the newest entries that fit, by characters and by number."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bot.domain.records import MessageRecord

MOST_CHARACTERS = 4_000_000
"""The most characters of text in one response: at most 16 bytes each in JSON, and ten times a
model's context."""

_FIRST, _FACTOR = 64, 4  # reads few entries first, more if they are short

T = TypeVar("T")


def message_size(message: MessageRecord) -> int:
    """Characters of a message."""
    return len(message.content)


def take_newest(
    entries: Sequence[T], size: Callable[[T], int], left: int = MOST_CHARACTERS
) -> list[T]:
    """The last entries with at most `left` characters in total, and at least one."""
    for count, entry in enumerate(reversed(entries)):
        left -= size(entry)
        if left < 0:
            return list(entries[len(entries) - max(count, 1) :])
    return list(entries)


def take_first(
    entries: Sequence[T], size: Callable[[T], int], left: int = MOST_CHARACTERS
) -> list[T]:
    """The first entries with at most `left` characters in total, and at least one."""
    return take_newest(entries[::-1], size, left)[::-1]


async def read_newest(
    read: Callable[[int], Awaitable[Sequence[T]]],
    size: Callable[[T], int],
    *,
    most: int,
    left: int = MOST_CHARACTERS,
) -> list[T]:
    """Up to `most` of the newest entries, oldest first. `read(n)` returns the n newest."""
    limit = min(_FIRST, most)
    while True:
        found = await read(limit)
        fitting = take_newest(found, size, left)
        if len(fitting) < len(found) or len(found) < limit or limit == most:
            return fitting
        limit = min(limit * _FACTOR, most)
