"""What the ids in a message are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import discord

from adapters.discord.content import mentioned
from adapters.discord.state import raw_of
from adapters.discord.text import Names
from bot.domain.names import one_line


class _Known(Mapping[int, str]):
    """Names that came with a message, and those that its guild knows."""

    def __init__(self, told: Mapping[int, str], find: Callable[[int], str | None]) -> None:
        self._told, self._find = told, find

    def __getitem__(self, key: int) -> str:
        name = self._told.get(key) or self._find(key)
        if name is None:
            raise KeyError(key)
        return one_line(name)

    def __iter__(self) -> Iterator[int]:
        return iter(self._told)

    def __len__(self) -> int:
        return len(self._told)


def names_in(message: discord.Message, own: frozenset[int]) -> Names:
    """The names in a message and in all that it shows; `own` are the bot's ids."""
    users = dict(mentioned(raw_of(message)))
    users |= {user.id: user.display_name for user in message.mentions}
    guild = message.guild
    if guild is None:
        return Names(users=_Known(users, lambda _: None), own=own)

    def member(key: int) -> str | None:
        found = guild.get_member(key)
        return found.display_name if found is not None else None

    def role(key: int) -> str | None:
        found = guild.get_role(key)
        return found.name if found is not None else None

    def channel(key: int) -> str | None:
        found = guild.get_channel_or_thread(key)
        return found.name if found is not None else None

    return Names(
        users=_Known(users, member),
        roles=_Known({}, role),
        channels=_Known({}, channel),
        own=own,
    )
