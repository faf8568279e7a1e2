"""Sentences about policy: where a value comes from, and why a person is refused. See `texts`."""

from __future__ import annotations

from bot.domain.model_names import plain
from bot.domain.policy import PlaceFacts, PlaceLevel

BUILT_IN = "the default"
FILE_DEFAULT = "the top of threadline.toml"

NOT_ALLOWED = "only some people may ask here"
STRANGERS_NOT_ALLOWED = "people of other organizations may not ask here"
BLOCKED = "you are blocked here"
NOT_HERE = "you are not in this workspace"
UNKNOWN_BLOCKED = "a list of blocked people names someone who cannot be found"
DIRECTORY_SILENT = "the platform does not say who you are at the moment"
PLACE_UNKNOWN = "the platform does not say which channel this is at the moment"
NOT_YOURS = "only people who took part in this conversation may do that"
ADMINS_ONLY = "only administrators may do that here"

MAX_NAME = 60
"""The most characters of a channel's or person's name in a sentence."""

_LEVELS = {
    PlaceLevel.ANYWHERE: "everywhere",
    PlaceLevel.PLATFORM: "this platform",
    PlaceLevel.WORKSPACE: "this workspace",
    PlaceLevel.THREAD: "this thread",
}


def from_rule(level: PlaceLevel, facts: PlaceFacts, rule: str) -> str:
    """Describe the source of a rule's value: `channel #ops (rule in line 12)`."""
    return f"{place_named(level, facts)} (rule in {rule})"


def from_command(facts: PlaceFacts, person: str) -> str:
    """The source of a value that an administrator set for the channel."""
    return f"{place_named(PlaceLevel.CHANNEL, facts)} (set by {plain(person, MAX_NAME)})"


def place_named(level: PlaceLevel, facts: PlaceFacts) -> str:
    """Name the part of the place that corresponds to this level."""
    if level is PlaceLevel.CHANNEL:
        name = plain(facts.channel_name, MAX_NAME)
        return f"channel #{name}" if facts.channel_name else "this channel"
    if level is PlaceLevel.CATEGORY:
        return f"category {plain(facts.category_name or facts.category, MAX_NAME)}"
    return _LEVELS[level]


def refusal(reason: str, source: str) -> str:
    """A reason for a refusal, with its source: `… (channel #ops, rule in line 12)`."""
    return f"{reason} ({_flat(source)})"


def _flat(source: str) -> str:
    """A source without its brackets, for use inside brackets."""
    return source.replace(" (", ", ").removesuffix(")")


def says_so(source: str) -> str:
    """A clause that says why a value applies: `because channel #ops says so (rule in line 12)`."""
    if source == BUILT_IN:
        return "the default"
    place, bracket, detail = source.rpartition(" (")
    return f"because {place} says so ({detail}" if bracket else f"because {source} says so"
