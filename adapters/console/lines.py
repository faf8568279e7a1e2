"""Reads lines from the keyboard, with editing and history, or everything from a pipe."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol, TextIO


class LineReader(Protocol):
    """The person's lines until the end of input."""

    def __aiter__(self) -> AsyncIterator[str]:
        """The lines, without line feeds."""
        ...


class PipedLines:
    """The input of a file or pipe as one question, as `echo` and `cat` mean it."""

    def __init__(self, source: TextIO = sys.stdin) -> None:
        self._source = source

    async def __aiter__(self) -> AsyncIterator[str]:
        """The whole input, once."""
        text = await asyncio.to_thread(self._source.read)
        if text.strip():
            yield text


class KeyboardLines:
    """A prompt with line editing, completion of `words`, and a history in the file `history`."""

    def __init__(self, *, history: Path, words: tuple[str, ...]) -> None:
        self._history, self._words = history, words

    async def __aiter__(self) -> AsyncIterator[str]:
        """Lines until Ctrl-D, or Ctrl-C on an empty line."""
        from prompt_toolkit import PromptSession  # takes 0.2 s, which a pipe need not spend
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import FileHistory

        make_private(self._history)
        session: PromptSession[str] = PromptSession(
            history=FileHistory(str(self._history)),
            completer=WordCompleter(list(self._words), sentence=True),
            complete_while_typing=False,
        )
        while True:
            try:
                yield await session.prompt_async("you> ")
            except EOFError:
                return
            except KeyboardInterrupt:
                if not session.default_buffer.text:
                    return


def make_private(path: Path) -> None:
    """Make a file that only its owner can read: it contains the person's questions."""
    path.touch(mode=0o600)
    path.chmod(0o600)
