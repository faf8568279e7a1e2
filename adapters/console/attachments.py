"""Files in the terminal: `/attach PATH`, and a pipe next to a question.

Invariant: a file is read once, when it is attached, and never beyond the size that the settings
allow.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import shlex
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bot.domain import terminal_texts
from bot.domain.attachments import IncomingAttachment
from bot.domain.errors import ThreadlineError
from bot.domain.names import file_name

ATTACH, DETACH = "/attach", "/detach"


@dataclass(frozen=True, slots=True)
class FileLimits:
    """The most files per message, and the most bytes per file."""

    files: int = 10
    file_bytes: int = 20_000_000


class NotAttached(ThreadlineError):
    """A file cannot be attached. The message is one sentence that explains why."""


class Attachments:
    """The files to send with the next message."""

    def __init__(self, limits: FileLimits | None = None) -> None:
        self.limits = limits or FileLimits()
        self._files: list[IncomingAttachment] = []

    async def execute(self, line: str) -> str | None:
        """Execute `/attach` or `/detach` and return the answer; None for any other line."""
        word, _, argument = line.strip().partition(" ")
        if word == ATTACH:
            return await self._attach(argument.strip())
        return self._detach(argument.strip()) if word == DETACH else None

    def take(self) -> tuple[IncomingAttachment, ...]:
        """Detach all files and return them."""
        taken, self._files = tuple(self._files), []
        return taken

    def put_back(self, files: Iterable[IncomingAttachment]) -> None:
        """Attach files again, because their message was not sent."""
        self._files[:0] = files

    async def _attach(self, argument: str) -> str:
        problems: list[str] = []
        for path in _paths(argument):
            try:
                await self._add(path)
            except NotAttached as problem:
                problems.append(str(problem))
        return "\n".join([*dict.fromkeys(problems), *self._listed(bool(problems))])

    async def _add(self, path: Path) -> None:
        if not self.limits.files or not self.limits.file_bytes:
            raise NotAttached(terminal_texts.NO_FILES)
        if len(self._files) >= self.limits.files:
            raise NotAttached(terminal_texts.too_many(self.limits.files))
        self._files.append(await asyncio.to_thread(_read, path, self.limits.file_bytes))

    def _listed(self, after_problem: bool) -> list[str]:
        if self._files:
            return [terminal_texts.attached([(one.name, one.size or 0) for one in self._files])]
        return [] if after_problem else [terminal_texts.NOTHING_ATTACHED]

    def _detach(self, argument: str) -> str:
        if not argument:
            self._files.clear()
            return terminal_texts.ALL_DETACHED
        for path in _paths(argument):
            found = next((one for one in self._files if one.name == path.name), None)
            if found is None:
                return terminal_texts.not_attached(path.name)
            self._files.remove(found)
        return "\n".join(self._listed(after_problem=False))


def _paths(argument: str) -> list[Path]:
    """The paths in a line: with quotes and `~` as in a shell, or one path that contains blanks."""
    if not argument:
        return []
    whole = _expanded(argument)
    try:
        words = shlex.split(argument)
    except ValueError:  # a quotation mark in a name
        return [whole]
    return [whole] if len(words) > 1 and whole.exists() else [_expanded(word) for word in words]


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # there is no such user
        return Path(path)


def _read(path: Path, most: int) -> IncomingAttachment:
    """Read the file at `path`. Raises NotAttached."""
    try:
        # Otherwise, opening a pipe without a writer would block.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotAttached(terminal_texts.not_a_file(str(path)))
            data = file.read(most + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotAttached(terminal_texts.no_such_file(str(path))) from error
    except IsADirectoryError as error:
        raise NotAttached(terminal_texts.not_a_file(str(path))) from error
    except (OSError, ValueError) as error:
        raise NotAttached(terminal_texts.not_readable(str(path))) from error
    if len(data) > most:
        raise NotAttached(terminal_texts.too_large(path.name, most))
    return attachment(path.name, data)


def attachment(name: str, data: bytes) -> IncomingAttachment:
    """Create an attachment from these bytes; the name determines its type."""
    kind = mimetypes.guess_type(name)[0] or ""
    return IncomingAttachment(name=file_name(name), media_type=kind, size=len(data), data=data)


# ── standard input ────────────────────────────────────────────────────────────────────────────
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"%PDF-", "pdf"),
    (b"PK\x03\x04", "zip"),
    (b"\x1f\x8b", "gz"),
    (b"OggS", "ogg"),
    (b"ID3", "mp3"),
)


def from_input(data: bytes) -> IncomingAttachment:
    """Turn standard input into a file named after its content."""
    return attachment(f"stdin.{_ending(data)}", data)


def _ending(data: bytes) -> str:
    for signature, ending in _SIGNATURES:
        if data.startswith(signature):
            return ending
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    return "bin" if b"\0" in data[:4_096] else "txt"
