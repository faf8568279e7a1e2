"""Carrying out the requests of one reply, with the ledger and every kind of failure.

Invariant: one request in flight; none is ever cancelled while the reply lives; a page is in the
ledger before it is posted, and a post of unknown outcome is looked for before it is made again.
While the database fails, what is on the screen goes on growing; a new page waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import structlog

from bot.common.retry import Backoff
from bot.domain.errors import StoreUnavailable, Throttled, Unsettled
from bot.domain.replies import Action, Request, Shown
from bot.domain.turns import Fence, PageRecord
from bot.ports.clock import Clock
from bot.ports.platform import Surface
from bot.replies.ledger import Ledger, LedgerWriter
from bot.replies.plan import carried_out, forgotten

log = structlog.stdlib.get_logger(__name__)

BACKOFF = Backoff(first=0.25, longest=8.0)

T = TypeVar("T")

LANDED = 2.0
"""Seconds for which something may still be on its way that a process sent before it died: what an
earlier attempt was about to post is looked for once more after them. A slow platform takes about
that long, and to be started again takes a while itself."""


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
        self._surface, self._clock = surface, clock
        self.book = LedgerWriter(ledger=ledger, fence=fence, clock=clock, shown=lambda: self.shown)
        self._changed = changed
        self._limit, self._patience = limit, patience
        self._doubtful: set[int] = set()  # pages whose post may or may not have been carried out
        self._landed = 0.0  # from then on nothing of an earlier attempt's comes any more
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failures = 0
        self._failing_since = 0.0

    async def open(self) -> None:
        """Make the reply's place. Raises Gone or Refused; what passes is tried again."""
        await self._persistently(self._surface.open)

    async def recover(self, pages: Sequence[PageRecord]) -> None:
        """Find what earlier attempts left; their pages count as shown with unknown text."""
        self.book.load(pages)
        found: Shown = await self._persistently(lambda: self._surface.recover(pages))
        self.shown = found
        there = {page.number for page in found.pages}
        self._doubtful |= {page.number for page in pages if page.message_id is None} - there
        self._landed = self._clock.monotonic() + LANDED
        await self.book.record(removed=False)

    async def carry_out(self, request: Request) -> None:
        """Send one granted request; afterwards `shown` is what is known to be on the screen.

        Raises Gone, Refused and LostOwnership, and Unsettled when patience is at its end. A 429
        is told to the rate limiter.
        """
        if request.action.posts:
            await self.book.intend(request.page)
            if request.page in self._doubtful and await self._found(request.page):
                return
        elif request.action is Action.REMOVE:
            await self.book.intend(request.page, again=True)
        try:
            self.shown = await self._sent(request)
        except Throttled as error:
            log.warning("the platform throttles", retry_after=error.retry_after)
            # A 429 that names no scope is taken for one of the narrowest: a wrong guess costs one
            # more 429, and closing a budget that others share would silence them.
            scopes = error.scopes or request.scopes[:1]
            self._surface.rate_limiter.throttled(error.retry_after, *scopes)
            self._surface.rate_limiter.refund(*request.scopes)
        except Unsettled as error:
            if request.action is not Action.REMOVE:  # there or not, it is to be removed again
                self._doubt(request.page)
            await self._failed(error)
        else:
            self._failures = 0
            await self.book.record(removed=True)

    async def tidy(self) -> bool:
        """At the end: look once more for pages that may have been posted and are not shown.

        Whether there was one, which is to be removed then; what is not there leaves the ledger.
        """
        missing = self._doubtful - {page.number for page in self.shown.pages}
        if any([await self._found(page) for page in sorted(missing)]):
            return True
        if not self._tasks:  # none that was abandoned may still post what is taken out here
            await self.book.tidy()
        return False

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
                if self.book.writing is not None:
                    self._tasks.add(self.book.writing)
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
        # What is shown is told, too: none of it can be the page that is missing.
        records = [PageRecord(p.number, p.message_id, p.channel) for p in self.shown.pages]
        records.append(PageRecord(page, None))
        found: Shown = await self._persistently(lambda: self._surface.recover(records))
        self._doubtful.discard(page)
        new = tuple(shown for shown in found.pages if shown.number == page)
        if new:
            self.shown = Shown((*self.shown.pages, *new), self.shown.closed)
            await self.book.record(removed=False)
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
                    self._surface.rate_limiter.throttled(error.retry_after, *error.scopes)
                await self._failed(error, at_least=error.retry_after)
            except (Unsettled, StoreUnavailable) as error:  # what is found is looked up there
                await self._failed(error)
            else:
                self._failures = 0
                return result
            finally:
                task.cancel()  # it shows no text: the next try need not meet it

    async def _failed(self, error: Exception, *, at_least: float = 0.0) -> None:
        now = self._clock.monotonic()
        if self._failures == 0:
            self._failing_since = now
        elif now - self._failing_since > self._patience:
            raise Unsettled(f"the platform fails since {self._patience:g} s") from error
        self._failures += 1
        pause = BACKOFF.after(self._failures)
        log.warning("a request failed, trying again", error=repr(error), failures=self._failures)
        await self._clock.sleep(max(pause, at_least))
