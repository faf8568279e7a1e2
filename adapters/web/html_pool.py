"""Renders HTML on its own threads, with the highlighter's worker process.

Invariant: rendering never occupies the event loop's default pool, which also resolves host
names for the platforms and the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from fastapi import HTTPException

from adapters.web.highlighter import Highlighter
from bot.domain import http_texts

THREADS = 2
"""Two threads: one slow text leaves the other thread free."""

P = ParamSpec("P")
T = TypeVar("T")


class HtmlPool:
    """Runs rendering functions. `highlight` highlights code; call it on these threads only."""

    def __init__(self, highlighter: Highlighter | None = None) -> None:
        self._highlighter = highlighter or Highlighter()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="rendering")
        self._closed = False
        self.highlight = self._highlighter.highlight

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` on a rendering thread. Raises HTTPException 503 while stopping."""
        if self._closed:
            raise HTTPException(503, http_texts.STOPPING, headers={"Retry-After": "1"})
        call = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """Stop the threads and the worker; code still in work stays plain."""
        self._closed = True
        self._highlighter.close()
        self._threads.shutdown(wait=False)
