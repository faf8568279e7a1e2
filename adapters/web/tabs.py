"""The event stream of one open tab, which resumes where the connection was lost.

Invariant: rendering never blocks the event loop. A reader that is slow, or a reply that is
expensive, gets fewer updates, always of the newest state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

from fastapi.sse import format_sse_event

from adapters.web.auth import StillAllowed
from adapters.web.event_encoder import EventEncoder
from adapters.web.html_pool import HtmlPool
from adapters.web.hub import Event, Hub

UPDATE_SECONDS = 0.05
"""Seconds between updates of a page: 20 a second look like a steady flow."""

PAUSES, LONGEST_PAUSE = 3, 0.5
"""The pause after an update, as a multiple of the CPU time for it, and the longest pause in
seconds. Readers do not notice such a pause."""

KEEP_ALIVE_SECONDS = 15.0
"""Seconds between comments on an idle stream: some proxies close connections that are silent
for 30 s."""


async def tab_events(
    hub: Hub,
    user: str,
    last: str | None,
    html_pool: HtmlPool,
    protocol: int,
    still_allowed: StillAllowed,
) -> AsyncIterator[bytes]:
    """Yields the events of `user` from now on, or after the event with id `last`.

    `protocol` is the reader's; see `EventEncoder`. Ends when the reader is not `still_allowed`.
    """
    feed, number = hub.feed(user), _number(hub, last)
    encoder = EventEncoder(hub.epoch, protocol)
    newer = feed.since(number) if number is not None else None
    if newer is None:
        # A new client gets `ready`: it has just read everything.
        name, newer, number = ("ready" if last is None else "refresh"), [], feed.number
        yield format_sse_event(data_str="{}", event=name, id=f"{hub.epoch}-{number}")
    allowed = _Recheck(still_allowed)
    with _listening(hub, user) as woken:
        while not hub.closing:
            woken.clear()
            if not await allowed():
                return
            newer = feed.since(number or 0)
            if newer is None:  # the reader was too slow; the feed dropped events
                number = feed.number
                yield format_sse_event(data_str="{}", event="refresh", id=f"{hub.epoch}-{number}")
            elif newer:
                data, number, pause = await html_pool.run(_encode, encoder, newer, number or 0)
                if data:
                    yield data
                await asyncio.sleep(max(UPDATE_SECONDS, pause))
            else:
                yield await _quiet(woken)


@contextmanager
def _listening(hub: Hub, user: str) -> Iterator[asyncio.Event]:
    """The event that is set whenever `user` has news; tells the hub about a user's first reader."""
    feed, woken = hub.feed(user), asyncio.Event()
    is_first = not feed.readers
    feed.readers.add(woken)
    if is_first:
        hub.on_reader(0, user)
    try:
        yield woken
    finally:
        feed.readers.discard(woken)


class _Recheck:
    """Asks from time to time whether the reader is still allowed to read."""

    def __init__(self, still_allowed: StillAllowed) -> None:
        self._still_allowed, self._checked = still_allowed, time.monotonic()

    async def __call__(self) -> bool:
        now = time.monotonic()
        if now - self._checked < KEEP_ALIVE_SECONDS:
            return True
        self._checked = now
        return await self._still_allowed()


def _encode(encoder: EventEncoder, events: Sequence[Event], since: int) -> tuple[bytes, int, float]:
    """As `EventEncoder.encode`; the pause is also at least in proportion to the CPU time."""
    began = time.thread_time()
    data, number, rest = encoder.encode(events, since)
    took = time.thread_time() - began
    return data, number, max(rest, min(PAUSES * took, LONGEST_PAUSE))


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
