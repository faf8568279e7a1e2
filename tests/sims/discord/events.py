"""Dispatches events to the sessions whose intents and permissions cover them.

An event in a channel that the bot cannot see is never sent.
"""

from __future__ import annotations

from typing import Any

from tests.sims.discord import constants as c
from tests.sims.discord.gateway import Gateway
from tests.sims.discord.payloads import Payloads
from tests.sims.discord.permissions import may
from tests.sims.discord.state import Channel, Message, ServerState

JSON = dict[str, Any]


class Events:
    """The gateway's events, by their subject."""

    def __init__(self, state: ServerState, gateway: Gateway, payloads: Payloads) -> None:
        self.state, self.gateway, self.payloads = state, gateway, payloads

    def tell(self, name: str, data: JSON, channel: Channel, kind: str, **more: Any) -> None:
        """Dispatch an event about something in `channel`, if the bot can see it.

        `kind` names the intent: "guilds", or "messages", "reactions", "typing", which differ in
        direct messages.
        """
        if not may(self.state, channel, "view_channel"):
            return
        prefix = "dm" if channel.guild is None else "guild"
        intent = c.INTENTS[kind if kind == "guilds" else f"{prefix}_{kind}"]
        self.gateway.dispatch(name, data, intents=intent, guild=channel.guild, **more)

    def tell_message(self, name: str, message: Message, **more: Any) -> None:
        """Dispatch MESSAGE_CREATE or MESSAGE_UPDATE; an ephemeral message is not dispatched."""
        if message.for_user is not None:
            return
        whole = self.payloads.event(message, content=True)
        blank = self.payloads.event(message, content=False)
        channel = self.state.channels[message.channel]
        self.tell(name, whole, channel, "messages", blank=blank, **more)

    def tell_channel(self, name: str, channel: Channel) -> None:
        """Dispatch CHANNEL_* or THREAD_*; events of guild channels are sent even if hidden."""
        payload, guilds = self.payloads.channel(channel), c.INTENTS["guilds"]
        if channel.is_thread:
            self.tell(name, payload, channel, "guilds")
        elif channel.guild is not None and self.state.guilds[channel.guild].bot_inside:
            self.gateway.dispatch(name, payload, intents=guilds, guild=channel.guild)
