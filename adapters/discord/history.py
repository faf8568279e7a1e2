"""Reading messages and places from REST, so that one that cannot be read costs itself alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import discord
import structlog

from adapters.discord import payloads
from adapters.discord.events import DIRECT_MESSAGES, Kind, Place, place_of
from adapters.discord.fitting import Unfit, fitted, place_of_error, shape_of
from adapters.discord.shapes import CHANNEL, THREAD
from adapters.discord.wire import translated
from bot.domain import Visibility

log = structlog.stdlib.get_logger(__name__)

DIRECT, THREADS = 1, (10, 11, 12)  # documented types of channels
# Where people talk: text, voice, announcements, stage.
CHATS = (0, 2, 5, 13)


@dataclass(frozen=True, slots=True)
class Page:
    """Messages that can be read, oldest first; `full`: there may be more."""

    messages: tuple[discord.Message, ...]
    full: bool


async def history(
    client: discord.Client,
    channel: discord.abc.Snowflake,
    *,
    limit: int,
    before: int | None = None,
    after: int | None = None,
) -> Page:
    """What one request gives; `channel` may be partial."""
    data = await translated(client.http.logs_from(channel.id, limit, before=before, after=after))
    known = client.get_channel(channel.id) or channel
    told: list[Any] = data if isinstance(data, list) else []
    read = (_read(client, known, raw) for raw in reversed(told))
    found = tuple(message for message in read if message is not None)
    return Page(found, full=bool(found) and len(told) >= limit)


def _read(client: discord.Client, channel: Any, raw: Any) -> discord.Message | None:
    try:
        return client._connection.create_message(channel=channel, data=raw)
    except Exception as error:  # noqa: BLE001 - discord.py's parser raises anything
        log.warning("a message cannot be read", error=place_of_error(error), shape=shape_of(raw))
        return None


async def fetched(client: discord.Client, channel: int) -> Place | None:
    """A place that is not in the cache; None where no conversation can be."""
    raw: Any = await translated(client.http.get_channel(channel))
    guild = client.get_guild(payloads.identity(raw, "guild_id") or 0)
    if guild is None:
        return _unseen(raw)
    try:
        return place_of(_parsed(client, guild, raw))
    except Unfit as error:
        log.warning("a channel cannot be read", error=str(error), shape=shape_of(raw))
        return _unseen(raw)


def _parsed(client: discord.Client, guild: discord.Guild, raw: Any) -> Any:
    state: Any = client._connection
    kind = payloads.whole(raw, "type")
    if kind in THREADS:
        data: Any = fitted(raw, THREAD)
        return discord.Thread(guild=guild, state=state, data=data)
    makers: dict[int, Any] = {2: discord.VoiceChannel, 13: discord.StageChannel}
    if kind not in CHATS:
        return None
    maker = makers.get(kind, discord.TextChannel)
    return maker(guild=guild, state=state, data=fitted(raw, CHANNEL))


def _unseen(raw: Any) -> Place | None:
    """A direct message, or a place of an unknown guild, which counts as private."""
    own, guild = payloads.identity(raw, "id"), payloads.identity(raw, "guild_id")
    parent, kind = payloads.identity(raw, "parent_id"), payloads.whole(raw, "type")
    if own is None:
        return None
    if kind == DIRECT:
        return Place(Kind.DIRECT, DIRECT_MESSAGES, str(own))
    if guild is None:
        return None
    if kind in THREADS and parent is not None:
        return Place(Kind.THREAD, str(guild), str(parent), str(own), visibility=Visibility.PRIVATE)
    return Place(Kind.CHAT, str(guild), str(own)) if kind in CHATS else None
