"""The shapes of the payloads that this bot reads: see `fitting`.

They follow https://docs.discord.com/developers/resources and /events/gateway-events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.discord.payload_fitting import (
    JSON,
    REQUIRED,
    Field,
    Shape,
    Unfit,
    all_of,
    fitted,
    flag,
    many,
    maybe,
    moment,
    number,
    one,
    permissions,
    snowflake,
    text,
    truth,
)

# ── people ────────────────────────────────────────────────────────────────────────────────────
UNNAMED = "unknown-user"

USER: Shape = {
    "id": Field(snowflake, REQUIRED),
    "username": Field(text, UNNAMED),
    "global_name": Field(maybe(text), None),
    "discriminator": Field(text, "0"),
    "avatar": Field(maybe(text), None),
    "bot": Field(truth, False),
    "system": Field(truth),
}

MEMBER: Shape = {
    "roles": Field(many(snowflake), []),
    "joined_at": Field(maybe(moment), None),
    "deaf": Field(flag, False),
    "mute": Field(flag, False),
    "nick": Field(maybe(text), None),
    "flags": Field(number, 0),
    "pending": Field(flag, False),
    "permissions": Field(permissions),
    "communication_disabled_until": Field(maybe(moment), None),
}

MENTIONED: Shape = {**USER, "member": Field(one(MEMBER))}
GUILD_MEMBER: Shape = {**MEMBER, "user": Field(one(USER), REQUIRED)}

# ── messages ──────────────────────────────────────────────────────────────────────────────────
ATTACHMENT: Shape = {
    "id": Field(snowflake, "0"),
    "filename": Field(text, ""),
    "size": Field(number, 0),
    "url": Field(text, ""),
    "proxy_url": Field(text, ""),
}


def _webhook(value: Any) -> str:
    """What cannot be read is a webhook's id all the same: its message is no person's."""
    try:
        return snowflake(value)
    except Unfit:
        return "0"


BUTTON_TYPE, ROW_TYPE = 2, 1


def _button(value: Any) -> JSON:
    button = fitted(value, BUTTON)
    if button["type"] != BUTTON_TYPE:
        raise Unfit("not a button")
    return button


def _row(value: Any) -> JSON:
    row = fitted(value, ROW)
    if row["type"] != ROW_TYPE:
        raise Unfit("not a row")
    return row


BUTTON: Shape = {
    "type": Field(number, REQUIRED),
    "style": Field(number, 2),
    "label": Field(text),
    "custom_id": Field(text),
    "url": Field(text),
    "disabled": Field(flag, False),
}
ROW: Shape = {
    "type": Field(number, REQUIRED),
    "components": Field(many(_button), []),
}
"""Our own buttons, which come back with a press; other components are read as text only."""

REFERENCE: Shape = {
    "type": Field(number, 0),
    "message_id": Field(snowflake),
    "channel_id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake),
    "fail_if_not_exists": Field(flag, True),
}

MESSAGE: Shape = {
    "id": Field(snowflake, REQUIRED),
    "channel_id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake),
    "author": Field(one(USER), REQUIRED),
    "member": Field(one(MEMBER)),
    "content": Field(text, ""),
    "edited_timestamp": Field(maybe(moment), None),
    "type": Field(number),
    "mentions": Field(many(one(MENTIONED))),
    "mention_roles": Field(many(snowflake)),
    "mention_everyone": Field(flag, False),
    "attachments": Field(many(one(ATTACHMENT)), []),
    "components": Field(many(_row), []),
    "flags": Field(number, 0),
    "webhook_id": Field(maybe(_webhook)),
    "application_id": Field(snowflake),
    "message_reference": Field(one(REFERENCE)),
}

# ── places ────────────────────────────────────────────────────────────────────────────────────
OVERWRITE: Shape = {
    "id": Field(snowflake, REQUIRED),
    "type": Field(number, REQUIRED),
    "allow": Field(permissions, REQUIRED),
    "deny": Field(permissions, REQUIRED),
}

CHANNEL: Shape = {
    "id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake),
    "type": Field(number, REQUIRED),
    "name": Field(text, ""),
    "position": Field(number, 0),
    "parent_id": Field(maybe(snowflake), None),
    "last_message_id": Field(maybe(snowflake), None),
    "default_auto_archive_duration": Field(number),
    "bitrate": Field(number, 0),
    "user_limit": Field(number, 0),
    # A lost overwrite would make a private channel look public: such a channel is fetched instead.
    "permission_overwrites": Field(all_of(one(OVERWRITE)), REQUIRED),
}

METADATA: Shape = {
    "archived": Field(flag, False),
    "locked": Field(flag, False),
    "invitable": Field(flag),
    "auto_archive_duration": Field(number, 1440),
    "archive_timestamp": Field(moment, "1970-01-01T00:00:00+00:00"),
    "create_timestamp": Field(maybe(moment)),
}

THREAD: Shape = {
    "id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake),
    "parent_id": Field(snowflake, REQUIRED),
    "owner_id": Field(snowflake, "0"),
    "type": Field(number, 12),  # private, until it is known
    "name": Field(text, ""),
    "last_message_id": Field(maybe(snowflake), None),
    "message_count": Field(number, 0),
    "member_count": Field(number, 0),
    "newly_created": Field(flag),
    "thread_metadata": Field(one(METADATA), fitted({}, METADATA)),
}

TAGS: Shape = {"bot_id": Field(snowflake)}

ROLE: Shape = {
    "id": Field(snowflake, REQUIRED),
    "name": Field(text, ""),
    "permissions": Field(permissions, "0"),
    "position": Field(number, 0),
    "managed": Field(flag, False),
    "mentionable": Field(flag, False),
    "hoist": Field(flag, False),
    "color": Field(number, 0),
    "colors": Field(
        lambda _: {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
    ),
    "flags": Field(number, 0),
    "tags": Field(one(TAGS)),
}

GUILD: Shape = {
    "id": Field(snowflake, REQUIRED),
    "name": Field(text, ""),
    "owner_id": Field(maybe(snowflake), None),
    "member_count": Field(number),
    "roles": Field(many(one(ROLE))),
    "channels": Field(many(one(CHANNEL))),
    "threads": Field(many(one(THREAD))),
    "members": Field(many(one(GUILD_MEMBER))),
    "unavailable": Field(flag),
}

GUILD_CHANGED: Shape = {**GUILD, "roles": Field(many(one(ROLE)), REQUIRED)}

UNAVAILABLE: Shape = {
    "id": Field(snowflake, REQUIRED),
    "unavailable": Field(flag, True),
}

APPLICATION: Shape = {"id": Field(snowflake, REQUIRED), "flags": Field(number, 0)}

READY: Shape = {
    "user": Field(one(USER), REQUIRED),
    "guilds": Field(many(one(UNAVAILABLE)), []),
    "application": Field(one(APPLICATION)),
}

# ── what happens ──────────────────────────────────────────────────────────────────────────────
DELETED: Shape = {
    "id": Field(snowflake, REQUIRED),
    "channel_id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake),
}
DELETED_TOGETHER: Shape = {
    "ids": Field(many(snowflake), REQUIRED),
    "channel_id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake),
}
GUILD_GONE: Shape = {
    "id": Field(snowflake, REQUIRED),
    # Only what is plainly no outage takes a guild's conversations away.
    "unavailable": Field(lambda value: value is not False),
}
THREAD_GONE: Shape = {
    "id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake, REQUIRED),
    "parent_id": Field(snowflake, REQUIRED),
    "type": Field(number, 11),
}
CHANNEL_GONE: Shape = {
    "id": Field(snowflake, REQUIRED),
    "guild_id": Field(snowflake, REQUIRED),
}
THREADS_LISTED: Shape = {
    "guild_id": Field(snowflake, REQUIRED),
    "channel_ids": Field(many(snowflake)),
    "threads": Field(many(one(THREAD)), []),
}
ROLE_CHANGED: Shape = {
    "guild_id": Field(snowflake, REQUIRED),
    "role": Field(one(ROLE), REQUIRED),
}
ROLE_GONE: Shape = {
    "guild_id": Field(snowflake, REQUIRED),
    "role_id": Field(snowflake, REQUIRED),
}


def _object(value: Any) -> JSON:
    if not isinstance(value, dict):
        raise Unfit("not an object")
    return value


INTERACTION: Shape = {
    "id": Field(snowflake, REQUIRED),
    "type": Field(number, REQUIRED),
    "token": Field(text, REQUIRED),
    "data": Field(_object),
    "version": Field(number, 1),
    "application_id": Field(snowflake, "0"),
    "attachment_size_limit": Field(number, 0),
    "guild_id": Field(snowflake),
    "channel": Field(_object, {}),
    "member": Field(one(GUILD_MEMBER)),
    "user": Field(one(USER)),
    "message": Field(one(MESSAGE)),
    "context": Field(number),
    "locale": Field(text),
}

SHAPES: Mapping[str, Shape] = {
    "READY": READY,
    "INTERACTION_CREATE": INTERACTION,
    "MESSAGE_DELETE": DELETED,
    "MESSAGE_DELETE_BULK": DELETED_TOGETHER,
    "GUILD_CREATE": GUILD,
    "GUILD_UPDATE": GUILD_CHANGED,
    "GUILD_DELETE": GUILD_GONE,
    "CHANNEL_CREATE": CHANNEL,
    "CHANNEL_UPDATE": CHANNEL,
    "CHANNEL_DELETE": CHANNEL_GONE,
    "THREAD_CREATE": THREAD,
    "THREAD_UPDATE": THREAD,
    "THREAD_DELETE": THREAD_GONE,
    "THREAD_LIST_SYNC": THREADS_LISTED,
    "GUILD_ROLE_CREATE": ROLE_CHANGED,
    "GUILD_ROLE_UPDATE": ROLE_CHANGED,
    "GUILD_ROLE_DELETE": ROLE_GONE,
}
"""The dispatches that change what this bot knows; others are parsed as they are, or cost
themselves."""
