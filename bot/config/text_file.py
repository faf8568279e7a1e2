"""Reads `.env` and `threadline.toml` as text, from any editor and operating system."""

from __future__ import annotations

import codecs
import stat
from pathlib import Path

from bot.domain.errors import SettingsError

MAX_BYTES = 2_000_000
"""Enough for 20,000 generated rules; a larger file is probably the wrong one."""

# Windows editors and PowerShell's `>` start a file with one of these; none writes UTF-32.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_FOLDER = (
    "this is a folder, not a file: remove it, and write the file (Docker makes a folder where a "
    "mounted file is missing)"
)
_PIPE = "this is a pipe or a socket, which cannot be read again: write a file in its place"


def read(path: Path) -> str | None:
    """Read the text of the file; None if there is no file.

    Raises SettingsError for any other problem, with the line number of text that cannot be decoded.
    """
    try:
        _require_file(path)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except PermissionError:
        problem = "the file cannot be read: give its read permission to the user who runs the bot"
        raise SettingsError(str(path), problem) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or error
        problem = f"the file cannot be read ({reason}): is the path right?"
        raise SettingsError(str(path), problem) from None
    if len(data) > MAX_BYTES:
        problem = f"the file is larger than {MAX_BYTES // 1_000} kB: is this the right file?"
        raise SettingsError(str(path), problem)
    return _decode(data, path)


def _require_file(path: Path) -> None:
    """Require a regular file, because opening a pipe would wait for its writer. A device such as
    /dev/null counts as an empty file."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise SettingsError(str(path), _FOLDER)
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        raise SettingsError(str(path), _PIPE)


def _decode(data: bytes, path: Path) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problem = f"line {line} is not in UTF-8: save the file as UTF-8 in your editor"
        raise SettingsError(str(path), problem) from None
