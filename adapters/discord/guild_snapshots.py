"""Reads guilds from REST whose events arrive at another process, which holds their shard.

This lets replies, links and rules about any guild work in every process.
"""

from __future__ import annotations

from typing import Any

import discord

from adapters.discord.event_schemas import SCHEMAS
from adapters.discord.payload_validation import InvalidPayload, validate
from adapters.discord.payloads import get_objects, read_id
from adapters.discord.rest import RestApi, request_scopes
from bot.domain.errors import Unsettled


async def fetch_guild(rest: RestApi, guild: int) -> discord.Guild:
    """Fetch a guild with its roles and channels, without threads, in two requests.

    Leaves out unreadable parts. Raises a PlatformError.
    """
    raw: Any = await rest.request(
        request_scopes("guild", guild),
        lambda client: client.http.get_guild(guild, with_counts=False),
        within=rest.timeouts.lookup,
    )
    channels: Any = await rest.request(
        request_scopes("guild-channels", guild),
        lambda client: client.http.get_all_guild_channels(guild),
        within=rest.timeouts.lookup,
    )
    if read_id(raw, "id") != guild or not isinstance(channels, list):
        raise Unsettled("the answer does not describe the guild")
    client: Any = await rest.client()
    try:
        data: Any = validate(
            {**raw, "channels": get_objects({"all": channels}, "all"), "threads": []},
            SCHEMAS["GUILD_CREATE"],
        )
        return discord.Guild(data=data, state=client._connection)
    except InvalidPayload as error:
        raise Unsettled("the guild cannot be read") from error
