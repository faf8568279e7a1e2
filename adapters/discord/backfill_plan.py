"""Decides which channels of a guild to read after a gap, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import discord

from bot.domain.conversations import Conversation


@dataclass(frozen=True, slots=True)
class ChannelState:
    """A channel or active thread with the id of its newest message, 0 if it has none.

    `known`: the bot has a conversation in it.
    """

    channel: str
    newest: int
    thread: bool = False
    known: bool = False

    @property
    def rank(self) -> tuple[float, ...]:
        """The bot's threads first, then other threads, then channels; the newest first in each."""
        group = 0 if self.known else 1 if self.thread else 2
        return (group, -discord.utils.snowflake_time(self.newest).timestamp())


def select_unread(
    channels: Iterable[ChannelState], watermark: Callable[[str], int]
) -> list[ChannelState]:
    """The channels with messages behind their watermark, in reading order."""
    unread = (channel for channel in channels if channel.newest > watermark(channel.channel))
    return sorted(unread, key=lambda channel: channel.rank)


def group_archived(
    conversations: Sequence[Conversation], active: Iterable[str], since: float
) -> Mapping[str, list[Conversation]]:
    """Conversations in threads that are no longer active, by parent channel.

    Leaves out conversations without a message after `since`, in Unix seconds.
    """
    active_ids = set(active)
    archived: dict[str, list[Conversation]] = {}
    for conversation in conversations:
        key = conversation.key
        if key.thread and key.thread not in active_ids and conversation.updated_at > since:
            archived.setdefault(key.channel, []).append(conversation)
    return archived
