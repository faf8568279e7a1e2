"""Highlights code blocks in a worker process: a hostile block loses only its colors.

Invariant: no lexer runs in this process. Pygments' lexers are regular expressions that may
backtrack for hours, which would block the interpreter: every platform, the page and signal
handling.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from html import escape

from cachetools import LRUCache

from adapters.web import highlight_task
from adapters.web.languages import lexer_names
from bot.sandbox.worker import TaskTooCostly, Worker, WorkerBusy, WorkerFailed, WorkerLimits

MOST_HIGHLIGHTED = 20_000
"""The most characters of a code block to highlight: Pygments reads about a million a second."""

KEPT_BYTES = 8 * 1024 * 1024
"""The size of the result cache: a growing reply is rendered many times, and a page in every tab."""

REST_SECONDS = 10.0
"""Seconds to avoid a lexer after a block took it too long."""

LIMITS = WorkerLimits(cpu_seconds=0.5, seconds=5.0, output_bytes=4 * 1024 * 1024)
"""20,000 characters take 0.05 s; the longest output is about 60 bytes per character."""

Highlight = Callable[[str, str], str]
"""Turns code and the word after its fence into HTML."""


def plain(code: str, _language: str) -> str:
    """The code without colors."""
    return escape(code)


class Highlighter:
    """Highlights code with the lexers of `languages`, or leaves it plain; callable from any
    thread.

    `highlight` blocks while the worker runs: call it on a thread, never in the event loop.
    """

    def __init__(
        self,
        *,
        limits: WorkerLimits = LIMITS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker = Worker(f"{highlight_task.__name__}:{highlight_task.run.__name__}", limits)
        self._monotonic = monotonic
        self._resting: dict[str, float] = {}  # by lexer: the time until which it is not used
        self._known: LRUCache[bytes, str] = LRUCache(KEPT_BYTES, getsizeof=len)
        self._lock = threading.Lock()

    def highlight(self, code: str, language: str) -> str:
        """The code as HTML, with colors if its language is listed and the worker finishes in
        time."""
        lexer = lexer_names().get(language.lower())
        if lexer is None or len(code) > MOST_HIGHLIGHTED or not code.strip():
            return escape(code)
        key = _digest(lexer, code)
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return known
        try:
            html = self._run(code, lexer)
        except WorkerBusy:
            return escape(code)  # not cached: the worker may be free next time
        with self._lock, contextlib.suppress(ValueError):  # too long to keep
            self._known[key] = html
        return html

    def close(self) -> None:
        """Stop the worker; a block that is still being highlighted stays plain."""
        self._worker.close()

    def _run(self, code: str, lexer: str) -> str:
        now = self._monotonic()
        if self._resting.get(lexer, now) > now:
            return escape(code)
        task = json.dumps({"lexer": lexer, "code": code}).encode()
        try:
            return self._worker.run(task).decode("utf-8", "surrogatepass")
        except TaskTooCostly:
            self._resting[lexer] = self._monotonic() + REST_SECONDS
        except WorkerBusy:
            raise
        except WorkerFailed:
            pass
        return escape(code)


def _digest(lexer: str, code: str) -> bytes:
    return blake2b(f"{lexer}\0{code}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
