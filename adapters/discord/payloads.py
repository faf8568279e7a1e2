"""Reading Discord's raw payloads, and repairing messages so that discord.py can always parse them.

Pure. Invariant: a person's message is never lost because an unneeded field is missing or has
another type. Only a message without an id, a channel or an author is invalid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapters.discord.payload_schemas import MESSAGE, UNNAMED, USER
from adapters.discord.payload_validation import (
    JSON,
    REQUIRED,
    InvalidPayload,
    snowflake,
    validate,
)

DEFAULT, REPLY = 0, 19  # documented message types
VOICE_MESSAGE = 1 << 13  # documented message flag
_USERS = re.compile(r"<@!?([0-9]{1,20})>")
_ROLES = re.compile(r"<@&([0-9]{1,20})>")
# The fields that decide whether, where and by whom a question was asked, and with which files: an
# update without its files would remove them. Discord sends all of these.
_DECISIVE = {
    name: replace(MESSAGE[name], default=REQUIRED)
    for name in (
        *("id", "channel_id", "author", "content", "type", "mentions", "mention_roles"),
        "attachments",
    )
}


def repair_message(raw: Any) -> JSON:
    """The fields of a message that discord.py parses; raises InvalidPayload."""
    found = validate(raw, MESSAGE)
    found.setdefault("type", _guess_type(found))
    if "mentions" not in found:
        found["mentions"] = [
            validate({"id": user, "username": UNNAMED}, USER)
            for user in _ids(_USERS, found["content"])
        ]
    found.setdefault("mention_roles", _ids(_ROLES, found["content"]))
    _add_referenced(found, raw)
    return found


def require_decisive_fields(raw: Any) -> None:
    """Raise InvalidPayload unless the fields that decide whose question this is are all valid."""
    validate(raw, _DECISIVE)


def _guess_type(found: JSON) -> int:
    """The type of a partial update without one: a message with a reference is a reply."""
    reference = found.get("message_reference")
    return REPLY if reference is not None and reference["type"] == 0 else DEFAULT


def _ids(pattern: re.Pattern[str], content: str) -> list[str]:
    return [found for found in dict.fromkeys(pattern.findall(content)) if _is_id(found)]


def _is_id(value: str) -> bool:
    try:
        snowflake(value)
    except InvalidPayload:
        return False
    return True


def _add_referenced(found: JSON, raw: Mapping[str, Any]) -> None:
    """Adds the raw referenced message if it is valid; another `RawMessage` repairs it."""
    if "message_reference" not in found or "referenced_message" not in raw:
        return
    referenced = raw["referenced_message"]
    if referenced is not None:
        try:
            repair_message({**referenced, "referenced_message": None})
        except (InvalidPayload, TypeError):
            return
        referenced = {key: referenced[key] for key in referenced if key != "referenced_message"}
    found["referenced_message"] = referenced


# ── reading fields ────────────────────────────────────────────────────────────────────────────
def get_object(raw: Any, name: str) -> Mapping[str, Any]:
    """The object in a field; empty if there is none."""
    value = raw.get(name) if isinstance(raw, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def get_objects(raw: Any, name: str) -> Sequence[Mapping[str, Any]]:
    """The objects in a list field; empty if there are none."""
    value = raw.get(name) if isinstance(raw, Mapping) else None
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def get_text(raw: Any, name: str) -> str:
    """The string in a field, stripped; empty if there is none."""
    value = raw.get(name) if isinstance(raw, Mapping) else None
    return value.strip() if isinstance(value, str) else ""


def get_int(raw: Any, name: str) -> int:
    """The integer in a field; 0 if there is none."""
    value = raw.get(name) if isinstance(raw, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def read_id(raw: Any, name: str) -> int | None:
    """The snowflake in a field; None if there is none."""
    try:
        return int(snowflake(raw[name]))
    except (InvalidPayload, KeyError, TypeError):
        return None


def forwarded_messages(raw: Any) -> Iterator[Mapping[str, Any]]:
    """The messages that a forward contains."""
    for snapshot in get_objects(raw, "message_snapshots"):
        yield get_object(snapshot, "message")


def is_voice_message(message: Any, file: Mapping[str, Any]) -> bool:
    """Whether a message's file was recorded in Discord's client."""
    flagged = get_int(message, "flags") & VOICE_MESSAGE != 0
    return flagged or None not in (file.get("waveform"), file.get("duration_secs"))


def is_command_response(raw: Any) -> bool:
    """Whether an application sent this message in response to a command or a button."""
    return bool(get_object(raw, "interaction_metadata") or get_object(raw, "interaction"))
