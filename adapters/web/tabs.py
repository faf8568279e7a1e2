"""The event stream of one open tab, which resumes where the connection was lost.

Invariant: rendering never blocks the event loop and rarely takes over a tenth of a tab's time.
A long reply updates less often, always with its newest state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from fastapi.sse import format_sse_event

from adapters.web.html_pool import HtmlPool
from adapters.web.hub import Event, Hub

UPDATE_SECONDS = 0.05
"""Seconds between updates of a page: 20 a second look like a steady flow."""

PAUSES, LONGEST_PAUSE = 10, 0.5
"""The pause after an update: this multiple of its rendering time, up to the longest pause in
seconds. Readers do not notice it, and the end of a reply is not late."""

KEEP_ALIVE_SECONDS = 15.0
"""Seconds: some proxies close connections that are silent for 30 s."""


async def tab_events(
    hub: Hub, user: str, last: str | None, rendering: HtmlPool
) -> AsyncIterator[bytes]:
    """Yields the events of `user` from now on, or after the event with id `last`."""
    feed, number = hub.feed(user), _number(hub, last)
    newer = feed.since(number) if number is not None else None
    if newer is None:
        # A new client gets `ready`: it has just read everything.
        name, newer, number = ("ready" if last is None else "refresh"), [], feed.number
        yield format_sse_event(data_str="{}", event=name, id=f"{hub.epoch}-{number}")
    woken = asyncio.Event()
    feed.readers.add(woken)
    try:
        while not hub.closing:
            woken.clear()
            newer = feed.since(number or 0)
            if newer is None:  # the reader was too slow; the feed dropped events
                number = feed.number
                yield format_sse_event(data_str="{}", event="refresh", id=f"{hub.epoch}-{number}")
            elif newer:
                number = newer[-1].number
                data, took = await rendering.run(_encoded, newer, hub.epoch)
                yield data
                await asyncio.sleep(min(max(UPDATE_SECONDS, PAUSES * took), LONGEST_PAUSE))
            else:
                yield await _quiet(woken)
    finally:
        feed.readers.discard(woken)


def _encoded(events: Sequence[Event], epoch: str) -> tuple[bytes, float]:
    """The encoded events, and the CPU seconds that took."""
    began = time.thread_time()
    data = b"".join(event.encoded(epoch) for event in events)
    return data, time.thread_time() - began


async def _quiet(woken: asyncio.Event) -> bytes:
    """Wait for an event; return a comment if there is none for a while."""
    try:
        async with asyncio.timeout(KEEP_ALIVE_SECONDS):
            await woken.wait()
    except TimeoutError:
        return b": still here\n\n"
    return b""


def _number(hub: Hub, event_id: str | None) -> int | None:
    """The number in an event id of this process, else None."""
    epoch, _, number = (event_id or "").rpartition("-")
    return int(number) if epoch == hub.epoch and number.isdecimal() and number.isascii() else None
