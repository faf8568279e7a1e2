"""Turns validation errors into sentences for the person who wrote the setting; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from bot.domain.errors import SettingsError

# pydantic's error type → the expected value, with the limits from the error's context.
EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_parsing": "true or false",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
    "enum": "{expected}",
}
MAX_VALUE_CHARACTERS = 60
"""The most characters of a wrong value in its error message: enough to recognize it."""


def describe_problem(
    error: Mapping[str, Any], values: Mapping[str, str], secret: Collection[str]
) -> tuple[str, str]:
    """The setting's name and its problem, without the value of a `secret` setting."""
    name = str(error["loc"][0])
    wanted = expectation(error, EXPECTED)
    if wanted is None:
        return name.upper(), str(error["msg"]).removeprefix("Value error, ")
    if name in secret:
        return name.upper(), f"the value must be {wanted}"
    return name.upper(), f"{quote(values[name])} is wrong: it must be {wanted}"


def expectation(error: Mapping[str, Any], texts: Mapping[str, str]) -> str | None:
    """What the value must be; None if the error's message already says it."""
    text = texts.get(error["type"])
    limits = {
        name: f"{limit:g}" if isinstance(limit, float) else limit
        for name, limit in error.get("ctx", {}).items()
    }
    return None if text is None else text.format_map(limits)


def quote(value: str) -> str:
    """The value in quotes, cut to a recognizable length."""
    return repr(cut(value))


def cut(value: str) -> str:
    """Cut the value to a recognizable length."""
    return value if len(value) <= MAX_VALUE_CHARACTERS else value[: MAX_VALUE_CHARACTERS - 1] + "…"


def require_all(*checks: Callable[[], object]) -> None:
    """Run all checks. Raises one SettingsError with the problems of all checks that failed."""
    problems: dict[tuple[str, str], None] = {}
    for check in checks:
        try:
            check()
        except SettingsError as error:
            problems.update(dict.fromkeys(error.problems))
    raise_any(problems)


def raise_any(problems: Iterable[tuple[str, str]]) -> None:
    """Raise one SettingsError for all problems, if there are any."""
    found = list(problems)
    if found:
        (setting, problem), *others = found
        raise SettingsError(setting, problem, others=others)
