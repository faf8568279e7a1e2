"""Which fields of Discord's payloads are read, of what type each is, and what stands in for it.

Pure. A payload is fitted to its shape before discord.py parses it: discord.py reads dozens of
fields that this bot does not use, and raises on any of them that is missing or of another type.
Fields that no shape names are dropped. Shapes follow https://docs.discord.com/developers/resources.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]
Fit = Callable[[Any], Any]

MOST_ID = 1 << 64
MOST_NUMBER = 1 << 53  # what JSON numbers are exact up to


class Unfit(ValueError):
    """A value that cannot be read as what it should be."""


REQUIRED = object()
"""Without this field the payload says nothing that can be used."""
OMIT = object()
"""The field may be left out."""


@dataclass(frozen=True, slots=True)
class Field:
    """How a field is read, and what takes its place where it is missing or cannot be read."""

    fit: Fit
    otherwise: Any = OMIT


Shape = Mapping[str, Field]


def fitted(data: Any, shape: Shape) -> JSON:
    """The fields of `shape` that `data` has, each readable; raises Unfit without a required one."""
    if not isinstance(data, Mapping):
        raise Unfit(f"{type(data).__name__} instead of an object")
    found: JSON = {}
    for name, field in shape.items():
        try:
            if name not in data:
                raise Unfit("missing")
            found[name] = field.fit(data[name])
        except Unfit as error:
            if field.otherwise is REQUIRED:
                raise Unfit(f"{name}: {error}") from error
            if field.otherwise is not OMIT:
                found[name] = field.otherwise
    return found


# ── values ────────────────────────────────────────────────────────────────────────────────────
def snowflake(value: Any) -> str:
    """An id, as digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not (value.isascii() and value.isdigit()):
        raise Unfit("not an id")
    if len(value) > len(str(MOST_ID)) or not 0 <= int(value) < MOST_ID:
        raise Unfit("not an id")
    return value


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise Unfit("not a string")
    return value


def number(value: Any) -> int:
    """A whole number that is not negative."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MOST_NUMBER:
        raise Unfit("not a number")
    return value


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Unfit("neither true nor false")
    return value


def truth(value: Any) -> bool:
    """True for everything that is not empty: for what is safer to believe."""
    return bool(value)


def moment(value: Any) -> str:
    """A time that can be read."""
    try:
        dt.datetime.fromisoformat(text(value))
    except ValueError as error:
        raise Unfit("not a time") from error
    return str(value)


def permissions(value: Any) -> str:
    """A bit set, as digits."""
    return snowflake(value)


def maybe(fit: Fit) -> Fit:
    """`fit`, or null."""
    return lambda value: None if value is None else fit(value)


def one(shape: Shape) -> Fit:
    """An object of `shape`."""
    return lambda value: fitted(value, shape)


def many(fit: Fit) -> Fit:
    """A list, without the items that do not fit."""
    return lambda value: list(_fitting(value, fit))


def all_of(fit: Fit) -> Fit:
    """A list in which everything fits."""

    def read(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Unfit("not a list")
        return [fit(item) for item in value]

    return read


def _fitting(value: Any, fit: Fit) -> Iterable[Any]:
    if not isinstance(value, list):
        raise Unfit("not a list")
    for item in value:
        try:
            yield fit(item)
        except Unfit:
            continue


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


# ── for the log ───────────────────────────────────────────────────────────────────────────────
DEEPEST, MOST_KEYS = 4, 40


def shape_of(value: Any, depth: int = 0) -> Any:
    """Keys and types of a payload, without any content; bounded."""
    if isinstance(value, Mapping):
        if depth == DEEPEST:
            return "object"
        keys = list(value)[:MOST_KEYS]
        return {str(key)[:40]: shape_of(value[key], depth + 1) for key in keys}
    if isinstance(value, list):
        return [shape_of(value[0], depth + 1)] if value and depth < DEEPEST else "list"
    return "null" if value is None else type(value).__name__


def place_of_error(error: BaseException) -> str:
    """The kind of an error and the line that raised it: its words may be what people wrote."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{type(error).__name__} in {file}:{trace.tb_lineno}"
