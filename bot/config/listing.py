"""`threadline config`: lists every setting in force and its source, without secrets; pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from urllib.parse import urlsplit

from pydantic import SecretStr

from bot.config.presets import KEY_VARIABLES
from bot.config.problems import cut
from bot.config.settings import Settings

MASK = "••••"

DEFAULT = "default"


def list_settings(settings: Settings) -> Iterator[str]:
    """A line for each setting, in the order of `.env.example`, and one for each provider's key."""
    for name in type(settings).model_fields:
        variable = name.upper()
        yield _line(variable, getattr(settings, name), _origin(settings, variable))
    own = {name.upper() for name in type(settings).model_fields}
    for variable in sorted({*KEY_VARIABLES, *settings.file.variables()} - own):
        if settings.variables.get(variable):
            yield f"{variable}={MASK}  ({_origin(settings, variable)})"


def _line(variable: str, value: object, origin: str) -> str:
    return f"{variable}={_shown(value)}  ({origin})"


def _origin(settings: Settings, variable: str) -> str:
    return settings.variables.origin(variable) or DEFAULT


def _shown(value: object) -> str:
    """Format the value on one line, with secrets masked and passwords removed from addresses."""
    if value is None or value == "":
        return ""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, bool):
        return str(value).lower()
    text = " ".join(str(value.value if isinstance(value, Enum) else value).split())
    return _without_password(text) if "://" in text else cut(text)


def _without_password(url: str) -> str:
    """An address without its user, password and query, which may be secret."""
    if url.startswith("sqlite:"):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    place = parts.netloc.rpartition("@")[2]
    netloc = place if place == parts.netloc else f"{MASK}@{place}"
    return parts._replace(netloc=netloc, query=MASK if parts.query else "").geturl()
