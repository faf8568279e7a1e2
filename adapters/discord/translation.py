"""Translates messages for the core: whom they address, and which conversation they continue."""

from __future__ import annotations

from dataclasses import replace

import discord

from adapters.discord.access import AllowedGuilds
from adapters.discord.channels import (
    PLATFORM,
    ChannelContext,
    ChannelKind,
    channel_context,
    fetch_channel_context,
)
from adapters.discord.events import (
    BotIdentity,
    address_of,
    bot_identity,
    is_blank,
    is_from_other_bot,
    is_from_person,
    is_to_no_one,
    replied_bot_message,
    to_incoming,
)
from adapters.discord.permalinks import linked_messages
from adapters.discord.reply_chains import find_conversation
from adapters.discord.rest import RestApi
from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Address, Incoming
from bot.ports.inbox import Inbox


class MessageTranslator:
    """Translates one client's messages."""

    def __init__(self, *, rest: RestApi, inbox: Inbox, guilds: AllowedGuilds) -> None:
        self._rest, self._inbox, self._guilds = rest, inbox, guilds

    async def translate(
        self, message: discord.Message, context: ChannelContext, default: Address | None = None
    ) -> Incoming | None:
        """A message for the core; None if it does not concern the bot.

        `default` is the address of a person's message that does not address the bot itself. In a
        thread, another bot's message is part of the conversation.
        """
        user = (await self._rest.client()).user
        if user is None:
            return None
        bot = bot_identity(message, user.id)
        if is_from_other_bot(message, user.id):
            address = Address.ASIDE if context.kind is ChannelKind.THREAD else None
        elif is_from_person(message):
            address = self._channel_address(message, context, bot)
            address = address or address_of(message, context, bot) or default
        else:
            return None
        if address is None:
            return None
        if not await self._guilds.allows_user(context.guild, message.author.id):
            return None
        key = await self._find_replied_conversation(message, context, bot)
        incoming = to_incoming(message, context, bot, address, key)
        if is_from_other_bot(message, user.id) and is_blank(incoming):
            return None
        if address is Address.ASIDE:
            return incoming
        links = linked_messages(message, context)
        return replace(incoming, attachments=(*incoming.attachments, *links))

    def _channel_address(
        self, message: discord.Message, context: ChannelContext, bot: BotIdentity
    ) -> Address | None:
        """CHANNEL for a message addressed to no one in particular, where the bot answers all
        messages."""
        channel = ConversationKey(PLATFORM, context.guild, context.channel, "")
        if not self._inbox.listens(channel, context.category):
            return None
        return Address.CHANNEL if is_to_no_one(message, context, bot) else None

    async def find_context(self, channel: object) -> ChannelContext | None:
        """The context of a message's channel; raises a PlatformError if fetching it fails."""
        context = channel_context(channel)
        if context is not None or not isinstance(channel, discord.PartialMessageable):
            return context
        return await fetch_channel_context(self._rest, channel.id)

    async def _find_replied_conversation(
        self, message: discord.Message, context: ChannelContext, bot: BotIdentity
    ) -> ConversationKey | None:
        """Find the conversation that a reply to one of the bot's messages in a channel
        continues."""
        replied = replied_bot_message(message, bot)
        if replied is None or not context.starts_conversations:
            return None
        return await find_conversation(
            message, context, replied, rest=self._rest, inbox=self._inbox
        )
