"""Parses references to places and people in `threadline.toml`: `slack:T1/#ops`, `@oncall`; pure.

Names become lower case, because platforms find people and channels regardless of case.
"""

from __future__ import annotations

import re
from functools import lru_cache

from bot.config.problems import quote
from bot.domain.policy import PersonKind, PersonRef, PlaceLevel, PlaceRef

PLATFORMS = ("discord", "slack", "web", "console")

PLACE_EXAMPLES = (
    "write slack:T0123ABCD/#ops, discord:123456789/#ops, an id in place of #ops, "
    "discord:123456789/category:Support, a workspace such as slack:T0123ABCD, or a platform"
)
PERSON_EXAMPLES = (
    "write @oncall, role:123456789, group:S0123ABCD, user:U0123ABCD, channel:#ops, members, "
    "guests, strangers, everyone or workspace-admins; slack:T0123ABCD/@oncall is about one "
    "workspace"
)

_WORKSPACE_IDS = {
    "slack": re.compile(r"[TE][A-Z0-9]{1,30}"),
    "discord": re.compile(r"[0-9]{1,20}|@me"),  # @me: direct messages
    "web": re.compile(r"[A-Za-z0-9_.-]{1,64}|@team"),  # a person's name; @team: HTTP_CHANNELS
    "console": re.compile(r"[a-z]{1,20}"),
}
_CHANNEL_IDS = {
    "slack": re.compile(r"[CDG][A-Z0-9]{1,30}"),
    "discord": re.compile(r"[0-9]{1,20}"),
    "web": re.compile(r"[a-z0-9_-]{1,50}"),
    "console": re.compile(r"[a-z]{1,20}"),
}
_THREAD_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_USER_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_GROUP_ID = re.compile(r"[A-Z0-9]{1,30}")

_EVERY_KIND = {
    kind.value: kind
    for kind in (
        PersonKind.GUESTS,
        PersonKind.STRANGERS,
        PersonKind.MEMBERS,
        PersonKind.EVERYONE,
        PersonKind.WORKSPACE_ADMINS,
    )
}
_ABOUT_WORKSPACE = re.compile(r"(?P<platform>[a-z]{1,20})(?::(?P<workspace>[^/:\s]{1,64}))?/(?=.)")
_ADMIN_STYLE = re.compile(  # the form used in ADMINS
    r"discord:(?P<discord>[0-9]{1,20})|slack:(?P<team>[TE][A-Z0-9]{1,30}):(?P<slack>[A-Z0-9]{1,30})"
    r"|web:(?P<web>[A-Za-z0-9_.-]{1,64})"
)


# ── places ────────────────────────────────────────────────────────────────────────────────────
@lru_cache(maxsize=4_096)
def parse_place(text: str) -> PlaceRef:
    """Parse the name of a place. Raises ValueError with a sentence that says what to write."""
    written = text.strip()
    head, _, rest = written.partition("/")
    platform, colon, workspace = head.partition(":")
    if platform not in PLATFORMS or (not colon and rest):
        raise _wrong_place(text)
    if not colon:
        return PlaceRef(PlaceLevel.PLATFORM, platform, text=text)
    if not _WORKSPACE_IDS[platform].fullmatch(workspace):
        raise _wrong_place(text, f"{quote(workspace)} is not the id of a workspace")
    if "/" not in written:
        return PlaceRef(PlaceLevel.WORKSPACE, platform, workspace, text=text)
    return _parse_within(text, platform, workspace, rest)


def _parse_within(text: str, platform: str, workspace: str, rest: str) -> PlaceRef:
    """Parse a category, channel or thread of a workspace."""
    if rest.startswith("category:"):
        if platform != "discord":
            raise _wrong_place(text, "only Discord has categories")
        return _named(PlaceLevel.CATEGORY, platform, workspace, rest[9:], text)
    if rest.startswith("#"):
        return _named(PlaceLevel.CHANNEL, platform, workspace, rest, text)
    channel, slash, thread = rest.partition("/")
    if not _CHANNEL_IDS[platform].fullmatch(channel):
        raise _wrong_place(text, f"{quote(channel)} is not the id of a channel, and a name needs #")
    if not slash:
        return PlaceRef(PlaceLevel.CHANNEL, platform, workspace, channel, text=text)
    if not _THREAD_ID.fullmatch(thread):
        raise _wrong_place(text, f"{quote(thread)} is not the id of a thread")
    return PlaceRef(PlaceLevel.THREAD, platform, workspace, f"{channel}/{thread}", text=text)


def _named(level: PlaceLevel, platform: str, workspace: str, written: str, text: str) -> PlaceRef:
    """Build the reference to a category by id or name, or to a channel by name."""
    value = fold(written)
    if not value or (level is PlaceLevel.CHANNEL and "/" in value):
        raise _wrong_place(text)
    is_name = level is PlaceLevel.CHANNEL or not value.isdecimal()
    return PlaceRef(level, platform, workspace, value, is_name=is_name, text=text)


def _wrong_place(text: str, why: str = "") -> ValueError:
    reason = f" ({why})" if why else ""
    return ValueError(f"{quote(text)} is not a place{reason}: {PLACE_EXAMPLES}")


# ── people ────────────────────────────────────────────────────────────────────────────────────
@lru_cache(maxsize=4_096)
def parse_person(text: str) -> PersonRef:
    """Parse a reference to people. Raises ValueError with a sentence that says what to write."""
    written = text.strip()
    if found := _ADMIN_STYLE.fullmatch(written):
        user = found["discord"] or found["slack"] or found["web"]
        platform = written.partition(":")[0]
        return PersonRef(PersonKind.USER, user, platform, found["team"] or "", text)
    platform = workspace = ""
    rest = written
    if (found := _ABOUT_WORKSPACE.match(written)) and found["platform"] in PLATFORMS:
        platform, workspace = found["platform"], found["workspace"] or ""
        if workspace and not _WORKSPACE_IDS[platform].fullmatch(workspace):
            raise _wrong_person(text, f"{quote(workspace)} is not the id of a workspace")
        rest = written[found.end() :]
    kind, value = _parse_kind(rest, text)
    return PersonRef(kind, value, platform, workspace, text)


def _parse_kind(rest: str, text: str) -> tuple[PersonKind, str]:
    """Split a reference within a workspace into its kind and the id or name."""
    if rest in _EVERY_KIND:
        return _EVERY_KIND[rest], ""
    if rest.startswith("@") and (name := fold(rest)):
        if name in ("everyone", "here", "channel"):
            raise _wrong_person(text, "write everyone, without @")
        return PersonKind.NAME, name
    prefix, _, value = rest.partition(":")
    if prefix == "user" and _USER_ID.fullmatch(value):
        return PersonKind.USER, value
    if prefix in ("role", "group") and _GROUP_ID.fullmatch(value):
        return PersonKind.GROUP, value
    if prefix == "channel":
        is_id = any(ids.fullmatch(value) for ids in _CHANNEL_IDS.values())
        if value.startswith("#") and fold(value):
            return PersonKind.CHANNEL, f"#{fold(value)}"
        if is_id and not value.islower():
            return PersonKind.CHANNEL, value
    raise _wrong_person(text)


def _wrong_person(text: str, why: str = "") -> ValueError:
    reason = f" ({why})" if why else ""
    return ValueError(f"{quote(text)} does not name people{reason}: {PERSON_EXAMPLES}")


def fold(name: str) -> str:
    """Normalize a name as platforms compare it: lower case, without a leading # or @."""
    return name.strip().removeprefix("#").removeprefix("@").strip().casefold()
