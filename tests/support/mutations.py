"""Mutations of a payload: each field dropped, null or of another type, and one field added.

They stand for payloads that a platform may send in the future, or has sent by mistake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
ADDED = "a_new_field"
HARSH: tuple[Any, ...] = (None, 7, -1, "x", "", [], [[]], {}, {"x": 1}, True, 1e300)
"""Replacement values, including empty or out-of-range values of the same type."""
OTHERS: tuple[Any, ...] = (None, 7, "text", [], {}, [None], {"a": {"b": None}})


@dataclass(frozen=True, slots=True)
class Mutation:
    """A mutated payload, and its change: `how` is drop, add, or the new value."""

    path: Path
    how: str
    payload: Any

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path)) or 'all'} {self.how}"


def mutations(payload: Any, others: tuple[Any, ...] = OTHERS) -> Iterator[Mutation]:
    """All mutations, those of the whole payload first; each part is also replaced by each of
    `others`."""
    for path, value in _places(payload, ()):
        for other in others:
            if others is HARSH or type(other) is not type(value):
                yield Mutation(path, repr(other), _with(payload, path, other))
        if isinstance(value, dict):
            yield Mutation(path, "add", _with(payload, path, value | {ADDED: {"x": [1]}}))
        if path:
            yield Mutation(path, "drop", _without(payload, path))


def changed(payload: Any) -> Iterator[tuple[str, Any]]:
    """A description and the payload of every mutation with `HARSH` values."""
    for mutation in mutations(payload, HARSH):
        yield str(mutation), mutation.payload


def _places(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    yield path, value
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, one in inner:
        yield from _places(one, (*path, key))


def _with(value: Any, path: Path, other: Any) -> Any:
    if not path:
        return other
    changed = value.copy()
    changed[path[0]] = _with(value[path[0]], path[1:], other)
    return changed


def _without(value: Any, path: Path) -> Any:
    changed = value.copy()
    if len(path) == 1:
        del changed[path[0]]
    else:
        changed[path[0]] = _without(value[path[0]], path[1:])
    return changed
