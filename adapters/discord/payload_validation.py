"""Validates payloads against schemas: the fields that are read, the type of each, its default.

Pure. Runs before discord.py's parsers, which read dozens of fields that this bot does not use and
raise if any of them is missing or has another type. Fields outside the schema are dropped.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]
Parser = Callable[[Any], Any]
"""Returns a value in its valid form; raises InvalidPayload."""

# Ids contain their time: these are reached in 2049. A larger one, taken for the newest message,
# would make the bot skip all that people write until then.
MAX_ID = 1 << 62
MAX_PERMISSIONS = 1 << 64
MAX_NUMBER = 1 << 53  # JSON numbers are exact up to here


class InvalidPayload(ValueError):
    """A value does not have the type that the schema requires."""


REQUIRED = object()
"""Marks a field as required: without it the payload is invalid."""
OMIT = object()
"""Marks a field as optional: it may be left out."""


@dataclass(frozen=True, slots=True)
class Field:
    """How a field is parsed, and the default for one that is missing or invalid."""

    parse: Parser
    default: Any = OMIT


Schema = Mapping[str, Field]


def validate(data: Any, schema: Schema) -> JSON:
    """The valid fields of `data`; raises InvalidPayload if a required one is missing or invalid."""
    if not isinstance(data, Mapping):
        raise InvalidPayload(f"{type(data).__name__} instead of an object")
    found: JSON = {}
    for name, field in schema.items():
        try:
            if name not in data:
                raise InvalidPayload("missing")
            found[name] = field.parse(data[name])
        except InvalidPayload as error:
            if field.default is REQUIRED:
                raise InvalidPayload(f"{name}: {error}") from error
            if field.default is not OMIT:
                found[name] = field.default
    return found


# ── parsers ───────────────────────────────────────────────────────────────────────────────────
def snowflake(value: Any) -> str:
    """An id, as digits."""
    return _digits(value, MAX_ID)


def _digits(value: Any, limit: int) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not (value.isascii() and value.isdigit()):
        raise InvalidPayload("not a numeral")
    if len(value) > len(str(limit)) or not 0 <= int(value) < limit:
        raise InvalidPayload("too large a numeral")
    return value


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise InvalidPayload("not a string")
    return value


def number(value: Any) -> int:
    """A non-negative integer."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_NUMBER:
        raise InvalidPayload("not a number")
    return value


def flag(value: Any) -> bool:
    """A boolean."""
    if not isinstance(value, bool):
        raise InvalidPayload("neither true nor false")
    return value


def truthy(value: Any) -> bool:
    """The truth value of anything, for flags where a wrong True is the safer error."""
    return bool(value)


def timestamp(value: Any) -> str:
    """An ISO 8601 timestamp."""
    try:
        dt.datetime.fromisoformat(text(value))
    except ValueError as error:
        raise InvalidPayload("not a timestamp") from error
    return str(value)


def permissions(value: Any) -> str:
    """A bit set, as digits."""
    return _digits(value, MAX_PERMISSIONS)


def nullable(parse: Parser) -> Parser:
    """A parser that also accepts null."""
    return lambda value: None if value is None else parse(value)


def object_of(schema: Schema) -> Parser:
    """A parser for an object with this schema."""
    return lambda value: validate(value, schema)


def list_of(parse: Parser) -> Parser:
    """A parser for a list; drops invalid items."""
    return lambda value: list(_valid_items(value, parse))


def strict_list_of(parse: Parser) -> Parser:
    """A parser for a list in which every item must be valid."""

    def parse_list(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise InvalidPayload("not a list")
        return [parse(item) for item in value]

    return parse_list


def _valid_items(value: Any, parse: Parser) -> Iterable[Any]:
    if not isinstance(value, list):
        raise InvalidPayload("not a list")
    for item in value:
        try:
            yield parse(item)
        except InvalidPayload:
            continue


# ── for the log ───────────────────────────────────────────────────────────────────────────────
MAX_DEPTH, MAX_KEYS = 4, 40


def outline(value: Any, depth: int = 0) -> Any:
    """The keys and types of a payload, without its content; bounded."""
    if isinstance(value, Mapping):
        if depth == MAX_DEPTH:
            return "object"
        keys = list(value)[:MAX_KEYS]
        return {str(key)[:40]: outline(value[key], depth + 1) for key in keys}
    if isinstance(value, list):
        return [outline(value[0], depth + 1)] if value and depth < MAX_DEPTH else "list"
    return "null" if value is None else type(value).__name__


def error_location(error: BaseException) -> str:
    """An error's type and line, without its message, which may quote what people wrote."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{type(error).__name__} in {file}:{trace.tb_lineno}"
