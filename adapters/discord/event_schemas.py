"""Schemas of the gateway's events that change discord.py's cache, and of interactions.

From https://docs.discord.com/developers/events/gateway-events. See `payload_validation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.discord.payload_schemas import (
    CHANNEL,
    DIRECT_TYPE,
    GUILD,
    GUILD_MEMBER,
    MESSAGE,
    ROLE,
    THREAD,
    THREAD_TYPES,
    USER,
)
from adapters.discord.payload_validation import (
    JSON,
    REQUIRED,
    Field,
    InvalidPayload,
    Schema,
    flag,
    list_of,
    number,
    object_of,
    snowflake,
    text,
    validate,
)

GUILD_UPDATED: Schema = {**GUILD, "roles": Field(list_of(object_of(ROLE)), REQUIRED)}

UNAVAILABLE: Schema = {
    "id": Field(snowflake, REQUIRED),
    "unavailable": Field(flag, True),
}

APPLICATION: Schema = {"id": Field(snowflake, REQUIRED), "flags": Field(number, 0)}

READY: Schema = {
    "user": Field(object_of(USER), REQUIRED),
    "guilds": Field(list_of(object_of(UNAVAILABLE)), []),
    "shard": Field(list_of(number), [0, 1]),  # as repaired by the socket
    "application": Field(object_of(APPLICATION)),
}

MESSAGE_DELETED: Schema = {name: MESSAGE[name] for name in ("id", "channel_id", "guild_id")}
BULK_DELETED: Schema = {
    "ids": Field(list_of(snowflake), REQUIRED),
    "channel_id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake),
}
GUILD_DELETED: Schema = {
    "id": Field(snowflake, REQUIRED),
    # Only an explicit false means that the bot was removed; anything else may be an outage.
    "unavailable": Field(lambda value: value is not False),
}
CHANNEL_DELETED: Schema = {
    "id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake, REQUIRED),
}
THREAD_DELETED: Schema = {
    **CHANNEL_DELETED,
    "parent_id": Field(snowflake, REQUIRED),
    "type": Field(number, 11),
}
THREAD_LIST: Schema = {
    "guild_id": Field(snowflake, REQUIRED),
    "channel_ids": Field(list_of(snowflake)),
    "threads": Field(list_of(object_of(THREAD)), []),
}
ROLE_SAVED: Schema = {
    "guild_id": Field(snowflake, REQUIRED),
    "role": Field(object_of(ROLE), REQUIRED),
}
ROLE_DELETED: Schema = {
    "guild_id": Field(snowflake, REQUIRED),
    "role_id": Field(snowflake, REQUIRED),
}


# ── interactions ────────────────────────────────────────────────────────────────────────────────
def _any_object(value: Any) -> JSON:
    if not isinstance(value, dict):
        raise InvalidPayload("not an object")
    return value


PARTIAL_CHANNEL: Schema = {"id": Field(snowflake, REQUIRED), "type": Field(number)}


def _partial_channel(value: Any) -> JSON:
    """Parse an interaction's channel: complete for a thread, otherwise only the id.

    For an uncached channel, discord.py would try to build it from these incomplete fields, and
    fail.
    """
    channel = validate(value, PARTIAL_CHANNEL)
    if channel.get("type") in THREAD_TYPES:
        try:
            return validate(value, THREAD)
        except InvalidPayload:
            return {"id": channel["id"]}
    return channel if channel.get("type") == DIRECT_TYPE else {"id": channel["id"]}


INTERACTION: Schema = {
    "id": Field(snowflake, REQUIRED),
    "type": Field(number, REQUIRED),
    "token": Field(text, REQUIRED),
    "data": Field(_any_object),
    "version": Field(number, 1),
    "application_id": Field(snowflake, "0"),
    "attachment_size_limit": Field(number, 0),
    "guild_id": Field(snowflake),
    "channel_id": Field(snowflake),
    "channel": Field(_partial_channel, {}),
    "member": Field(object_of(GUILD_MEMBER)),
    "user": Field(object_of(USER)),
    "message": Field(object_of(MESSAGE)),
    "context": Field(number),
    "locale": Field(text),
}

SCHEMAS: Mapping[str, Schema] = {
    "READY": READY,
    "INTERACTION_CREATE": INTERACTION,
    "MESSAGE_DELETE": MESSAGE_DELETED,
    "MESSAGE_DELETE_BULK": BULK_DELETED,
    "GUILD_CREATE": GUILD,
    "GUILD_UPDATE": GUILD_UPDATED,
    "GUILD_DELETE": GUILD_DELETED,
    "CHANNEL_CREATE": CHANNEL,
    "CHANNEL_UPDATE": CHANNEL,
    "CHANNEL_DELETE": CHANNEL_DELETED,
    "THREAD_CREATE": THREAD,
    "THREAD_UPDATE": THREAD,
    "THREAD_DELETE": THREAD_DELETED,
    "THREAD_LIST_SYNC": THREAD_LIST,
    "GUILD_ROLE_CREATE": ROLE_SAVED,
    "GUILD_ROLE_UPDATE": ROLE_SAVED,
    "GUILD_ROLE_DELETE": ROLE_DELETED,
}
"""Schemas of the events that change the cached state. Other events are parsed without validation.
"""
