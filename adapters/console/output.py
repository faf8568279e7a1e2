"""The stream of replies, whose reader may end first, as in `threadline chat … | head`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TextIO

from bot.domain import terminal_texts
from bot.domain.errors import AnswerFailed


class ReplyOutput:
    """A text stream that records in `text` what it writes.

    After the first failure to write it writes nothing, so that a reply can end as usual; `failed`
    is set, and `require` raises the failure.
    """

    def __init__(self, out: TextIO) -> None:
        self._out, self.text = out, ""
        self._error: OSError | None = None
        self.failed = asyncio.Event()

    def write(self, text: str) -> None:
        """Write the text."""
        self.text += text
        if self._error is None:
            self._attempt(lambda: self._out.write(text))

    def flush(self) -> None:
        """Pass on what was written."""
        if self._error is None:
            self._attempt(self._out.flush)

    def isatty(self) -> bool:
        """Whether a person reads this at a terminal."""
        return self._out.isatty()

    def require(self) -> None:
        """Raise BrokenPipeError if the reader has ended, AnswerFailed if writing failed."""
        if isinstance(self._error, BrokenPipeError):
            raise self._error
        if self._error is not None:
            raise AnswerFailed(terminal_texts.answer_unwritten(self._error.strerror))

    def _attempt(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            self._error = error
            self.failed.set()
