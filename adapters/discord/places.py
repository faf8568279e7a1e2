"""Reading a channel or thread that is not in the cache; one that cannot be parsed is private."""

from __future__ import annotations

from typing import Any

import discord
import structlog

from adapters.discord import payloads
from adapters.discord import rest as w
from adapters.discord.events import DIRECT_MESSAGES, ChannelContext, Kind, place_of
from adapters.discord.payload_fitting import Unfit, fitted, number, shape_of
from adapters.discord.payload_shapes import CHANNEL, THREAD
from adapters.discord.rest import RestApi
from bot.domain.conversations import Visibility
from bot.domain.errors import Unsettled
from bot.domain.replies import Priority

log = structlog.stdlib.get_logger(__name__)

DIRECT, THREADS = 1, (10, 11, 12)  # documented types of channels
# Where people talk: text, voice, announcements, stage.
CHATS = (0, 2, 5, 13)


async def read_place(
    wire: RestApi,
    channel: int,
    *,
    priority: Priority = Priority.CONTROL,
    within: float | None = None,
) -> ChannelContext | None:
    """A place that is not in the cache; None where no conversation can be.

    Raises a PlatformError.
    """
    raw: Any = await wire.ask(
        w.at("place", channel),
        lambda client: client.http.get_channel(channel),
        priority=priority,
        within=within,
    )
    client = await wire.client()
    guild = client.get_guild(payloads.identity(raw, "guild_id") or 0)
    if guild is None or _kind_of(raw) is None:
        return _unseen(raw)
    try:
        return place_of(_parsed(client, guild, raw))
    except Unfit as error:
        log.warning("a channel cannot be read", error=str(error), shape=shape_of(raw))
        return _unseen(raw)


def _parsed(client: discord.Client, guild: discord.Guild, raw: Any) -> Any:
    state: Any = client._connection
    kind = _kind_of(raw)
    if kind in THREADS:
        data: Any = fitted(raw, THREAD)
        return discord.Thread(guild=guild, state=state, data=data)
    makers: dict[int, Any] = {2: discord.VoiceChannel, 13: discord.StageChannel}
    if kind not in CHATS:
        return None
    maker = makers.get(kind, discord.TextChannel)
    return maker(guild=guild, state=state, data=fitted(raw, CHANNEL))


def _unseen(raw: Any) -> ChannelContext | None:
    """A direct message, or a place of an unknown guild, which counts as private.

    Raises Unsettled where the answer does not say what it is: it is asked for again.
    """
    own, guild = payloads.identity(raw, "id"), payloads.identity(raw, "guild_id")
    parent, kind = payloads.identity(raw, "parent_id"), _kind_of(raw)
    if own is not None and kind == DIRECT:
        return ChannelContext(Kind.DIRECT, DIRECT_MESSAGES, str(own))
    if kind is not None and kind not in (*THREADS, *CHATS):
        return None
    if own is None or kind is None or guild is None or (kind in THREADS and parent is None):
        raise Unsettled("Discord's answer does not say what the channel is")
    if kind in THREADS:
        return ChannelContext(
            Kind.THREAD, str(guild), str(parent), str(own), visibility=Visibility.PRIVATE
        )
    return ChannelContext(Kind.CHAT, str(guild), str(own))


def _kind_of(raw: Any) -> int | None:
    """A channel's type; None where the answer does not say."""
    try:
        return number(raw["type"])
    except (Unfit, KeyError, TypeError):
        return None
