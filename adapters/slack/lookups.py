"""Values that Slack gives by id (a person's name, a channel's kind), remembered for a while.

Callers wait a limited time for what is not there yet; the answer still arrives for the next one.
A value that is old counts as long as no newer one can be had: a name seldom changes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

import structlog

from bot.domain.errors import PlatformError
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

MOST = 5_000  # values kept: about 1 MB
KEPT_SECONDS = 3_600.0  # people seldom change their names
FAILED_SECONDS = 60.0  # what could not be had is not asked for again so long
MOST_UNDER_WAY = 50  # more are not begun: the budget is about 100 a minute
FETCH_SECONDS = 30.0  # a look-up that waits longer for its budget is given up


class Lookups:
    """Looks ids up by `fetch`, which gives a value or raises a PlatformError."""

    def __init__(self, *, fetch: Callable[[str], Awaitable[str]], clock: Clock) -> None:
        self._fetch, self._clock = fetch, clock
        self._known: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def get(self, ids: Iterable[str], within: float) -> dict[str, str]:
        """The values that are known within so many seconds; the others are missing."""
        wanted = tuple(dict.fromkeys(ids))
        tasks = [task for id_ in wanted if (task := self._ask(id_)) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within)
        return {id_: value for id_ in wanted if (value := self._newest(id_))}

    def learn(self, id_: str, value: str, seconds: float = KEPT_SECONDS) -> None:
        """Remember a value; "" is one that could not be had."""
        self._known[id_] = (self._clock.monotonic() + seconds, value)
        self._known.move_to_end(id_)
        while len(self._known) > MOST:
            self._known.popitem(last=False)

    async def aclose(self) -> None:
        """Give up what is under way."""
        tasks = tuple(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _newest(self, id_: str) -> str:
        """The last value that was had, however old."""
        return self._known[id_][1] if id_ in self._known else ""

    def _value(self, id_: str) -> str | None:
        """ "" when it is known that there is none, None when nothing is known."""
        until, value = self._known.get(id_, (0.0, None))
        return value if self._clock.monotonic() < until else None

    def _ask(self, id_: str) -> asyncio.Task[None] | None:
        if self._value(id_) is not None:
            return None
        if id_ not in self._under_way and len(self._under_way) < MOST_UNDER_WAY:
            task = asyncio.create_task(self._look_up(id_))
            self._under_way[id_] = task
            task.add_done_callback(lambda _: self._under_way.pop(id_, None))
        return self._under_way.get(id_)

    async def _look_up(self, id_: str) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                self.learn(id_, await self._fetch(id_))
        except (PlatformError, TimeoutError) as error:
            log.debug("not found out", id=id_, error=repr(error))
            self.learn(id_, self._newest(id_), FAILED_SECONDS)
