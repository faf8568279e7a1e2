"""Reads fields of Slack's payloads; no missing, null or unexpected value raises. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Payload = Mapping[str, Any]

# Ids become parts of conversation keys, so no other character may be in them.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# 11 digits of seconds reach the year 5138, and their microseconds fit SQLite's integers.
_TS = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,9})?")


def text(payload: Payload, key: str) -> str:
    """The string at `key`; "" if there is none."""
    value = payload.get(key)
    return value if isinstance(value, str) else ""


def label(payload: Payload, key: str) -> str:
    """The text at `key`, plain or as a text object (`{"type": "plain_text", "text": …}`)."""
    value = payload.get(key)
    return text(value, "text") if isinstance(value, Mapping) else text(payload, key)


def ident(payload: Payload, key: str) -> str:
    """The id at `key`; "" if there is none."""
    value = text(payload, key)
    return value if _ID.fullmatch(value) else ""


def ts(payload: Payload, key: str = "ts") -> str:
    """The timestamp at `key`; "" if there is none."""
    value = text(payload, key)
    return value if _TS.fullmatch(value) else ""


def mapping(payload: Payload, key: str) -> Payload:
    """The object at `key`; empty if there is none."""
    value = payload.get(key)
    return value if isinstance(value, Mapping) else {}


def items(payload: Payload, key: str) -> list[Payload]:
    """The objects in the array at `key`."""
    return objects(payload.get(key))


def objects(value: Any) -> list[Payload]:
    """The objects in `value` if it is an array, else none."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
