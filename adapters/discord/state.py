"""discord.py's cache and parsers, made safe: an unparsable event affects only itself.

Invariant: no parser raises. Payloads are validated first. One that is invalid, or that discord.py
still cannot parse, is logged by name and structure and dropped. Unparsable messages are instead
dispatched as `message_unreadable`, so that they are read from REST.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import discord
import structlog
from discord.state import AutoShardedConnectionState, ConnectionState

from adapters.discord import payloads
from adapters.discord.event_schemas import SCHEMAS
from adapters.discord.payload_validation import (
    JSON,
    InvalidPayload,
    error_location,
    outline,
    validate,
)
from bot.domain.conversations import Author

log = structlog.stdlib.get_logger(__name__)

PRIVATE = {
    discord.Client: ("_get_state", "_schedule_event"),
    ConnectionState: (
        *("_get_guild", "_get_guild_channel", "_remove_guild"),
        *("create_message", "parse_ready"),
    ),
    AutoShardedConnectionState: ("_add_ready_state", "_delay_shard_ready"),
    discord.Guild: ("_remove_channel", "_resolve_channel"),
}
"""Undocumented members of discord.py that this module uses; a test checks for them."""

COMMAND_TYPES = (
    discord.InteractionType.application_command,
    discord.InteractionType.autocomplete,
)
Parser = Callable[[Any], None]


class RawMessage(discord.Message):
    """A message with its raw payload, since discord.py drops parts that people see.

    `persona` is set on a webhook's message posted on a person's behalf: see `proxied_messages`.
    """

    __slots__ = ("persona", "raw")

    def __init__(self, *, state: Any, channel: Any, data: Any) -> None:
        repaired: Any = payloads.repair_message(data)
        super().__init__(state=state, channel=channel, data=repaired)
        self.raw: JSON = data
        self.persona: Author | None = None


def raw_of(message: discord.Message) -> JSON:
    """A message's raw payload; empty if it is unknown."""
    return message.raw if isinstance(message, RawMessage) else {}


def persona_of(message: discord.Message) -> Author | None:
    """The person on whose behalf a webhook posted the message."""
    return message.persona if isinstance(message, RawMessage) else None


class SafeState(AutoShardedConnectionState[Any]):
    """discord.py's state for all shards that this process holds, with parsers that never raise.

    Dispatches `message_edited`, and `message_unreadable` with the payload of a message that must be
    read again.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.parsers = {name: self._guard(name, parse) for name, parse in self.parsers.items()}

    def _guard(self, name: str, parse: Parser) -> Parser:
        """Return a parser that validates the payload first and logs any error."""

        @functools.wraps(parse)
        def guarded(data: Any) -> None:
            try:
                parse(self._validate(name, data))
            except Exception as error:  # noqa: BLE001 - the boundary of each event
                log.warning(
                    "an event could not be parsed",
                    discord_event=name,
                    structure=outline(data),
                    error=error_location(error),
                )
                self._compensate(name, data)

        return guarded

    def _validate(self, name: str, data: Any) -> Any:
        schema = SCHEMAS.get(name)  # none for messages, which RawMessage repairs
        return data if schema is None else validate(data, schema)

    def _compensate(self, name: str, data: Any) -> None:
        """Recover from an event that could not be parsed."""
        if name in ("MESSAGE_CREATE", "MESSAGE_UPDATE"):
            self.dispatch("message_unreadable", name, data)
        elif name == "CHANNEL_UPDATE":
            self._forget_channel(data)
        elif name == "READY":
            # The session has begun and its events follow.
            self.dispatch("shard_connect", _shard_in(data))

    def _forget_channel(self, data: Any) -> None:
        """Remove a channel from the cache after an unreadable change; it is fetched when needed."""
        guild = self._get_guild(payloads.read_id(data, "guild_id"))
        channel = payloads.read_id(data, "id")
        known = guild.get_channel(channel) if guild is not None and channel is not None else None
        if guild is not None and known is not None:
            guild._remove_channel(known)

    # ── overrides ─────────────────────────────────────────────────────────────────────────────
    def create_message(self, *, channel: Any, data: Any) -> discord.Message:
        """Parse a message from REST."""
        return RawMessage(state=self, channel=channel, data=data)

    def parse_ready(self, data: Any) -> None:
        """Begin a shard's session without the guilds from its previous one.

        Keeps the user from the login if READY has none.
        """
        user = self.user
        self.forget_shard(_shard_in(data))
        try:
            super().parse_ready(data)
        finally:
            self.user = self.user or user

    def forget_shard(self, shard: int) -> None:
        """Drop everything from the cache that a shard's events reported."""
        for guild in [guild for guild in self.guilds if guild.shard_id == shard]:
            self._remove_guild(guild)
        if shard == 0:  # direct messages
            self._private_channels.clear()
            self._private_channels_by_user.clear()

    def parse_message_create(self, data: Any) -> None:
        """Dispatch the message without caching it."""
        payloads.require_decisive_fields(data)
        message = self._message(data)
        self.dispatch("message", message)
        if hasattr(message.channel, "last_message_id"):
            message.channel.last_message_id = message.id

    def parse_message_update(self, data: Any) -> None:
        """Dispatch only edits; other updates change nothing, since no message is cached."""
        if isinstance(data, dict) and data.get("edited_timestamp") is None:
            return  # a preview, a pin, a thread
        payloads.require_decisive_fields(data)
        self.dispatch("message_edited", self._message(data))

    def parse_interaction_create(self, data: Any) -> None:
        """Pass on a command, autocomplete request or button press.

        Keeps the id of an uncached channel, so that it can be fetched.
        """
        interaction = discord.Interaction[Any](data=data, state=self)
        if interaction.channel is None:
            interaction.channel = self._uncached_channel(data)
        if interaction.type in COMMAND_TYPES and self._command_tree is not None:
            self._command_tree._from_interaction(interaction)
        elif interaction.type is discord.InteractionType.component:
            pressed = data["data"]
            self._view_store.dispatch_view(
                pressed["component_type"], pressed["custom_id"], interaction
            )
        self.dispatch("interaction", interaction)

    def _uncached_channel(self, data: Any) -> Any:
        channel = payloads.read_id(data, "channel_id") or payloads.read_id(data["channel"], "id")
        if channel is None:
            return None
        guild = payloads.read_id(data, "guild_id")
        return discord.PartialMessageable(state=self, id=channel, guild_id=guild)

    # ── members: discord.py caches none but the bot ───────────────────────────────────────────
    def request_members(self) -> None:
        """Request the privileged member events, from the next session on."""
        self._intents.members = True

    def parse_guild_member_add(self, data: Any) -> None:
        """Dispatch a new member's roles."""
        self.dispatch("member_updated", data)
        super().parse_guild_member_add(data)

    def parse_guild_member_update(self, data: Any) -> None:
        """Dispatch a member's new roles."""
        self.dispatch("member_updated", data)
        super().parse_guild_member_update(data)

    def parse_guild_role_delete(self, data: Any) -> None:
        """Dispatch that members have lost a role, even one that is not cached."""
        self.dispatch("role_deleted", int(data["guild_id"]))
        super().parse_guild_role_delete(data)

    def parse_guild_member_remove(self, data: Any) -> None:
        """Dispatch that someone has left the guild."""
        self.dispatch("member_removed", data)
        super().parse_guild_member_remove(data)

    def _message(self, data: Any) -> RawMessage:
        return RawMessage(state=self, channel=self.channel_of(data), data=data)

    def channel_of(self, data: Any) -> Any:
        """A message's channel, even if a guild message lacks the guild's id."""
        channel = payloads.read_id(data, "channel_id")
        if channel is None:
            raise InvalidPayload("channel_id")
        guild = payloads.read_id(data, "guild_id")
        if guild is not None:
            ids: Any = {"channel_id": channel, "guild_id": guild}
            return self._get_guild_channel(ids)[0]
        known = self.get_channel(channel)
        if known is not None:
            return known
        if "guild_id" in data or "member" in data:  # a guild channel that must be fetched
            return discord.PartialMessageable(state=self, id=channel)
        direct: Any = {"channel_id": channel}
        return self._get_guild_channel(direct)[0]


def _shard_in(ready: Any) -> int:
    """The number of the shard whose session begins; the socket has repaired it if necessary."""
    found = ready.get("shard") if isinstance(ready, dict) else None
    number = found[0] if isinstance(found, list) and found else 0
    return number if isinstance(number, int) else 0
