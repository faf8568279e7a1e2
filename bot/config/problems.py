"""Validation errors as sentences for the person who wrote the setting; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

# pydantic's error type → the expected value, with the limits from the error's context.
_EXPECTED = {
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
"""Of a wrong value in its error message: enough to recognize it."""


def describe_problem(
    error: Mapping[str, Any], values: Mapping[str, str], secret: Collection[str]
) -> tuple[str, str]:
    """The setting's name and its problem, without the value of a `secret` setting."""
    name = str(error["loc"][0])
    expected = _EXPECTED.get(error["type"])
    if expected is None:
        return name.upper(), str(error["msg"]).removeprefix("Value error, ")
    wanted = expected.format_map(error.get("ctx", {}))
    if name in secret:
        return name.upper(), f"the value must be {wanted}"
    return name.upper(), f"{_quote(values[name])} is wrong: it must be {wanted}"


def _quote(value: str) -> str:
    return repr(
        value if len(value) <= MAX_VALUE_CHARACTERS else value[: MAX_VALUE_CHARACTERS - 1] + "…"
    )
