"""discord.py's client with the adapter's parsers, but without a connection."""

from __future__ import annotations

from typing import Any

import discord

from adapters.discord.client import intents
from adapters.discord.state import SafeState


class OfflineClient(discord.Client):
    """Parses the events fed to it, and keeps what they dispatch."""

    def __init__(self) -> None:
        super().__init__(
            intents=intents(),
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
        )
        self.dispatched: list[tuple[str, tuple[Any, ...]]] = []

    def _get_state(self, **options: Any) -> SafeState:
        return SafeState(
            dispatch=self.dispatch,
            handlers=self._handlers,
            hooks=self._hooks,
            http=self.http,
            **options,
        )

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Keep the event."""
        self.dispatched.append((event, args))

    def feed(self, name: str, data: Any) -> list[tuple[str, tuple[Any, ...]]]:
        """Parse one gateway event; returns what it dispatched."""
        self.dispatched.clear()
        parse = self._connection.parsers.get(name)
        if parse is not None:
            parse(data)
        return list(self.dispatched)

    def begin(self, ready: Any, guild: Any) -> None:
        """Begin a session with one guild."""
        self.feed("READY", ready)
        self.feed("GUILD_CREATE", guild)
        for task in self._connection._ready_tasks.values():
            task.cancel()
