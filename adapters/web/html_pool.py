"""Where HTML is made: threads of its own, and the highlighter's worker.

Invariant: rendering never occupies the loop's default pool, which also resolves host names for the
platforms and the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from fastapi import HTTPException

from adapters.web.highlighter import Highlighter

THREADS = 2
"""One text that takes long leaves the other thread to everybody else."""

STOPPING = "Threadline is stopping: ask again in a moment."

P = ParamSpec("P")
T = TypeVar("T")


class Rendering:
    """Runs what renders. `colour` colours code, and is for these threads only."""

    def __init__(self, highlighter: Highlighter | None = None) -> None:
        self._highlighter = highlighter or Highlighter()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="rendering")
        self._closed = False
        self.colour = self._highlighter.colour

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` on a rendering thread. Raises 503 while the server stops."""
        if self._closed:
            raise HTTPException(503, STOPPING, headers={"Retry-After": "1"})
        call = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """End the threads and the worker; what is being coloured stays plain."""
        self._closed = True
        self._highlighter.close()
        self._threads.shutdown(wait=False)
