"""What is to be read of Discord after a time without events, and in which order: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import discord

from bot.domain.conversations import Conversation


@dataclass(frozen=True, slots=True)
class Newest:
    """A place's newest message; `known`: a conversation of ours is there."""

    channel: str
    last: int
    thread: bool = False
    known: bool = False

    @property
    def rank(self) -> tuple[float, ...]:
        """Our threads first, then other threads, then channels; the newest of each first."""
        group = 0 if self.known else 1 if self.thread else 2
        return (group, -discord.utils.snowflake_time(self.last).timestamp())


def to_read(places: Iterable[Newest], mark: Callable[[str], int]) -> list[Newest]:
    """The places with something behind their watermark, in the order of reading."""
    changed = (place for place in places if place.last > mark(place.channel))
    return sorted(changed, key=lambda place: place.rank)


def not_shown(
    conversations: Sequence[Conversation], shown: Iterable[str], since: float
) -> Mapping[str, list[Conversation]]:
    """Threads that are no longer active though people spoke in them since, by their channel."""
    there = set(shown)
    found: dict[str, list[Conversation]] = {}
    for conversation in conversations:
        key = conversation.key
        if key.thread and key.thread not in there and conversation.updated_at > since:
            found.setdefault(key.channel, []).append(conversation)
    return found
