"""Sends the requests of one reply and handles the ways in which a request can fail.

In: granted requests from `Publisher`. Out: requests to the surface, and `shown`, the pages known to
be on the screen. Next: `LedgerWriter` records the pages in the store.

Invariant: one request in flight, never cancelled while the reply lives. A page is in the ledger
before its post. If the outcome of a post is unknown, the page is searched for before it is posted
again. While the database fails, pages on the screen keep growing and new pages wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import structlog

from bot.common.lease_guard import create_task_under
from bot.common.local_cluster import UNLIMITED
from bot.common.retry import Backoff
from bot.domain.errors import StoreUnavailable, Throttled, Unsettled
from bot.domain.replies import Action, Request, Shown
from bot.domain.turns import Fence, PageRecord
from bot.ports import tracing
from bot.ports.clock import Clock
from bot.ports.cluster import TurnLease
from bot.ports.platform import Surface
from bot.ports.tracing import Span
from bot.replies.ledger import Ledger, LedgerWriter
from bot.replies.plan import apply_request, forget_text

log = structlog.stdlib.get_logger(__name__)

BACKOFF = Backoff(first=0.25, longest=8.0)

T = TypeVar("T")

IN_FLIGHT_SECONDS = 2.0
"""Seconds that a dead process's last request may still be in flight; then an intended page that was
not found is searched for once more. Slow platforms and restarts take about that long."""


async def wait_up_to(clock: Clock, seconds: float, task: asyncio.Task[Any]) -> bool:
    """Wait for `task` without ever cancelling it; returns whether it finished in time."""
    timer = asyncio.create_task(clock.sleep(seconds))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
    return task.done()


def _request_span(request: Request) -> AbstractContextManager[Span]:
    return tracing.span(
        f"{request.action.value} page",
        {
            "threadline.page": request.page,
            "threadline.final": request.final,
            "threadline.rate_limit.scope": tracing.scope_of(request.scopes),
        },
    )


async def _wait_for_all(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)


class Delivery:
    """The screen of one reply: `shown`, and the requests that change it.

    A request is sent while `lease` allows it, and abandoned after `limit` seconds. A platform may
    fail for `patience` seconds without a single success. `changed` is called when an abandoned
    request changes the screen, and when the ledger cannot be written.
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
        lease: TurnLease = UNLIMITED,
    ) -> None:
        self.shown = Shown()
        self._lease = lease
        self._surface, self._clock = surface, clock
        self.ledger = LedgerWriter(
            ledger=ledger,
            fence=fence,
            clock=clock,
            shown=lambda: self.shown,
            failed=changed,
        )
        self._changed = changed
        self._limit, self._patience = limit, patience
        self._uncertain: set[int] = set()  # pages that may or may not have been posted
        self._nothing_in_flight_at = 0.0  # earlier attempts' requests have all ended by then
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failures = 0
        self._failing_since = 0.0

    async def open(self) -> None:
        """Prepare the place where the reply appears, such as its thread. Raises Gone or Refused."""
        with tracing.span("open reply"):
            await self._retry(self._surface.open)

    async def recover(self, pages: Sequence[PageRecord]) -> None:
        """Find the pages that earlier attempts posted; their text is unknown."""
        self.ledger.load(pages)
        with tracing.span("find pages"):
            found: Shown = await self._retry(lambda: self._surface.recover(pages))
        self.shown = found
        visible = {page.number for page in found.pages}
        self._uncertain |= {page.number for page in pages if page.message_id is None} - visible
        self._nothing_in_flight_at = self._clock.monotonic() + IN_FLIGHT_SECONDS
        await self.ledger.record_shown()

    async def send(self, request: Request) -> None:
        """Send one granted request and update `shown`; reports a 429 to the rate limiter.

        Raises Gone, Refused or LostOwnership; Unsettled when the platform has failed for too long.
        """
        if request.action.posts:
            await self.ledger.intend(request.page)
            if request.page in self._uncertain and await self._find_page(request.page):
                return
        elif request.action is Action.REMOVE:
            await self.ledger.intend_removal(request.page)
        try:
            with _request_span(request):
                self.shown = await self._perform(request)
        except Throttled as error:
            log.warning("the platform throttles", retry_after=error.retry_after)
            # If a 429 names no scopes, close the narrowest one: a wrong guess costs one more 429,
            # while closing a shared budget would silence every other reply.
            scopes = error.scopes or request.scopes[:1]
            self._surface.rate_limiter.throttled(error.retry_after, *scopes)
            self._surface.rate_limiter.refund(*request.scopes)
        except Unsettled as error:
            if request.action is not Action.REMOVE:  # a removal is retried in any case
                self._mark_uncertain(request.page)
            await self._back_off(error)
        else:
            self._failures = 0
            await self.ledger.record()

    async def find_stray_pages(self) -> bool:
        """At the end, search for pages that may have been posted but are not shown.

        Returns whether any exist; they are then in `shown`, to be removed. Pages that do not exist
        are removed from the ledger.
        """
        missing = self._uncertain - {page.number for page in self.shown.pages}
        if any([await self._find_page(page) for page in sorted(missing)]):
            return True
        if not self._tasks:  # an abandoned request could still post a page
            await self.ledger.remove_unposted()
        return False

    async def wait_idle(self) -> None:
        """Wait, within the limit, until no abandoned request can change the screen."""
        await self._wait_for_tasks(self._limit)

    async def close(self, seconds: float) -> None:
        """Wait for requests in flight, then clear typing and status; each within `seconds`."""
        try:
            if self._lease.can_send:
                await self._wait_for_tasks(seconds)
        finally:
            try:
                await self._close_surface(seconds)
            finally:
                if self.ledger.writing is not None:
                    self._tasks.add(self.ledger.writing)
                for task in self._tasks:
                    task.cancel()
                await self._wait_for_tasks(seconds)

    async def _close_surface(self, seconds: float) -> None:
        # Without the lease, another process shows the reply and its typing indicator or status.
        surface = self._surface
        closing = self._start(surface.close() if self._lease.can_send else surface.abandon())
        if not await wait_up_to(self._clock, seconds, closing):
            log.warning("closing the reply's surface took too long")
        elif not closing.cancelled() and (error := closing.exception()) is not None:
            log.warning("closing the reply's surface failed", error=repr(error))

    async def _wait_for_tasks(self, seconds: float) -> None:
        if self._tasks:
            everything = asyncio.create_task(_wait_for_all(set(self._tasks)))
            await wait_up_to(self._clock, seconds, everything)
            everything.cancel()

    # ── sending ───────────────────────────────────────────────────────────────────────────────
    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = create_task_under(self._lease, work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _perform(self, request: Request) -> Shown:
        await self._lease.wait()
        task = self._start(self._surface.perform(request, self.shown))
        try:
            if not await wait_up_to(self._clock, self._limit, task):
                raise Unsettled(f"no answer within {self._limit:g} s")
        finally:
            if not task.done():
                task.add_done_callback(lambda late: self._on_late_end(request, late))
        shown: Shown = task.result()
        return shown

    def _on_late_end(self, request: Request, task: asyncio.Task[Shown]) -> None:
        """Handle the end of an abandoned request, which may have overwritten a later one."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("an abandoned request failed late", page=request.page, error=repr(error))
            return
        if request.action is not Action.REMOVE:
            self._mark_uncertain(request.page)
        elif any(page.message_id == request.message_id for page in self.shown.pages):
            self.shown = apply_request(self.shown, request)
        self._changed()

    def _mark_uncertain(self, page: int) -> None:
        """Note that a request for the page may have succeeded: rewrite it or search for it."""
        if any(shown.number == page for shown in self.shown.pages):
            self.shown = forget_text(self.shown, page)
        else:
            self._uncertain.add(page)

    async def _find_page(self, page: int) -> bool:
        """Search for a page whose post has an unknown outcome; if it exists, add it to `shown`."""
        await self.wait_idle()
        await self._clock.sleep(max(self._nothing_in_flight_at - self._clock.monotonic(), 0.0))
        # The pages on the screen are passed too, so that none of them is mistaken for the missing
        # one.
        records = [PageRecord(p.number, p.message_id, p.channel) for p in self.shown.pages]
        records.append(PageRecord(page, None))
        found: Shown = await self._retry(lambda: self._surface.recover(records))
        self._uncertain.discard(page)
        new = tuple(shown for shown in found.pages if shown.number == page)
        if new:
            self.shown = Shown((*self.shown.pages, *new), self.shown.closed)
            await self.ledger.record_shown()
        return bool(new)

    # ── temporary failures ────────────────────────────────────────────────────────────────────
    async def _retry(self, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Retry a request that shows no text until it succeeds, for up to `patience` seconds."""
        while True:
            await self._lease.wait()
            task = self._start(attempt())
            try:
                if not await wait_up_to(self._clock, self._limit, task):
                    raise Unsettled(f"no answer within {self._limit:g} s")
                result: T = task.result()
            except Throttled as error:
                if error.scopes:  # without scopes, reporting the 429 would close the whole account
                    self._surface.rate_limiter.throttled(error.retry_after, *error.scopes)
                await self._back_off(error, at_least=error.retry_after)
            except (Unsettled, StoreUnavailable) as error:  # some surfaces search in the store
                await self._back_off(error)
            else:
                self._failures = 0
                return result
            finally:
                task.cancel()  # the next attempt must not overlap with this one

    async def _back_off(self, error: Exception, *, at_least: float = 0.0) -> None:
        """Wait before the next attempt. Raises Unsettled once patience is exhausted."""
        now = self._clock.monotonic()
        if self._failures == 0:
            self._failing_since = now
        elif now - self._failing_since > self._patience:
            raise Unsettled(f"the platform has failed for {self._patience:g} s") from error
        self._failures += 1
        pause = BACKOFF.after(self._failures)
        log.warning("a request failed, retrying", error=repr(error), failures=self._failures)
        await self._clock.sleep(max(pause, at_least))
