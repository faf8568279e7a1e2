"""Converts values to a form that both databases can store.

Texts and numbers come from people, platforms and models, in any column: JSON may contain lone
surrogates and numbers of any length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bot.store.database import Parameters

_LARGEST = 2**63 - 1  # of the integers in both databases; the smallest is -_LARGEST - 1


def storable(text: str) -> str:
    """Convert `text` to valid UTF-8 without NUL.

    A pair of surrogates is joined, a single one becomes U+FFFD, as does NUL.
    """
    if not _is_utf8(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def storable_parameters(parameters: Parameters) -> Parameters:
    """Convert the texts among a statement's parameters, and limit its integers to 64 bits."""
    if isinstance(parameters, Mapping):
        if _are_storable(parameters.values()):
            return parameters
        return {name: _storable(value) for name, value in parameters.items()}
    return parameters if _are_storable(parameters) else tuple(map(_storable, parameters))


def _are_storable(values: Iterable[Any]) -> bool:
    """One loop without calls for nearly all values, because every statement passes here."""
    for value in values:
        kind = type(value)
        if kind is int:
            if not -_LARGEST <= value <= _LARGEST:
                return False
        elif kind is str and ("\0" in value or not (value.isascii() or _is_utf8(value))):
            return False
    return True


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    return max(-_LARGEST - 1, min(value, _LARGEST)) if isinstance(value, int) else value
