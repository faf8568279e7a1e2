"""Validates application commands: their names, descriptions, options and number.

One invalid command makes the whole list invalid; the error contains the field's path.
"""

from __future__ import annotations

import re
from typing import Any

from tests.sims.discord import errors as e

JSON = dict[str, Any]
CHAT_INPUT, USER_MENU, MESSAGE_MENU = 1, 2, 3
MOST = {CHAT_INPUT: 100, USER_MENU: 15, MESSAGE_MENU: 15}
SUB_COMMAND, SUB_GROUP = 1, 2
OPTION_TYPES = tuple(range(1, 12))
STRING, INTEGER, NUMBER = 3, 4, 10
# The option types that take choices or autocomplete, with the types of their values.
VALUE_TYPES: dict[int, type | tuple[type, ...]] = {
    STRING: str,
    INTEGER: int,
    NUMBER: (int, float),
}
MAX_STRING = 6_000  # characters of a string that a person types as an option
NAME = re.compile(r"[-_'\w]{1,32}")
INSTALLS, CONTEXTS = (0, 1), (0, 1, 2)


def check_commands(commands: list[JSON]) -> None:
    """Refuse a bulk overwrite with an invalid command or with two of the same name."""
    seen: dict[int, set[str]] = {}
    for n, command in enumerate(commands):
        kind = command.get("type", CHAT_INPUT)
        if kind not in MOST:
            raise e.not_a_choice(f"{n}.type", tuple(MOST))
        _check_command(str(n), command, kind)
        names = seen.setdefault(kind, set())
        if command["name"] in names:
            message = "Application command names must be unique"
            raise e.InvalidForm(f"{n}.name", "APPLICATION_COMMANDS_DUPLICATE_NAME", message)
        names.add(command["name"])
        if len(names) > MOST[kind]:
            raise e.ApiError(400, 30032, "Maximum number of application commands reached")


def _check_command(path: str, command: JSON, kind: int) -> None:
    if kind == CHAT_INPUT:
        _check_name(path, command.get("name"))
        _check_description(path, command.get("description"))
        _check_options(path, command.get("options") or [])
    else:
        if not 1 <= len(command.get("name") or "") <= 32:
            raise e.bad_length(f"{path}.name", 1, 32)
        if command.get("description"):
            message = "Context menu commands cannot have description"
            raise e.InvalidForm(f"{path}.description", "APPLICATION_COMMAND_INVALID", message)
    for key, allowed in (("contexts", CONTEXTS), ("integration_types", INSTALLS)):
        for value in command.get(key) or []:
            if value not in allowed:
                raise e.not_a_choice(f"{path}.{key}", allowed)


def _check_name(path: str, name: str | None) -> None:
    if not name:
        raise e.required(f"{path}.name")
    if not NAME.fullmatch(name) or name != name.lower():
        message = "Command name is invalid"
        raise e.InvalidForm(f"{path}.name", "APPLICATION_COMMAND_INVALID_NAME", message)


def _check_description(path: str, description: str | None) -> None:
    if not 1 <= len(description or "") <= 100:
        raise e.bad_length(f"{path}.description", 1, 100)


def _check_options(path: str, options: list[JSON]) -> None:
    if len(options) > 25:
        raise e.too_long(f"{path}.options", 25)
    optional = False
    for n, option in enumerate(options):
        here = f"{path}.options.{n}"
        _check_option(here, option)
        if option.get("required") and optional:
            message = "Required options must be placed before non-required options"
            raise e.InvalidForm(here, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message)
        optional = optional or not option.get("required")
    names = [option["name"] for option in options]
    if len(set(names)) != len(names):
        message = "Option names must be unique"
        raise e.InvalidForm(path, "APPLICATION_COMMAND_OPTIONS_DUPLICATE_NAME", message)


def _check_option(path: str, option: JSON) -> None:
    if option.get("type") not in OPTION_TYPES:
        raise e.not_a_choice(f"{path}.type", OPTION_TYPES)
    _check_name(path, option.get("name"))
    _check_description(path, option.get("description"))
    choices = option.get("choices") or []
    if len(choices) > 25:
        raise e.too_long(f"{path}.choices", 25)
    for n, choice in enumerate(choices):
        for key in ("name", "value"):
            if not 1 <= len(str(choice.get(key, ""))) <= 100:
                raise e.bad_length(f"{path}.choices.{n}.{key}", 1, 100)
    if option.get("autocomplete") and option["type"] not in VALUE_TYPES:
        message = "Autocomplete is only available for strings, integers and numbers"
        raise e.InvalidForm(path, "APPLICATION_COMMAND_OPTION_AUTOCOMPLETE_INVALID", message)
    if choices and option.get("autocomplete"):
        message = "Options with choices cannot be autocompleted"
        raise e.InvalidForm(path, "APPLICATION_COMMAND_OPTION_AUTOCOMPLETE_INVALID", message)
    if option["type"] in (SUB_COMMAND, SUB_GROUP):
        _check_options(path, option.get("options") or [])
