"""Makes Ctrl-C stop the reply that is being written instead of the program."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any


@contextlib.contextmanager
def stop_on_interrupt(stop: Callable[[], Coroutine[Any, Any, object]]) -> Iterator[None]:
    """Make Ctrl-C run `stop` while the context lasts.

    Install it for each line, because prompt_toolkit sets another handler to read a line and
    afterwards removes any handler.
    """
    loop, stops = asyncio.get_running_loop(), set[asyncio.Task[object]]()

    def stop_reply() -> None:
        task = asyncio.ensure_future(stop())
        stops.add(task)
        task.add_done_callback(stops.discard)

    loop.add_signal_handler(signal.SIGINT, stop_reply)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
