"""What is wrong with a setting, in a sentence for the one who wrote it; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

# What pydantic calls a problem → what is expected instead, with the limits that it names.
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
LONGEST_VALUE = 60
"""Characters of a wrong value that are repeated: enough to find it again."""


def problem_of(
    error: Mapping[str, Any], values: Mapping[str, str], secret: Collection[str]
) -> tuple[str, str]:
    """The setting's name, and what is wrong with it; the value of a secret one is not repeated."""
    name = str(error["loc"][0])
    expected = _EXPECTED.get(error["type"])
    if expected is None:
        return name.upper(), str(error["msg"]).removeprefix("Value error, ")
    wanted = expected.format_map(error.get("ctx", {}))
    if name in secret:
        return name.upper(), f"the value must be {wanted}"
    return name.upper(), f"{_shown(values[name])} is wrong: it must be {wanted}"


def _shown(value: str) -> str:
    return repr(value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 1] + "…")
