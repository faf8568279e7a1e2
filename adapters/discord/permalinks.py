"""Treats links to messages in a question as attachments; `read` downloads their text.

The bot reads a message only if the asker could open the link. Discord must confirm at that moment
their membership, their permissions in the channel and, for a private thread, that they have joined
it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import discord

from adapters.discord.access import AllowedGuilds, can_user_read
from adapters.discord.channels import DIRECT_MESSAGES, ChannelContext
from adapters.discord.content import full_text
from adapters.discord.errors import as_attachment_error
from adapters.discord.events import author_of, bot_identity, name_of
from adapters.discord.history import parse_message, read_raw_message
from adapters.discord.mention_names import names_in
from adapters.discord.payloads import read_id
from adapters.discord.rest import RestApi
from adapters.discord.state import raw_of
from adapters.discord.text import to_model_text
from bot.domain.attachments import Download, IncomingAttachment, Omission
from bot.domain.errors import AttachmentError, PlatformError
from bot.domain.excerpts import excerpt
from bot.domain.replies import Priority

MAX_LINKS = 3  # of one question: each costs two to four requests
NAME, MEDIA_TYPE = "linked message", "text/plain"
_LINK = re.compile(
    r"https://(?:ptb\.|canary\.)?+discord(?:app)?+\.com/channels/"
    r"(?P<guild>\d{1,20}+)/(?P<channel>\d{1,20}+)/(?P<message>\d{1,20}+)"
)


def linked_messages(
    message: discord.Message, context: ChannelContext
) -> tuple[IncomingAttachment, ...]:
    """The messages to which a question links: in the same guild or, if asked in a direct message,
    in any."""
    links = {found["message"]: found for found in _LINK.finditer(message.content)}
    own = (context.guild, DIRECT_MESSAGES)
    near = [x for x in links.values() if x["guild"] in own or context.guild == DIRECT_MESSAGES]
    return tuple(
        IncomingAttachment(
            name=NAME,
            media_type=MEDIA_TYPE,
            locator={"link": found[0], "asker": author_of(message).id, **found.groupdict()},
            identity=f"{found['channel']}/{found['message']}",
        )
        for found in near[:MAX_LINKS]
    )


def is_permalink(url: str) -> bool:
    """Whether an address links to a Discord message, on any server."""
    return _LINK.match(url) is not None


def is_link(locator: Mapping[str, str]) -> bool:
    """Whether a locator belongs to a linked message."""
    return "link" in locator


@dataclass(frozen=True, slots=True)
class LinkedMessages:
    """Reads linked messages in the guilds that may use the bot."""

    rest: RestApi
    guilds: AllowedGuilds

    async def read(self, locator: Mapping[str, str]) -> Download:
        """A message's text with its author's name. Raises AttachmentError."""
        ids = ("asker", "guild", "channel", "message")
        asker, guild, channel, message = (int(locator[name]) for name in ids)
        try:
            if not self.guilds.allows(guild):
                raise AttachmentError(Omission.NO_ACCESS, "the guild may not use the bot")
            if not await can_user_read(self.rest, asker, guild, channel):
                raise AttachmentError(Omission.NO_ACCESS, "the asker may not read the channel")
            raw = await read_raw_message(self.rest, channel, message, priority=Priority.BACKGROUND)
        except PlatformError as error:
            raise as_attachment_error(error) from error
        text = await self._quote(raw, guild, channel)
        return Download(text.encode(), MEDIA_TYPE, NAME)

    async def _quote(self, raw: Any, guild: int, channel: int) -> str:
        client = await self.rest.client()
        where: Any = client.get_channel(channel) or client.get_partial_messageable(
            channel, guild_id=guild
        )
        found = parse_message(client, where, raw) if read_id(raw, "channel_id") == channel else None
        if found is None or client.user is None:
            raise AttachmentError(Omission.DAMAGED, "the message cannot be parsed")
        names = names_in(found, bot_identity(found, client.user.id).ids)
        text = full_text(raw_of(found), lambda content: to_model_text(content, names))
        quote = excerpt(f"Linked message by {name_of(found)}", text)
        if not quote:
            raise AttachmentError(Omission.EMPTY)
        return quote
