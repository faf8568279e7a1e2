"""Looks up variables by name, first in the environment and then in `.env`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bot.config.env_file import unquote

_REFERENCE = re.compile(r"env:([A-Z_][A-Z0-9_]{0,99})")


@dataclass(frozen=True, slots=True)
class Variables:
    """Variables from both sources; the environment wins. An empty value counts as not set."""

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    dotenv: Mapping[str, str] = field(default_factory=dict, repr=False)
    path: Path | None = field(default=None, compare=False)  # of the `.env` file

    def get(self, name: str, *, prose: bool = False) -> str:
        """The value; "" if it is not set. `prose` keeps text that looks like a comment."""
        return unquote(self.environ.get(name, ""), prose=prose) or self._in_file(name)

    def origin(self, name: str) -> str:
        """The source of the value: "the environment", ".env", or "" if it is not set."""
        if unquote(self.environ.get(name, "")):
            return "the environment"
        return ".env" if self._in_file(name) else ""

    def _in_file(self, name: str) -> str:
        return self.dotenv.get(name, "").strip()


def referenced_name(value: str) -> str | None:
    """The NAME in `env:NAME`; None for any other text.

    Only capitals count as a name: a key that someone wrote after `env:` also has lower-case
    letters, and messages must not repeat it.
    """
    found = _REFERENCE.fullmatch(value.strip())
    return found[1] if found else None
