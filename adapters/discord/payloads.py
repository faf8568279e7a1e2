"""From a message as Discord sent it to one that discord.py can always parse.

Pure. Invariant: a person's message is never lost because a field that this bot can do without is
missing or of another type; only without an id, a channel or an author there is no message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapters.discord.payload_fitting import JSON, REQUIRED, Unfit, fitted, snowflake
from adapters.discord.payload_shapes import MESSAGE, UNNAMED, USER

DEFAULT, REPLY = 0, 19
_USERS = re.compile(r"<@!?([0-9]{1,20})>")
_ROLES = re.compile(r"<@&([0-9]{1,20})>")
# What decides whether, where and by whom something was asked. Discord sends all of it.
_DECIDING = {
    name: replace(MESSAGE[name], otherwise=REQUIRED)
    for name in ("id", "channel_id", "author", "content", "type", "mentions", "mention_roles")
}


def message(raw: Any) -> JSON:
    """The fields of a message that discord.py is to parse; raises Unfit."""
    found = fitted(raw, MESSAGE)
    found.setdefault("type", _type(found))
    if "mentions" not in found:
        found["mentions"] = [
            fitted({"id": user, "username": UNNAMED}, USER)
            for user in _ids(_USERS, found["content"])
        ]
    found.setdefault("mention_roles", _ids(_ROLES, found["content"]))
    _refer(found, raw)
    return found


def certain(raw: Any) -> None:
    """Raise Unfit unless all that decides whose question a message is can be read."""
    fitted(raw, _DECIDING)


def _type(found: JSON) -> int:
    """A partial update may leave it out; a reply is known by what it refers to."""
    reference = found.get("message_reference")
    return REPLY if reference is not None and reference["type"] == 0 else DEFAULT


def _ids(pattern: re.Pattern[str], content: str) -> list[str]:
    return [found for found in dict.fromkeys(pattern.findall(content)) if _is_id(found)]


def _is_id(value: str) -> bool:
    try:
        snowflake(value)
    except Unfit:
        return False
    return True


def _refer(found: JSON, raw: Mapping[str, Any]) -> None:
    """The message that this one refers to, as it was sent: its own parsing fits it again."""
    if "message_reference" not in found or "referenced_message" not in raw:
        return
    referenced = raw["referenced_message"]
    if referenced is not None:
        try:
            message({**referenced, "referenced_message": None})
        except (Unfit, TypeError):
            return
        referenced = {key: referenced[key] for key in referenced if key != "referenced_message"}
    found["referenced_message"] = referenced


# ── reading what was sent ─────────────────────────────────────────────────────────────────────
def part(raw: Any, name: str) -> Mapping[str, Any]:
    """An object in `raw`; an empty one where there is none."""
    value = raw.get(name) if isinstance(raw, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def parts(raw: Any, name: str) -> Sequence[Mapping[str, Any]]:
    """The objects of a list in `raw`."""
    value = raw.get(name) if isinstance(raw, Mapping) else None
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def words(raw: Any, name: str) -> str:
    """A string in `raw`, without space around it."""
    value = raw.get(name) if isinstance(raw, Mapping) else None
    return value.strip() if isinstance(value, str) else ""


def whole(raw: Any, name: str) -> int:
    """A number in `raw`; 0 where there is none."""
    value = raw.get(name) if isinstance(raw, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def identity(raw: Any, name: str) -> int | None:
    """An id in `raw`."""
    try:
        return int(snowflake(raw[name]))
    except (Unfit, KeyError, TypeError):
        return None


def snapshots(raw: Any) -> Iterator[Mapping[str, Any]]:
    """The messages that a forward carries."""
    for snapshot in parts(raw, "message_snapshots"):
        yield part(snapshot, "message")


def answers_command(raw: Any) -> bool:
    """Whether a message is what an application answered to a command or a button."""
    return bool(part(raw, "interaction_metadata") or part(raw, "interaction"))
