"""discord.py's cache and parsers, so that an event it cannot parse costs that event alone.

Invariant: no parser raises. A payload is fitted to its shape first; one that cannot be fitted, or
that discord.py cannot parse even so, is logged with its name and shape, and dropped. A message is
not dropped: where it was written is told, so that it is read again.

Relies on members of discord.py that are not documented; a test names them (`PRIVATE`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import discord
import structlog
from discord.state import ConnectionState

from adapters.discord import payloads
from adapters.discord.payload_fitting import JSON, Unfit, fitted, place_of_error, shape_of
from adapters.discord.payload_shapes import SHAPES
from bot.domain.conversations import Author

log = structlog.stdlib.get_logger(__name__)

PRIVATE = {
    discord.Client: ("_get_state", "_schedule_event"),
    ConnectionState: ("_get_guild", "_get_guild_channel", "create_message", "parse_ready"),
    discord.Guild: ("_remove_channel", "_resolve_channel"),
}
"""The undocumented members of discord.py that this module uses."""

Parser = Callable[[Any], None]


class Message(discord.Message):
    """A message with its payload as Discord sent it: discord.py drops part of what people see.

    `persona` is set on a webhook's message that stands for a person's (see `proxied`).
    """

    __slots__ = ("persona", "raw")

    def __init__(self, *, state: Any, channel: Any, data: Any) -> None:
        super().__init__(state=state, channel=channel, data=payloads.message(data))  # type: ignore[arg-type]
        self.raw: JSON = data
        self.persona: Author | None = None


def raw_of(message: discord.Message) -> JSON:
    """A message's payload, as far as it is known."""
    return message.raw if isinstance(message, Message) else {}


def persona_of(message: discord.Message) -> Author | None:
    """The person for whom a webhook's message stands."""
    return message.persona if isinstance(message, Message) else None


class State(ConnectionState[Any]):
    """discord.py's state.

    It dispatches `message_changed`, and `message_lost` with the payload of a message that is to be
    read again.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.parsers = {name: self._guarded(name, parse) for name, parse in self.parsers.items()}

    def _guarded(self, name: str, parse: Parser) -> Parser:
        """`parse`, for a payload that fits, and without any error."""

        @functools.wraps(parse)
        def guarded(data: Any) -> None:
            try:
                parse(self._fitted(name, data))
            except Exception as error:  # noqa: BLE001 - the boundary of each event
                log.warning(
                    "an event could not be read",
                    discord_event=name,
                    shape=shape_of(data),
                    error=place_of_error(error),
                )
                self._recover(name, data)

        return guarded

    def _fitted(self, name: str, data: Any) -> Any:
        shape = SHAPES.get(name)
        return data if shape is None else fitted(data, shape)  # messages fit themselves

    def _recover(self, name: str, data: Any) -> None:
        """Make up for an event that was not taken in."""
        if name in ("MESSAGE_CREATE", "MESSAGE_UPDATE"):
            self.dispatch("message_lost", name, data)
        elif name == "CHANNEL_UPDATE":
            self._forget_channel(data)
        elif name == "READY":
            # The session is there all the same, and its events come.
            self.dispatch("connect")

    def _forget_channel(self, data: Any) -> None:
        """A channel that was changed in an unknown way is fetched when it is needed."""
        guild = self._get_guild(payloads.identity(data, "guild_id"))
        channel = payloads.identity(data, "id")
        known = guild.get_channel(channel) if guild is not None and channel is not None else None
        if guild is not None and known is not None:
            guild._remove_channel(known)

    # ── discord.py's own ──────────────────────────────────────────────────────────────────────
    def create_message(self, *, channel: Any, data: Any) -> discord.Message:
        """Every message that comes from REST."""
        return Message(state=self, channel=channel, data=data)

    def parse_ready(self, data: Any) -> None:
        """As discord.py does; the user is also known from the login."""
        user = self.user
        try:
            super().parse_ready(data)
        finally:
            self.user = self.user or user

    def parse_message_create(self, data: Any) -> None:
        """Without discord.py's cache of messages, which is off."""
        payloads.certain(data)
        message = self._message(data)
        self.dispatch("message", message)
        if hasattr(message.channel, "last_message_id"):
            message.channel.last_message_id = message.id

    def parse_message_update(self, data: Any) -> None:
        """Only what people edited: nothing is cached that anything else would change."""
        if isinstance(data, dict) and data.get("edited_timestamp") is None:
            return  # a preview, a pin, a thread
        payloads.certain(data)
        self.dispatch("message_changed", self._message(data))

    def _message(self, data: Any) -> Message:
        return Message(state=self, channel=self.where(data), data=data)

    def where(self, data: Any) -> Any:
        """The channel of a message; one of a guild even where the guild's id is missing."""
        channel = payloads.identity(data, "channel_id")
        if channel is None:
            raise Unfit("channel_id")
        guild = payloads.identity(data, "guild_id")
        if guild is not None:
            ids: Any = {"channel_id": channel, "guild_id": guild}
            return self._get_guild_channel(ids)[0]
        known = self.get_channel(channel)
        if known is not None:
            return known
        if "guild_id" in data or "member" in data:  # not a direct message: REST knows where
            return discord.PartialMessageable(state=self, id=channel)
        direct: Any = {"channel_id": channel}
        return self._get_guild_channel(direct)[0]
