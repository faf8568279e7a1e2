"""Display names of the users, roles and channels that a message mentions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import discord

from adapters.discord.content import mentioned_users
from adapters.discord.state import raw_of
from adapters.discord.text import Names
from bot.domain.names import one_line


class _NameLookup(Mapping[int, str]):
    """Looks names up in the message's own data, then in the guild's cache."""

    def __init__(self, sent: Mapping[int, str], find: Callable[[int], str | None]) -> None:
        self._sent, self._find = sent, find

    def __getitem__(self, key: int) -> str:
        name = self._sent.get(key) or self._find(key)
        if name is None:
            raise KeyError(key)
        return one_line(name)

    def __iter__(self) -> Iterator[int]:
        return iter(self._sent)

    def __len__(self) -> int:
        return len(self._sent)


def names_in(message: discord.Message, own: frozenset[int]) -> Names:
    """Names for every id in a message and its forwards; `own` are the bot's ids."""
    users = dict(mentioned_users(raw_of(message)))
    users |= {user.id: user.display_name for user in message.mentions}
    guild = message.guild
    if guild is None:
        return Names(users=_NameLookup(users, lambda _: None), own=own)

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
        users=_NameLookup(users, member),
        roles=_NameLookup({}, role),
        channels=_NameLookup({}, channel),
        own=own,
    )
