"""Variables by name: from the environment, else from `.env`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bot.config.env_file import unquote

_REFERENCE = re.compile(r"env:([A-Z_][A-Z0-9_]{0,99})")


@dataclass(frozen=True, slots=True)
class Variables:
    """Both sources; the environment wins. An empty value counts as not set."""

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    dotenv: Mapping[str, str] = field(default_factory=dict, repr=False)
    path: Path | None = field(default=None, compare=False)  # of the `.env` file

    def get(self, name: str, *, prose: bool = False) -> str:
        """The value; "" if it is not set. `prose` keeps what looks like a comment."""
        return unquote(self.environ.get(name, ""), prose=prose) or self._in_file(name)

    def origin(self, name: str) -> str:
        """Where the value comes from: "the environment", ".env", or "" if it is not set."""
        if unquote(self.environ.get(name, "")):
            return "the environment"
        return ".env" if self._in_file(name) else ""

    def _in_file(self, name: str) -> str:
        return self.dotenv.get(name, "").strip()


def referenced_name(value: str) -> str | None:
    """The NAME of `env:NAME`; None for every other text.

    Only capitals count as a name: a key that someone wrote after `env:` has small letters, too, and
    must not be repeated in messages.
    """
    found = _REFERENCE.fullmatch(value.strip())
    return found[1] if found else None
