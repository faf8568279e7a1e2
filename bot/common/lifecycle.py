"""Runs until a signal: one event for SIGTERM and SIGINT, and draining before the work ends."""

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
    """Run `work` until it ends or `stop` is set, then drain and cancel it. Re-raises its error.

    `work` keeps running during `drain`, because running turns need their platform's connection.
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
    """Call `handle` for each such signal instead of ending the process."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


@contextlib.contextmanager
def stop_signals(*numbers: signal.Signals) -> Iterator[asyncio.Event]:
    """Yield an event that the first of these signals sets; on a second one, the kernel ends the
    process.

    Python's own SIGINT handler would raise KeyboardInterrupt, which is lost if raised in a
    destructor, and then wait for tasks.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    before = {number: signal.getsignal(number) for number in numbers}

    def handle() -> None:
        stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in numbers:
        loop.add_signal_handler(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
