"""Reads lines from the keyboard, with editing and history, or everything from a pipe."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TextIO

from adapters.console.attachments import ATTACH, DETACH, Attachments, NotAttached, from_input
from bot.domain import model_names, terminal_texts
from bot.domain.model_names import plain

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History

ListWords = Callable[[], Awaitable[Sequence[str]]]
"""Lists the words that may follow a command; may ask a server."""

MAX_COMPLETIONS = 100
"""The most words to offer at a time: more do not fit on a screen."""


class LineReader(Protocol):
    """The person's lines until the end of input."""

    def __aiter__(self) -> AsyncIterator[str]:
        """The lines, without line feeds."""
        ...


class PipedLines:
    """The whole content of a file or pipe as one question, as with `echo` and `cat`."""

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
        """Yield the question once. Raises NotAttached if the input is too large."""
        most = self._attachments.limits.file_bytes
        data = await asyncio.to_thread(self._source.read, most + 1)
        if len(data) > most:
            raise NotAttached(terminal_texts.input_too_large(most))
        if data:
            self._attachments.put_back([from_input(data)])
        yield self._question


class KeyboardLines:
    """A prompt with line editing, completion, and a history in the file `history`.

    `words` complete a line's first word; `arguments` complete the second one, depending on the
    first.
    """

    def __init__(
        self, *, history: Path, words: Sequence[str], arguments: Mapping[str, ListWords]
    ) -> None:
        self._history, self._words, self._arguments = history, words, arguments

    async def __aiter__(self) -> AsyncIterator[str]:
        """Lines until /quit, Ctrl-D, or Ctrl-C on an empty line.

        A confirmed /forget also empties the history, which has the person's questions.
        """
        from prompt_toolkit import PromptSession  # takes 0.2 s, so a pipe does not import it

        session: PromptSession[str] = PromptSession(
            history=self._open_history(),
            completer=make_completer(self._words, self._arguments),
            complete_while_typing=False,
            enable_suspend=True,
        )
        while True:
            try:
                line = await session.prompt_async("you> ")
                if line.strip().lower() in terminal_texts.QUIT:
                    return
                yield line
                if tuple(line.lower().split()) == terminal_texts.FORGET:
                    self._history.unlink(missing_ok=True)
                    session.default_buffer.history = self._open_history()
            except EOFError:
                return
            except KeyboardInterrupt:
                if not session.default_buffer.text:
                    return

    def _open_history(self) -> History:
        from prompt_toolkit.history import FileHistory, InMemoryHistory

        try:
            make_private(self._history)
        except OSError:  # a folder that is read-only, as in our container
            return InMemoryHistory()
        return FileHistory(str(self._history))


def make_completer(words: Sequence[str], arguments: Mapping[str, ListWords]) -> Completer:
    """Completes the first word to one of `words`, paths after `/attach`, and `arguments`."""
    from prompt_toolkit.completion import Completer, PathCompleter, WordCompleter
    from prompt_toolkit.completion.base import CompleteEvent, Completion
    from prompt_toolkit.document import Document

    commands = WordCompleter([*words, ATTACH, DETACH, *terminal_texts.QUIT[:1]], sentence=True)
    paths = PathCompleter(expanduser=True)

    class LineCompleter(Completer):
        def get_completions(
            self, document: Document, complete_event: CompleteEvent
        ) -> Iterator[Completion]:
            word, blank, path = _split(document)
            if word != ATTACH or not blank:
                yield from commands.get_completions(document, complete_event)
                return
            begun = path.lstrip("\"'")
            yield from paths.get_completions(Document(begun, len(begun)), complete_event)

        async def get_completions_async(
            self, document: Document, complete_event: CompleteEvent
        ) -> AsyncGenerator[Completion, None]:
            word, blank, begun = _split(document)
            if word in arguments and blank:
                for found in model_names.search(begun, await arguments[word]())[:MAX_COMPLETIONS]:
                    yield Completion(found, start_position=-len(begun), display=plain(found))
                return
            for completion in self.get_completions(document, complete_event):
                yield completion

    return LineCompleter()


def _split(document: Document) -> tuple[str, str, str]:
    """A line's first word, the blank after it, and the rest, all before the cursor."""
    word, blank, rest = document.text_before_cursor.lstrip().partition(" ")
    return word, blank, rest.lstrip()


def make_private(path: Path) -> None:
    """Create a file that only its owner can read, because it contains the person's questions."""
    path.touch(mode=0o600)
    path.chmod(0o600)
