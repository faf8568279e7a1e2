"""Running until a signal: one event for SIGTERM and SIGINT, and draining before the work ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any


async def run_until(
    stop: asyncio.Event,
    work: Coroutine[Any, Any, None],
    *,
    drain: Callable[[], Awaitable[None]],
) -> None:
    """Run `work` until it ends or `stop` is set, then drain and cancel it; re-raises its error.

    `work` still runs while `drain` does: running turns need their platform's connection.
    """
    serving = asyncio.create_task(work, name="serving")
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await drain()
    finally:
        for task in (serving, stopping):
            task.cancel()
        results = await asyncio.gather(serving, stopping, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


@contextlib.contextmanager
def on_signal(number: signal.Signals, handle: Callable[[], None]) -> Iterator[None]:
    """Call `handle` for each such signal, which otherwise would end the process."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


@contextlib.contextmanager
def stop_signals(*numbers: signal.Signals) -> Iterator[asyncio.Event]:
    """An event that the first of these signals sets; a second signal ends the process as usual."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def restore() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)

    def handle() -> None:
        stop.set()
        restore()

    for number in numbers:
        loop.add_signal_handler(number, handle)
    try:
        yield stop
    finally:
        restore()
