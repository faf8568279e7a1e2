"""Reads the files of system prompts that `threadline.toml` names.

A file contains plain text, or a conversation template (`bot.domain.templates`): its system messages
become the prompt, and its other messages open each conversation.
"""

from __future__ import annotations

from pathlib import Path

from bot.config import text_file
from bot.domain.errors import SettingsError
from bot.domain.prompts import check_prompt

MAX_CHARACTERS = 100_000
"""About 25,000 tokens, which every request would pay for; a larger file is probably the wrong
one."""


class PromptFiles:
    """The prompts by path; each file is read once. Paths are relative to `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._texts: dict[str, str | SettingsError] = {}

    def path(self, written: str) -> Path:
        """The file at the path as written in the configuration."""
        return self._folder / Path(written).expanduser()

    def read(self, written: str) -> str:
        """Read the prompt in a file. Raises SettingsError with a sentence about the file."""
        if written not in self._texts:
            try:
                self._texts[written] = _read(self.path(written))
            except SettingsError as error:
                self._texts[written] = error
        found = self._texts[written]
        if isinstance(found, SettingsError):
            raise found
        return found


def _read(path: Path) -> str:
    text = text_file.read(path)
    if text is None:
        raise SettingsError(
            str(path), "there is no such file (a prompt is the name of a file with the text)"
        )
    if len(text) > MAX_CHARACTERS:
        problem = f"the file has more than {MAX_CHARACTERS:,} characters: is this the right file?"
        raise SettingsError(str(path), problem)
    text = text.strip()
    if not text:
        raise SettingsError(str(path), "the file is empty")
    if problem := check_prompt(text):
        raise SettingsError(str(path), problem)
    return text
