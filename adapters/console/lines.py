"""Reads lines from the keyboard, with editing and history, or everything from a pipe."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TextIO

from adapters.console.attachments import ATTACH, DETACH, Attachments, NotAttached, from_input
from bot.domain import terminal_texts

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer


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


class QuestionAboutInput:
    """A question from the command line; the piped input goes into `attachments` as its file."""

    def __init__(
        self, question: str, *, attachments: Attachments, source: BinaryIO | None = None
    ) -> None:
        self._question, self._attachments = question, attachments
        self._source = source or sys.stdin.buffer

    async def __aiter__(self) -> AsyncIterator[str]:
        """The question, once. Raises NotAttached if the input is too large."""
        most = self._attachments.limits.file_bytes
        data = await asyncio.to_thread(self._source.read, most + 1)
        if len(data) > most:
            raise NotAttached(terminal_texts.input_too_large(most))
        if data:
            self._attachments.put_back([from_input(data)])
        yield self._question


class KeyboardLines:
    """A prompt with line editing, completion of `words`, and a history in the file `history`."""

    def __init__(self, *, history: Path, words: tuple[str, ...]) -> None:
        self._history, self._words = history, words

    async def __aiter__(self) -> AsyncIterator[str]:
        """Lines until Ctrl-D, or Ctrl-C on an empty line."""
        from prompt_toolkit import PromptSession  # takes 0.2 s, which a pipe need not spend
        from prompt_toolkit.history import FileHistory

        make_private(self._history)
        session: PromptSession[str] = PromptSession(
            history=FileHistory(str(self._history)),
            completer=make_completer(self._words),
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


def make_completer(words: tuple[str, ...]) -> Completer:
    """Completes the first word to one of `words`, and paths after `/attach`."""
    from prompt_toolkit.completion import Completer, PathCompleter, WordCompleter
    from prompt_toolkit.completion.base import CompleteEvent, Completion
    from prompt_toolkit.document import Document

    commands = WordCompleter([*words, ATTACH, DETACH], sentence=True)
    paths = PathCompleter(expanduser=True)

    class LineCompleter(Completer):
        def get_completions(
            self, document: Document, complete_event: CompleteEvent
        ) -> Iterator[Completion]:
            before = document.text_before_cursor
            word, blank, path = before.lstrip().partition(" ")
            if word != ATTACH or not blank:
                yield from commands.get_completions(document, complete_event)
                return
            begun = path.lstrip().lstrip("\"'")
            yield from paths.get_completions(Document(begun, len(begun)), complete_event)

    return LineCompleter()


def make_private(path: Path) -> None:
    """Make a file that only its owner can read: it contains the person's questions."""
    path.touch(mode=0o600)
    path.chmod(0o600)
