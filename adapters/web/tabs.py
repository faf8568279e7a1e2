"""The events of one open tab, as a stream that resumes where it was.

Invariant: rendering never holds the loop, and rarely takes over a tenth of a tab's time: a long
reply is shown less often, and always in its newest state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from adapters.web.html_pool import Rendering
from adapters.web.hub import Event, Hub

UPDATE_SECONDS = 0.05
"""A page is told at most so often: 20 times a second reads as a steady flow."""

PAUSES, LONGEST_PAUSE = 10, 0.5
"""After an update the tab waits so many times as long as rendering it took of a core, or so many
seconds: whoever reads along does not notice, and the end of a reply is not late."""

KEEP_ALIVE_SECONDS = 15.0
"""Proxies close what is silent for a minute, some after 30 s."""


async def tab_events(
    hub: Hub, user: str, last: str | None, rendering: Rendering
) -> AsyncIterator[bytes]:
    """What happens to `user` from now on, or after the event with the id `last`."""
    feed, number = hub.feed(user), _number(hub, last)
    newer = feed.since(number) if number is not None else None
    if newer is None:
        # A name of its own for those who come for the first time: they have just read all.
        name, newer, number = ("ready" if last is None else "refresh"), [], feed.number
        yield f"id: {hub.epoch}-{number}\nevent: {name}\ndata: {{}}\n\n".encode()
    woken = asyncio.Event()
    feed.readers.add(woken)
    try:
        while not hub.closing:
            woken.clear()
            newer = feed.since(number or 0)
            if newer is None:  # more came than is kept: the reader was too slow
                number = feed.number
                yield f"id: {hub.epoch}-{number}\nevent: refresh\ndata: {{}}\n\n".encode()
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
    """The events as they are sent, and how many seconds of a core that took."""
    began = time.thread_time()
    data = b"".join(event.encoded(epoch) for event in events)
    return data, time.thread_time() - began


async def _quiet(woken: asyncio.Event) -> bytes:
    """Wait for something new; a comment when nothing comes for a while."""
    try:
        async with asyncio.timeout(KEEP_ALIVE_SECONDS):
            await woken.wait()
    except TimeoutError:
        return b": still here\n\n"
    return b""


def _number(hub: Hub, event_id: str | None) -> int | None:
    """The number in an event's id, if it is of this process."""
    epoch, _, number = (event_id or "").rpartition("-")
    return int(number) if epoch == hub.epoch and number.isdecimal() and number.isascii() else None
