"""Fits a payload to a shape: the fields that are read, the type of each, and its default.

Pure. A payload is fitted before discord.py parses it: discord.py reads dozens of fields that this
bot does not use, and raises on any of them that is missing or of another type. Fields that the
shape does not name are dropped.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]
Fit = Callable[[Any], Any]

MOST_ID = 1 << 64
MOST_NUMBER = 1 << 53  # what JSON numbers are exact up to


class Unfit(ValueError):
    """A value that cannot be read as what it should be."""


REQUIRED = object()
"""Without this field the payload says nothing that can be used."""
OMIT = object()
"""The field may be left out."""


@dataclass(frozen=True, slots=True)
class Field:
    """How a field is read, and what takes its place where it is missing or cannot be read."""

    fit: Fit
    otherwise: Any = OMIT


Shape = Mapping[str, Field]


def fitted(data: Any, shape: Shape) -> JSON:
    """The fields of `shape` that `data` has, each readable; raises Unfit without a required one."""
    if not isinstance(data, Mapping):
        raise Unfit(f"{type(data).__name__} instead of an object")
    found: JSON = {}
    for name, field in shape.items():
        try:
            if name not in data:
                raise Unfit("missing")
            found[name] = field.fit(data[name])
        except Unfit as error:
            if field.otherwise is REQUIRED:
                raise Unfit(f"{name}: {error}") from error
            if field.otherwise is not OMIT:
                found[name] = field.otherwise
    return found


# ── values ────────────────────────────────────────────────────────────────────────────────────
def snowflake(value: Any) -> str:
    """An id, as digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not (value.isascii() and value.isdigit()):
        raise Unfit("not an id")
    if len(value) > len(str(MOST_ID)) or not 0 <= int(value) < MOST_ID:
        raise Unfit("not an id")
    return value


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise Unfit("not a string")
    return value


def number(value: Any) -> int:
    """A whole number that is not negative."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MOST_NUMBER:
        raise Unfit("not a number")
    return value


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Unfit("neither true nor false")
    return value


def truth(value: Any) -> bool:
    """True for everything that is not empty: for what is safer to believe."""
    return bool(value)


def moment(value: Any) -> str:
    """A time that can be read."""
    try:
        dt.datetime.fromisoformat(text(value))
    except ValueError as error:
        raise Unfit("not a time") from error
    return str(value)


def permissions(value: Any) -> str:
    """A bit set, as digits."""
    return snowflake(value)


def maybe(fit: Fit) -> Fit:
    """`fit`, or null."""
    return lambda value: None if value is None else fit(value)


def one(shape: Shape) -> Fit:
    """An object of `shape`."""
    return lambda value: fitted(value, shape)


def many(fit: Fit) -> Fit:
    """A list, without the items that do not fit."""
    return lambda value: list(_fitting(value, fit))


def all_of(fit: Fit) -> Fit:
    """A list in which everything fits."""

    def read(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Unfit("not a list")
        return [fit(item) for item in value]

    return read


def _fitting(value: Any, fit: Fit) -> Iterable[Any]:
    if not isinstance(value, list):
        raise Unfit("not a list")
    for item in value:
        try:
            yield fit(item)
        except Unfit:
            continue


# ── for the log ───────────────────────────────────────────────────────────────────────────────
DEEPEST, MOST_KEYS = 4, 40


def shape_of(value: Any, depth: int = 0) -> Any:
    """Keys and types of a payload, without any content; bounded."""
    if isinstance(value, Mapping):
        if depth == DEEPEST:
            return "object"
        keys = list(value)[:MOST_KEYS]
        return {str(key)[:40]: shape_of(value[key], depth + 1) for key in keys}
    if isinstance(value, list):
        return [shape_of(value[0], depth + 1)] if value and depth < DEEPEST else "list"
    return "null" if value is None else type(value).__name__


def place_of_error(error: BaseException) -> str:
    """The kind of an error and the line that raised it: its words may be what people wrote."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{type(error).__name__} in {file}:{trace.tb_lineno}"
