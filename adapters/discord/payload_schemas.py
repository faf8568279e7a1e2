"""Schemas of the objects that the bot reads; see `payload_validation`, and `event_schemas`.

From https://docs.discord.com/developers/resources and /events/gateway-events.
"""

from __future__ import annotations

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

UNKNOWN_OWNER = {"id": "0", "username": UNNAMED, "discriminator": "0", "avatar": None}
OWN_APPLICATION: Schema = {
    "id": Field(snowflake, REQUIRED),
    "name": Field(text, ""),
    "description": Field(text, ""),
    "icon": Field(nullable(text), None),
    "bot_public": Field(flag, True),  # `doctor` warns about what it does not know
    "bot_require_code_grant": Field(flag, False),
    "owner": Field(object_of(USER), UNKNOWN_OWNER),
    "verify_key": Field(text, ""),
    "flags": Field(number, 0),
    "interactions_endpoint_url": Field(text),
}
"""The bot's application; discord.py's login needs most of these fields, the bot only the id."""

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
    """Accept an invalid id too: it still marks a webhook's message, which no person wrote."""
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
"""The bot's own buttons, which an interaction returns; other components are read only as text."""

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
DIRECT_TYPE, THREAD_TYPES = 1, (10, 11, 12)  # documented channel types

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
