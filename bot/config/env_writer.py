"""Writes settings into `.env` without changing its other lines.

Invariant: the file is complete at every moment, and only its owner can read it. A new file replaces
it once it is on the disk, so a bot that reads it sees either all new settings or none.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv import set_key

from bot.config import text_file
from bot.domain.errors import SettingsError

PRIVATE = 0o600

# `docker --env-file` and systemd's EnvironmentFile pass quotes on, so plain values get none.
_PLAIN = re.compile(r"[A-Za-z0-9_./:@,+~=%-]+")


def write(path: Path, values: Mapping[str, str]) -> None:
    """Set `values` in the file, and create it if it does not exist.

    Comments and all other lines stay; a file in another encoding becomes UTF-8. If the file cannot
    be read or replaced, raises SettingsError and changes nothing.
    """
    target = path.resolve()  # keep a symbolic link
    text = text_file.read(target) or ""
    try:
        with _beside(target) as draft:
            draft.write_text(text, encoding="utf-8", newline="")
            for name, value in values.items():
                set_key(draft, name, value, quote_mode=_quoting(value))
            draft.chmod(PRIVATE)
            _flush(draft)
            draft.replace(target)
            _flush(target.parent)
    except OSError as error:
        reason = error.strerror or error
        problem = f"the file cannot be written ({reason}): give the folder write permission"
        raise SettingsError(str(path), problem) from None


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Create an empty file in the same folder, and delete it unless it was moved."""
    number, name = tempfile.mkstemp(dir=target.parent, prefix=".env.")  # mode 0600
    os.close(number)
    draft = Path(name)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _quoting(value: str) -> str:
    return "never" if _PLAIN.fullmatch(value) else "always"


def _flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
