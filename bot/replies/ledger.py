"""The ledger's side of one reply: which pages are to be posted, and which are shown.

Invariant: the ledger follows the screen. While the database is slow or fails that is made up for
later, by the same steps: a page is found again without them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from bot.common.retry import retry_while_unavailable
from bot.domain.replies import Shown
from bot.domain.turns import Fence, PageRecord
from bot.ports.clock import Clock

GRACE = 0.05
"""Seconds that the screen waits for a commit, a few times what one takes: a slower one is made up
for, and does not hold the next words."""


class Ledger(Protocol):
    """The part of the store that a reply writes."""

    async def intend(self, fence: Fence, page: int) -> None:
        """A page is about to be posted."""
        ...

    async def shown(self, fence: Fence, page: int, *, channel: str, message_id: str) -> None:
        """A page was posted, or found again."""
        ...

    async def removed(self, fence: Fence, page: int) -> None:
        """A page was removed."""
        ...


class LedgerWriter:
    """Keeps it; `shown` gives what is on the screen at that moment."""

    def __init__(
        self, *, ledger: Ledger, fence: Fence, clock: Clock, shown: Callable[[], Shown]
    ) -> None:
        self._ledger, self._fence, self._clock, self._shown = ledger, fence, clock, shown
        self._recorded: dict[int, tuple[str, str]] = {}
        self._intended: set[int] = set()
        self._removed = False  # whether pages that are not shown may leave the ledger …
        self._tidying = False  # … and those that were only to be posted
        self._writing: asyncio.Task[None] | None = None  # while the database is slow, or fails

    def load(self, pages: Sequence[PageRecord]) -> None:
        """What earlier attempts have written."""
        self._intended.update(page.number for page in pages)
        for page in pages:
            if page.message_id is not None:
                self._recorded[page.number] = (page.channel, page.message_id)

    async def intend(self, page: int, *, again: bool = False) -> None:
        """Put a page into the ledger before it is posted; nothing if it is there.

        `again` before its message is removed: no message of the ledger's is removed by ourselves,
        so that one that is was removed by people.
        """
        if again:
            await self.written()  # what is still being written could name its message afterwards
        if again or page not in self._intended:
            await retry_while_unavailable(
                lambda: self._ledger.intend(self._fence, page), self._clock.sleep
            )
            self._intended.add(page)

    async def record(self, *, removed: bool) -> None:
        """Bring the ledger to what is shown; pages that were not found stay, until `removed`.

        It returns after `GRACE` at the latest; what is not written then is written meanwhile.
        """
        self._removed = self._removed or removed
        if self._writing is not None:
            if not self._writing.done():
                return
            self._writing.result()
        if self._changes():
            await self._start_writing()

    async def _start_writing(self) -> None:
        tried = asyncio.Event()

        async def write() -> None:
            try:
                await self._write()
            finally:
                tried.set()

        writing = asyncio.create_task(
            retry_while_unavailable(write, self._clock.sleep), name="ledger"
        )
        writing.add_done_callback(_noticed)
        self._writing = writing
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await tried.wait()
        if writing.done():
            writing.result()

    async def tidy(self) -> None:
        """At the end: what was to be posted and is not there leaves the ledger."""
        self._tidying = True
        try:
            await self.record(removed=True)
            await self.written()
        finally:
            self._tidying = False

    async def written(self) -> None:
        """Wait until the ledger says what is shown. Raises LostOwnership."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    @property
    def writing(self) -> asyncio.Task[None] | None:
        """What makes up for a database that failed."""
        return self._writing

    async def _write(self) -> None:
        while changes := self._changes():
            for number, place in changes.items():
                if place is None:
                    await self._ledger.removed(self._fence, number)
                    self._recorded.pop(number, None)
                    self._intended.discard(number)
                else:
                    channel, message_id = place
                    await self._ledger.shown(
                        self._fence, number, channel=channel, message_id=message_id
                    )
                    self._recorded[number] = place

    def _changes(self) -> dict[int, tuple[str, str] | None]:
        """What the ledger does not know yet; None for a page that is gone."""
        there = {page.number: (page.channel, page.message_id) for page in self._shown().pages}
        new = {n: place for n, place in there.items() if self._recorded.get(n) != place}
        known = self._recorded.keys() | (self._intended if self._tidying else set())
        gone = known - there.keys() if self._removed else ()
        return {**new, **dict.fromkeys(gone)}


def _noticed(task: asyncio.Task[Any]) -> None:
    """Whoever records next learns of the error; when nobody does, it is no news."""
    if not task.cancelled():
        task.exception()
