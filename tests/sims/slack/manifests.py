"""Slack's rules for an app's manifest, as data.

From the public schema, github.com/slackapi/manifest-schema (schemas/manifest.schema.2.0.0.json),
and docs.slack.dev/reference/app-manifest, without the parts that no manifest here uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

URL = r"^https?://"


@dataclass(frozen=True, slots=True)
class Text:
    """A string, limited in length (characters) and by a pattern."""

    most: int
    least: int = 0
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Number:
    """An integer from a set."""

    allowed: frozenset[int]


@dataclass(frozen=True, slots=True)
class Listed:
    """An array of one kind of element."""

    of: Rule
    most: int
    least: int = 0
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """An object with these fields only."""

    fields: Mapping[str, Rule]
    required: frozenset[str] = field(default_factory=frozenset)


Rule = Text | Flag | Number | Listed | Group

_PROMPT = Group({"title": Text(3_000), "message": Text(3_000)}, frozenset({"title", "message"}))
_SHORTCUT = Group(
    {
        "name": Text(24, 1),
        "type": Text(7, 1, "^(?:message|global)$"),
        "callback_id": Text(255, 1),
        "description": Text(150, 1),
    },
    frozenset({"name", "type", "callback_id", "description"}),
)
_COMMAND = Group(
    {
        "command": Text(32, 2, "^/"),
        "url": Text(3_000, 0, URL),
        "description": Text(2_000, 1),
        "usage_hint": Text(1_000, 1),
        "should_escape": Flag(),
    },
    frozenset({"command", "description"}),
)
_EVENTS = Listed(Text(50), 100, unique=True)
_SCOPES = Listed(Text(50), 255)

SCHEMA = Group(
    {
        "_metadata": Group(
            {
                "major_version": Number(frozenset({1, 2})),
                "minor_version": Number(frozenset(range(10))),
            }
        ),
        "display_information": Group(
            {
                "name": Text(35, 1),
                "description": Text(140, 1),
                "background_color": Text(7, 4, "^#[0-9a-fA-F]{3}(?:[0-9a-fA-F]{3})?$"),
                "long_description": Text(4_000, 175),
            },
            frozenset({"name"}),
        ),
        "features": Group(
            {
                "app_home": Group(
                    {
                        "home_tab_enabled": Flag(),
                        "messages_tab_enabled": Flag(),
                        "messages_tab_read_only_enabled": Flag(),
                    }
                ),
                "bot_user": Group(
                    {"display_name": Text(80, 1), "always_online": Flag()},
                    frozenset({"display_name"}),
                ),
                "shortcuts": Listed(_SHORTCUT, 10, 1),
                "slash_commands": Listed(_COMMAND, 50, 1),
                "agent_view": Group(
                    {"agent_description": Text(300), "suggested_prompts": Listed(_PROMPT, 4)}
                ),
            }
        ),
        "oauth_config": Group(
            {
                "redirect_urls": Listed(Text(2_500), 1_000, unique=True),
                "scopes": Group({"bot": _SCOPES, "user": _SCOPES}),
            }
        ),
        "settings": Group(
            {
                "event_subscriptions": Group(
                    {
                        "request_url": Text(3_500, 0, URL),
                        "bot_events": _EVENTS,
                        "user_events": _EVENTS,
                    }
                ),
                "interactivity": Group(
                    {
                        "is_enabled": Flag(),
                        "request_url": Text(3_500, 0, URL),
                        "message_menu_options_url": Text(3_500, 0, URL),
                    },
                    frozenset({"is_enabled"}),
                ),
                "org_deploy_enabled": Flag(),
                "socket_mode_enabled": Flag(),
                "token_rotation_enabled": Flag(),
            }
        ),
    },
    frozenset({"display_information"}),
)


def find_manifest_errors(manifest: Any) -> list[str]:
    """Slack's objections to a manifest, each with a JSON pointer."""
    return [*_errors(manifest, SCHEMA, ""), *_modes(manifest)]


def _errors(value: Any, rule: Rule, at: str) -> Iterator[str]:
    match rule:
        case Group():
            yield from _group(value, rule, at)
        case Listed():
            yield from _listed(value, rule, at)
        case Text():
            yield from _text(value, rule, at)
        case Flag() if not isinstance(value, bool):
            yield f"{at}: must be true or false"
        case Number() if isinstance(value, bool) or value not in rule.allowed:
            yield f"{at}: must be one of {sorted(rule.allowed)}"


def _group(value: Any, rule: Group, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: must be an object"
        return
    yield from (f"{at}/{name}: is required" for name in sorted(rule.required - value.keys()))
    for name, one in value.items():
        if name in rule.fields:
            yield from _errors(one, rule.fields[name], f"{at}/{name}")
        else:
            yield f"{at}/{name}: is not a known property"


def _listed(value: Any, rule: Listed, at: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{at}: must be an array"
        return
    if not rule.least <= len(value) <= rule.most:
        yield f"{at}: must have {rule.least} to {rule.most} items"
    if rule.unique and len(value) != len(set(map(str, value))):
        yield f"{at}: must have unique items"
    for number, one in enumerate(value):
        yield from _errors(one, rule.of, f"{at}/{number}")


def _text(value: Any, rule: Text, at: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{at}: must be a string"
    elif not rule.least <= len(value) <= rule.most:
        yield f"{at}: must have {rule.least} to {rule.most} characters, not {len(value)}"
    elif rule.pattern and not re.search(rule.pattern, value):
        yield f"{at}: must match {rule.pattern}"


def _modes(manifest: Any) -> Iterator[str]:
    """Without Socket Mode, Slack needs URLs for deliveries."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("settings"), dict):
        return
    settings, features = manifest["settings"], manifest.get("features") or {}
    if settings.get("socket_mode_enabled"):
        return
    events, interactivity = settings.get("event_subscriptions"), settings.get("interactivity")
    if events and events.get("bot_events") and not events.get("request_url"):
        yield "/settings/event_subscriptions/request_url: is required without Socket Mode"
    if interactivity and interactivity.get("is_enabled") and not interactivity.get("request_url"):
        yield "/settings/interactivity/request_url: is required without Socket Mode"
    for number, command in enumerate(features.get("slash_commands") or ()):
        if isinstance(command, dict) and not command.get("url"):
            yield f"/features/slash_commands/{number}/url: is required without Socket Mode"
