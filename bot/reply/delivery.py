"""Carrying out the requests of one reply, with the ledger and every kind of failure.

Invariant: one request in flight; none is ever cancelled while the reply lives; a page is in the
ledger before it is posted, and a post of unknown outcome is looked for before it is made again.
While the database fails, what is on the screen goes on growing; a new page waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog

from bot.domain import Fence, PageRecord
from bot.errors import PlatformError, StoreUnavailable, Throttled, Unsettled
from bot.frames import Action, Request, Shown
from bot.persistence import PAUSES, until_stored
from bot.ports import Clock, Surface
from bot.reply.plan import carried_out, forgotten

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

LANDED = 2.0
"""Seconds for which something may still be on its way that a process sent before it died: what an
earlier attempt was about to post is looked for once more after them. A slow platform takes about
that long, and to be started again takes a while itself."""


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


async def done_within(clock: Clock, seconds: float, task: asyncio.Task[Any]) -> bool:
    """Wait for `task`, at most `seconds`, and never cancel it; whether it is done."""
    timer = asyncio.create_task(clock.sleep(seconds))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
    return task.done()


async def _all_done(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)


def _noticed(task: asyncio.Task[None]) -> None:
    """Whoever records next learns of the error; when nobody does, it is no news."""
    if not task.cancelled():
        task.exception()


class Delivery:
    """What is shown of one reply, and the way there.

    `limit` is how long a request may take, in seconds, before it is abandoned; `patience` how
    long, in seconds, a platform may fail without one success between.
    """

    def __init__(
        self,
        *,
        surface: Surface,
        ledger: Ledger,
        fence: Fence,
        clock: Clock,
        changed: Callable[[], None],
        limit: float,
        patience: float,
    ) -> None:
        self.shown = Shown()
        self._surface, self._ledger, self._fence, self._clock = surface, ledger, fence, clock
        self._changed = changed
        self._limit, self._patience = limit, patience
        self._recorded: dict[int, tuple[str, str]] = {}
        self._intended: set[int] = set()
        self._doubtful: set[int] = set()  # pages whose post may or may not have been carried out
        self._landed = 0.0  # from then on nothing of an earlier attempt's comes any more
        self._tasks: set[asyncio.Task[Any]] = set()
        self._removed = False  # whether pages that are not shown may leave the ledger
        self._recording: asyncio.Task[None] | None = None  # while the database fails
        self._failures = 0
        self._failing_since = 0.0

    async def open(self) -> None:
        """Make the reply's place. Raises Gone or Refused; what passes is tried again."""
        await self._persistently(self._surface.open)

    async def recover(self, pages: Sequence[PageRecord]) -> None:
        """Find what earlier attempts left; their pages count as shown with unknown text."""
        self._intended.update(page.number for page in pages)
        for page in pages:
            if page.message_id is not None:
                self._recorded[page.number] = (page.channel, page.message_id)
        found: Shown = await self._persistently(lambda: self._surface.recover(pages))
        self.shown = found
        missing = {page.number for page in pages} - {page.number for page in found.pages}
        self._doubtful |= missing - self._recorded.keys()
        self._landed = self._clock.monotonic() + LANDED
        await self._record(removed=False)

    async def intend(self, page: int) -> None:
        """Put a page into the ledger before it is posted; nothing if it is there."""
        if page not in self._intended:
            await until_stored(lambda: self._ledger.intend(self._fence, page), self._clock.sleep)
            self._intended.add(page)

    async def carry_out(self, request: Request) -> None:
        """Send one granted request; afterwards `shown` is what is known to be on the screen.

        Raises Gone, Refused and LostOwnership, and Unsettled when patience is at its end. A 429
        is told to the pacer.
        """
        if request.action.posts:
            await self.intend(request.page)
            if request.page in self._doubtful and await self._found(request.page):
                return
        elif request.action is Action.REMOVE:
            # No message of the ledger's is removed by ourselves: one of it was removed by people.
            intend = partial(self._ledger.intend, self._fence, request.page)
            await until_stored(intend, self._clock.sleep)
        try:
            self.shown = await self._sent(request)
        except Throttled as error:
            log.warning("the platform throttles", retry_after=error.retry_after)
            scopes = error.scopes or request.scopes
            self._surface.grants.throttled(error.retry_after, *scopes)
        except Unsettled as error:
            if request.action is not Action.REMOVE:  # there or not, it is to be removed again
                self._doubt(request.page)
            await self._failed(error)
        else:
            self._failures = 0
            await self._record(removed=True)

    async def quiet(self) -> None:
        """Wait, within the limit, until no abandoned request can change the screen any more."""
        await self._all_done_within(self._limit)

    async def close(self, seconds: float) -> None:
        """Let what is in flight end, then clear every sign of work, each within `seconds`."""
        try:
            await self._all_done_within(seconds)
        finally:
            try:
                await self._close_surface(seconds)
            finally:
                if self._recording is not None:
                    self._tasks.add(self._recording)
                for task in self._tasks:
                    task.cancel()
                await self._all_done_within(seconds)

    async def _close_surface(self, seconds: float) -> None:
        closing = self._start(self._surface.close())
        if not await done_within(self._clock, seconds, closing):
            log.warning("closing the reply's surface took too long")
        elif not closing.cancelled() and (error := closing.exception()) is not None:
            log.warning("closing the reply's surface failed", error=repr(error))

    async def _all_done_within(self, seconds: float) -> None:
        if self._tasks:
            everything = asyncio.create_task(_all_done(set(self._tasks)))
            await done_within(self._clock, seconds, everything)
            everything.cancel()

    # ── sending ───────────────────────────────────────────────────────────────────────────────
    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _sent(self, request: Request) -> Shown:
        task = self._start(self._surface.perform(request, self.shown))
        try:
            if not await done_within(self._clock, self._limit, task):
                raise Unsettled(f"no answer within {self._limit:g} s")
        finally:
            if not task.done():
                task.add_done_callback(lambda late: self._ended_late(request, late))
        shown: Shown = task.result()
        return shown

    def _ended_late(self, request: Request, task: asyncio.Task[Shown]) -> None:
        """An abandoned request ended: it may have overwritten what came after it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("an abandoned request failed late", page=request.page, error=repr(error))
            return
        if request.action is not Action.REMOVE:
            self._doubt(request.page)
        elif any(page.message_id == request.message_id for page in self.shown.pages):
            self.shown = carried_out(self.shown, request)
        self._changed()

    def _doubt(self, page: int) -> None:
        if any(shown.number == page for shown in self.shown.pages):
            self.shown = forgotten(self.shown, page)
        else:
            self._doubtful.add(page)

    async def _found(self, page: int) -> bool:
        """Whether the page of a post of unknown outcome is there; then it is shown."""
        await self.quiet()
        await self._clock.sleep(max(self._landed - self._clock.monotonic(), 0.0))
        record = PageRecord(page, None)
        found: Shown = await self._persistently(lambda: self._surface.recover([record]))
        self._doubtful.discard(page)
        new = tuple(shown for shown in found.pages if shown.number == page)
        if new:
            self.shown = Shown((*self.shown.pages, *new), self.shown.closed)
            await self._record(removed=False)
        return bool(new)

    # ── failures that pass ────────────────────────────────────────────────────────────────────
    async def _persistently(self, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T:
        while True:
            task = self._start(attempt())
            try:
                if not await done_within(self._clock, self._limit, task):
                    raise Unsettled(f"no answer within {self._limit:g} s")
                result: T = task.result()
            except Throttled as error:
                if error.scopes:  # without, it would be all of the account's
                    self._surface.grants.throttled(error.retry_after, *error.scopes)
                await self._failed(error, at_least=error.retry_after)
            except Unsettled as error:
                await self._failed(error)
            else:
                self._failures = 0
                return result
            finally:
                task.cancel()  # it shows no text: the next try need not meet it

    async def _failed(self, error: PlatformError, *, at_least: float = 0.0) -> None:
        now = self._clock.monotonic()
        if self._failures == 0:
            self._failing_since = now
        elif now - self._failing_since > self._patience:
            raise Unsettled(f"the platform fails since {self._patience:g} s") from error
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        log.warning("the platform failed, trying again", error=repr(error), failures=self._failures)
        await self._clock.sleep(max(pause, at_least))

    # ── the ledger ────────────────────────────────────────────────────────────────────────────
    async def recorded(self) -> None:
        """Wait until the ledger says what is shown. Raises LostOwnership."""
        if self._recording is not None:
            await asyncio.shield(self._recording)

    async def _record(self, *, removed: bool) -> None:
        """Bring the ledger to what is shown; pages that were not found stay, until `removed`.

        When the database fails that is done as soon as it can be: a page is found again without.
        """
        self._removed = self._removed or removed
        if self._recording is not None:
            if not self._recording.done():
                return
            self._recording.result()
        try:
            await self._write_ledger()
        except StoreUnavailable:
            later = until_stored(self._write_ledger, self._clock.sleep)
            self._recording = asyncio.create_task(later, name="ledger")
            self._recording.add_done_callback(_noticed)

    async def _write_ledger(self) -> None:
        while changes := self._changes():
            for number, place in changes.items():
                if place is None:
                    await self._ledger.removed(self._fence, number)
                    del self._recorded[number]
                    self._intended.discard(number)
                else:
                    channel, message_id = place
                    await self._ledger.shown(
                        self._fence, number, channel=channel, message_id=message_id
                    )
                    self._recorded[number] = place

    def _changes(self) -> dict[int, tuple[str, str] | None]:
        """What the ledger does not know yet; None for a page that is gone."""
        there = {page.number: (page.channel, page.message_id) for page in self.shown.pages}
        new = {n: place for n, place in there.items() if self._recorded.get(n) != place}
        gone = self._recorded.keys() - there.keys() if self._removed else ()
        return {**new, **dict.fromkeys(gone)}
