"""Every single change of a JSON value: a part dropped, null, of another type, or one added."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

WRONG: tuple[Any, ...] = (None, 7, -1, "x", "", [], [[]], {}, {"x": 1}, True, 1e300)
"""What takes a part's place. Each is of another type, or empty, or out of range."""

ADDED = {"new_field": {"of": ["another", 7, None]}}


def paths(value: Any, here: Path = ()) -> Iterator[Path]:
    """Where the parts of a value are, the value itself first."""
    yield here
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, part in items:
        yield from paths(part, (*here, key))


def mutations(value: Any) -> Iterator[tuple[str, Any]]:
    """Each changed copy of `value`, and what was changed."""
    for path in paths(value):
        where = ".".join(map(str, path)) or "all"
        for wrong in WRONG:
            yield f"{where} = {wrong!r}", _with(value, path, wrong)
        if path:
            yield f"{where} dropped", _without(value, path)
        if isinstance(_at(value, path), dict):
            yield f"{where} + a field", _with(value, path, {**_at(value, path), **ADDED})


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _with(value: Any, path: Path, part: Any) -> Any:
    """A copy along `path`; the rest is shared."""
    if not path:
        return part
    key, *rest = path
    changed = copy.copy(value)
    changed[key] = _with(value[key], tuple(rest), part)
    return changed


def _without(value: Any, path: Path) -> Any:
    *before, last = path
    holder = copy.copy(_at(value, tuple(before)))
    del holder[last]
    return _with(value, tuple(before), holder)
