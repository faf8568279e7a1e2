"""Colours for code blocks, from a worker process: a hostile block costs its own colours only.

Invariant: a lexer never runs in this process. Pygments' lexers are regular expressions that may
backtrack for hours, which in this process would hold the interpreter: every platform, the page,
and the handling of signals.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from html import escape

from adapters.web import highlight_task
from adapters.web.languages import lexer_names
from bot.sandbox.worker import TaskTooCostly, Worker, WorkerBusy, WorkerFailed, WorkerLimits

MOST_COLOURED = 20_000
"""Characters of a code block that get colours: Pygments reads about a million in a second."""

KEPT_BYTES = 8 * 1024 * 1024
"""Colours that are remembered: a growing reply is rendered many times, a page by every tab."""

REST_SECONDS = 10.0
"""How long no block is coloured with a lexer after one that was too costly for it."""

LIMITS = WorkerLimits(cpu_seconds=0.5, seconds=5.0, output_bytes=4 * 1024 * 1024)
"""20,000 characters take 0.05 s; the longest output is about 60 bytes for each of them."""

Colour = Callable[[str, str], str]
"""From code and the word behind its fence to HTML."""


def plain(code: str, _language: str) -> str:
    """The code without colours."""
    return escape(code)


class Highlighter:
    """Colours code with the lexers of `languages`, else leaves it plain; on any thread.

    `colour` blocks while the worker works: call it from a thread, never on the loop.
    """

    def __init__(
        self,
        *,
        limits: WorkerLimits = LIMITS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker = Worker(f"{highlight_task.__name__}:{highlight_task.colour.__name__}", limits)
        self._monotonic = monotonic
        self._resting: dict[str, float] = {}  # by lexer, until when
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._kept = 0
        self._lock = threading.Lock()

    def colour(self, code: str, language: str) -> str:
        """The code as HTML, with colours where its language is listed and the worker allows it."""
        lexer = lexer_names().get(language.lower())
        if lexer is None or len(code) > MOST_COLOURED or not code.strip():
            return escape(code)
        key = _digest(lexer, code)
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return known
        try:
            html = self._coloured(code, lexer)
        except WorkerBusy:
            return escape(code)  # not remembered: another time it may be free
        self._keep(key, html)
        return html

    def close(self) -> None:
        """End the worker: a block that is being coloured stays plain."""
        self._worker.close()

    def _coloured(self, code: str, lexer: str) -> str:
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

    def _keep(self, key: bytes, html: str) -> None:
        with self._lock:
            self._kept += len(html) - len(self._known.pop(key, ""))
            self._known[key] = html
            while self._kept > KEPT_BYTES and len(self._known) > 1:
                self._kept -= len(self._known.popitem(last=False)[1])


def _digest(lexer: str, code: str) -> bytes:
    return blake2b(f"{lexer}\0{code}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
