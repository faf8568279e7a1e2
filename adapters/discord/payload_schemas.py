"""Schemas of the payloads that the bot reads; see `payload_validation`.

From https://docs.discord.com/developers/resources and /events/gateway-events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.discord.payload_validation import (
    JSON,
    REQUIRED,
    Field,
    InvalidPayload,
    Schema,
    flag,
    list_of,
    nullable,
    number,
    object_of,
    permissions,
    snowflake,
    strict_list_of,
    text,
    timestamp,
    truthy,
    validate,
)

# ── people ────────────────────────────────────────────────────────────────────────────────────
UNNAMED = "unknown-user"

USER: Schema = {
    "id": Field(snowflake, REQUIRED),
    "username": Field(text, UNNAMED),
    "global_name": Field(nullable(text), None),
    "discriminator": Field(text, "0"),
    "avatar": Field(nullable(text), None),
    "bot": Field(truthy, False),
    "system": Field(truthy),
}

MEMBER: Schema = {
    "roles": Field(list_of(snowflake), []),
    "joined_at": Field(nullable(timestamp), None),
    "deaf": Field(flag, False),
    "mute": Field(flag, False),
    "nick": Field(nullable(text), None),
    "flags": Field(number, 0),
    "pending": Field(flag, False),
    "permissions": Field(permissions),
    "communication_disabled_until": Field(nullable(timestamp), None),
}

MENTIONED: Schema = {**USER, "member": Field(object_of(MEMBER))}
GUILD_MEMBER: Schema = {**MEMBER, "user": Field(object_of(USER), REQUIRED)}

# ── messages ──────────────────────────────────────────────────────────────────────────────────
ATTACHMENT: Schema = {
    "id": Field(snowflake, "0"),
    "filename": Field(text, ""),
    "size": Field(number, 0),
    "url": Field(text, ""),
    "proxy_url": Field(text, ""),
}


def _webhook(value: Any) -> str:
    """An invalid id still marks a webhook's message, which is never a person's."""
    try:
        return snowflake(value)
    except InvalidPayload:
        return "0"


BUTTON_TYPE, ROW_TYPE = 2, 1


def _button(value: Any) -> JSON:
    button = validate(value, BUTTON)
    if button["type"] != BUTTON_TYPE:
        raise InvalidPayload("not a button")
    return button


def _row(value: Any) -> JSON:
    row = validate(value, ROW)
    if row["type"] != ROW_TYPE:
        raise InvalidPayload("not a row")
    return row


BUTTON: Schema = {
    "type": Field(number, REQUIRED),
    "style": Field(number, 2),
    "label": Field(text),
    "custom_id": Field(text),
    "url": Field(text),
    "disabled": Field(flag, False),
}
ROW: Schema = {
    "type": Field(number, REQUIRED),
    "components": Field(list_of(_button), []),
}
"""The bot's own buttons, which an interaction returns; other components are only read as text."""

REFERENCE: Schema = {
    "type": Field(number, 0),
    "message_id": Field(snowflake),
    "channel_id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake),
    "fail_if_not_exists": Field(flag, True),
}

MESSAGE: Schema = {
    "id": Field(snowflake, REQUIRED),
    "channel_id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake),
    "author": Field(object_of(USER), REQUIRED),
    "member": Field(object_of(MEMBER)),
    "content": Field(text, ""),
    "edited_timestamp": Field(nullable(timestamp), None),
    "type": Field(number),
    "mentions": Field(list_of(object_of(MENTIONED))),
    "mention_roles": Field(list_of(snowflake)),
    "mention_everyone": Field(flag, False),
    "attachments": Field(list_of(object_of(ATTACHMENT)), []),
    "components": Field(list_of(_row), []),
    "flags": Field(number, 0),
    "webhook_id": Field(nullable(_webhook)),
    "application_id": Field(snowflake),
    "message_reference": Field(object_of(REFERENCE)),
}

# ── channels ────────────────────────────────────────────────────────────────────────────────────
OVERWRITE: Schema = {
    "id": Field(snowflake, REQUIRED),
    "type": Field(number, REQUIRED),
    "allow": Field(permissions, REQUIRED),
    "deny": Field(permissions, REQUIRED),
}

CHANNEL: Schema = {
    "id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake),
    "type": Field(number, REQUIRED),
    "name": Field(text, ""),
    "position": Field(number, 0),
    "parent_id": Field(nullable(snowflake), None),
    "last_message_id": Field(nullable(snowflake), None),
    "default_auto_archive_duration": Field(number),
    "bitrate": Field(number, 0),
    "user_limit": Field(number, 0),
    # Without one overwrite, a private channel would look public: fetch such a channel instead.
    "permission_overwrites": Field(strict_list_of(object_of(OVERWRITE)), REQUIRED),
}

METADATA: Schema = {
    "archived": Field(flag, False),
    "locked": Field(flag, False),
    "invitable": Field(flag),
    "auto_archive_duration": Field(number, 1440),
    "archive_timestamp": Field(timestamp, "1970-01-01T00:00:00+00:00"),
    "create_timestamp": Field(nullable(timestamp)),
}

THREAD: Schema = {
    "id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake),
    "parent_id": Field(snowflake, REQUIRED),
    "owner_id": Field(snowflake, "0"),
    "type": Field(number, 12),  # without a type: private
    "name": Field(text, ""),
    "last_message_id": Field(nullable(snowflake), None),
    "message_count": Field(number, 0),
    "member_count": Field(number, 0),
    "newly_created": Field(flag),
    "thread_metadata": Field(object_of(METADATA), validate({}, METADATA)),
}

TAGS: Schema = {"bot_id": Field(snowflake)}

NO_COLORS = {"primary_color": 0, "secondary_color": None, "tertiary_color": None}
ROLE: Schema = {
    "id": Field(snowflake, REQUIRED),
    "name": Field(text, ""),
    "permissions": Field(permissions, "0"),
    "position": Field(number, 0),
    "managed": Field(flag, False),
    "mentionable": Field(flag, False),
    "hoist": Field(flag, False),
    "color": Field(number, 0),
    "colors": Field(lambda _: NO_COLORS, NO_COLORS),
    "flags": Field(number, 0),
    "tags": Field(object_of(TAGS)),
}

GUILD: Schema = {
    "id": Field(snowflake, REQUIRED),
    "name": Field(text, ""),
    "owner_id": Field(nullable(snowflake), None),
    "member_count": Field(number),
    "roles": Field(list_of(object_of(ROLE))),
    "channels": Field(list_of(object_of(CHANNEL))),
    "threads": Field(list_of(object_of(THREAD))),
    "members": Field(list_of(object_of(GUILD_MEMBER))),
    "unavailable": Field(flag),
}

GUILD_UPDATED: Schema = {**GUILD, "roles": Field(list_of(object_of(ROLE)), REQUIRED)}

UNAVAILABLE: Schema = {
    "id": Field(snowflake, REQUIRED),
    "unavailable": Field(flag, True),
}

APPLICATION: Schema = {"id": Field(snowflake, REQUIRED), "flags": Field(number, 0)}

READY: Schema = {
    "user": Field(object_of(USER), REQUIRED),
    "guilds": Field(list_of(object_of(UNAVAILABLE)), []),
    "application": Field(object_of(APPLICATION)),
}

# ── events ──────────────────────────────────────────────────────────────────────────────
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


def _any_object(value: Any) -> JSON:
    if not isinstance(value, dict):
        raise InvalidPayload("not an object")
    return value


DIRECT_TYPE, THREAD_TYPES = 1, (10, 11, 12)  # documented channel types
PARTIAL_CHANNEL: Schema = {"id": Field(snowflake, REQUIRED), "type": Field(number)}


def _partial_channel(value: Any) -> JSON:
    """An interaction's channel: whole if it is a thread, else its id.

    discord.py would read a channel that is not cached from these fields, which are only a part
    of the channel, and fail.
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
"""The events that change the cached state. Others are parsed without validation."""
