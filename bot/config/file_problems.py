"""Describes the errors in `threadline.toml` in sentences; pure.

Invariant: a sentence may repeat names and numbers from the file, but never the value of a key.
"""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Collection, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from bot.config.problems import EXPECTED, cut, expectation
from bot.config.toml_document import Location

# pydantic's error type → the expected value.
_EXPECTED_IN_TOML = EXPECTED | {
    "int_type": "a whole number, without quotes",
    "float_type": "a number, without quotes",
    "bool_type": "true or false, without quotes",
    "string_type": "text in quotes",
    "list_type": 'a list such as ["a", "b"]',
    "dict_type": "a table",
    "model_type": "a table",
}

# Names that other programs use for these keys; most differ too much for a spelling check.
_OTHER_NAMES: Mapping[str, str] = {
    "url": "base_url",
    "api_base": "base_url",
    "address": "base_url",
    "endpoint": "base_url",
    "api_key": "key",
    "token": "key",
    "type": "kind",
    "api": "kind",
    "timeout": "first_token_seconds",
    "params": "query",
    "context_window": "context",
    "window": "context",
    "context_length": "context",
    "max_tokens": "max_output",
    "max_output_tokens": "max_output",
    "vision": "sees",
    "images": "sees",
    "reasoning": "effort",
    "cost": "price",
    "prices": "price",
    "model": "llm",
    "summary": "summaries",
    "provider": "providers",
    "cache_read": "cached",
    "places": "where",
    "channels": "where",
    "mode": "answers",
    "users": "allow",
    "only": "allow",
    "deny": "block",
    "buttons": "controls",
    "administrators": "admins",
    "retention": "retention_days",
    "system_prompt": "prompt",
    "scope": "per",
    "models": "model",
    "usd": "dollars",
    "euros": "amount",
    "eur": "amount",
    "money": "amount",
    "rate": "usd_rate",
    "exchange_rate": "usd_rate",
    "budget": "budgets",
}


_SHOWN_OF_PROVIDERS = ("kind", "first_token_seconds")


def describe(
    error: Mapping[str, Any], schema: type[BaseModel], settings: Collection[str]
) -> tuple[Location, str]:
    """The location of one of pydantic's errors, and a sentence about it.

    `settings` are the names that belong in `.env`.
    """
    location = location_of(error)
    name = dotted(location)
    kind = error["type"]
    if kind == "extra_forbidden":
        return location, f"{name} is not a setting{_hint(location, schema, settings)}"
    if kind == "missing":
        return location, f"{name} is missing"
    wanted = expectation(error, _EXPECTED_IN_TOML)
    if wanted is None:
        return location, f"{name}: {str(error['msg']).removeprefix('Value error, ')}"
    return location, f"{name} is {_show(error['input'], location)}, but must be {wanted}"


def dotted(location: Location) -> str:
    """The location as TOML writes it, with list positions counted from 1."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            name = cut(part)
            bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
            text += f"{'.' if text else ''}{name if bare else json.dumps(name)}"
    return text


def suggestion(name: str, known: Collection[str]) -> str:
    """The known name that was probably meant; "" if none is similar."""
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return near[0] if near else ""


def location_of(error: Mapping[str, Any]) -> Location:
    """The location of one of pydantic's errors."""
    loc: Location = error["loc"]
    # If a table's name is invalid, pydantic appends a part to the location that is not in the file.
    return loc[:-1] if loc[-1] == "[key]" and len(loc) > 1 else loc


def _hint(location: Location, schema: type[BaseModel], settings: Collection[str]) -> str:
    known, name = keys_at(schema, location[:-1]), str(location[-1])
    if name in settings and len(location) == 1:
        return f": {name.upper()} belongs in .env"
    other = _OTHER_NAMES.get(name.lower(), "")
    meant = other if other in known else suggestion(name, known)
    return f": did you mean {meant}?" if meant else f"; allowed here: {', '.join(known)}"


def keys_at(schema: type[BaseModel], location: Location) -> list[str]:
    """The keys allowed in the table at `location`."""
    annotation: Any = schema
    for part in location:
        tables = [each for each in _alternatives(annotation) if _is_table(each)]
        if tables:
            field = tables[0].model_fields.get(str(part))
            annotation = None if field is None else field.annotation
        else:
            kind = list if isinstance(part, int) else dict
            found = [each for each in _alternatives(annotation) if get_origin(each) is kind]
            annotation = get_args(found[0])[-1] if found else None
    tables = [each for each in _alternatives(annotation) if _is_table(each)]
    return list(tables[0].model_fields) if tables else []


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else (annotation,)


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _show(value: Any, location: Location) -> str:
    """Format a value as TOML, cut to a recognizable length.

    Lists, tables and values of providers are not shown, because they may contain a key.
    """
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if location[0] == "providers" and location[-1] not in _SHOWN_OF_PROVIDERS:
        return "of the wrong type"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return cut(text)
