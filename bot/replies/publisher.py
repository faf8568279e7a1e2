"""Showing one reply while it grows: what is shown is brought to what should be, request by request.

Invariant: one request in flight, always planned from the newest frame (invariant 6); nobody who
writes waits for a platform, and leaving the context leaves no task behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import structlog

from bot.domain.errors import FilesRefused, Refused
from bot.domain.replies import Action, Control, Frame, Page, Priority, Request, Reservation, Shown
from bot.domain.turns import Fence, PageRecord
from bot.ports.clock import Clock
from bot.ports.platform import Surface
from bot.replies.delivery import Delivery
from bot.replies.ledger import Ledger
from bot.replies.paging.document import Document
from bot.replies.plan import carried_out, visible_end
from bot.replies.unseen_text import UnseenText

log = structlog.stdlib.get_logger(__name__)

REQUEST_LIMIT = 30.0
"""Seconds after which a request is abandoned: discord.py alone retries for up to 25 s inside."""

CLOSE_LIMIT = 90.0
"""Seconds that clearing the signs of work may take before the turn goes on without it: a budget of
a minute may be used up."""

HANDOVER_LIMIT = 10.0
"""The same for a reply that another attempt is to end, and which clears them then."""

STEP_SECONDS = 0.005
"""So long further steps towards the newest frame are taken at once, half of what any step may take:
what was written since the offer was made seldom needs more. A text that came in one piece goes on
in the next turn of the loop."""

PATIENCE = 600.0
"""Seconds that a platform may fail before the reply is given up; a restart shows it then."""


class Publisher:
    """One reply on one surface; used as `async with Publisher(...) as reply`.

    `pages` are those that earlier attempts left; `controls` are shown while it grows; `limit` is
    the time limit of a request and `patience` how long failures may last, in seconds.
    """

    def __init__(
        self,
        *,
        surface: Surface,
        ledger: Ledger,
        fence: Fence,
        clock: Clock,
        pages: Sequence[PageRecord] = (),
        controls: tuple[Control, ...] = (),
        limit: float = REQUEST_LIMIT,
        close_limit: float = CLOSE_LIMIT,
        patience: float = PATIENCE,
    ) -> None:
        self._surface, self._clock, self._pages = surface, clock, pages
        self._close_limit = close_limit
        self._document = Document(surface.renderer, surface.files)
        self._document.controls = controls
        self._note = ""
        self._noted_at = 0.0
        self._unseen = UnseenText()
        self._changed = asyncio.Event()
        self._refused: tuple[Request, Refused] | None = None
        self._offer: asyncio.Task[Request | None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._end: asyncio.Future[None] | None = None
        self._reservation = Reservation(over=True)
        self._delivery = Delivery(
            surface=surface,
            ledger=ledger,
            fence=fence,
            clock=clock,
            changed=self._changed.set,
            limit=limit,
            patience=patience,
        )
        self.first_visible_at: float | None = None
        self.whole_at: float | None = None

    # ── what the turn says ────────────────────────────────────────────────────────────────────
    def write(self, text: str) -> None:
        """Add to the reply; cheap, and nothing once the reply's place is gone."""
        if self.gone or not text:
            return
        if len(self._document) == 0:
            self._surface.rate_limiter.begin(self._reservation)
        self._document.write(text)
        self._unseen.text_written(len(self._document), self._clock.monotonic())
        self._changed.set()

    def note(self, text: str) -> None:
        """Show `text` as long as nothing of the reply itself can be shown."""
        self._note, self._noted_at = text, self._clock.monotonic()
        self._changed.set()

    def sign(self, text: str) -> None:
        """As `note`, where the platform does not itself say that the reply is being written."""
        if not self._surface.says_working:
            self.note(text)

    def finish(self, text: str | None = None, *, controls: tuple[Control, ...] = ()) -> None:
        """The reply is whole; `text`, when given, is all of it, with our own sentences.

        May be called again when `settled` raised Refused, with a text that the platform may take.
        """
        if self.gone:
            return
        self._document.finish(text)
        self._refused = None
        self._document.controls = controls
        self._unseen.text_written(len(self._document), self._clock.monotonic())
        if self._end is not None and self._end.done():
            self._end = asyncio.get_running_loop().create_future()
        self._changed.set()
        if self._offer is not None:
            self._offer.cancel()  # it waits as an interim edit: a final one may have room at once

    async def settled(self) -> None:
        """Wait until the finished reply is wholly shown.

        Raises Gone, LostOwnership, Unsettled when the platform failed for too long, and Refused
        when it will not take the text: then `finish` may be called with another one.
        """
        await asyncio.shield(self._ending())

    @property
    def text(self) -> str:
        """What was written so far."""
        return self._document.text

    @property
    def shown(self) -> Shown:
        """What is on the screen, as far as it is known."""
        return self._delivery.shown

    @property
    def gone(self) -> bool:
        """Whether nothing can be shown any more: writing is in vain."""
        return self._task is not None and self._task.done()

    @asynccontextmanager
    async def while_alive(self) -> AsyncIterator[None]:
        """Cancel the body at once when nothing can be shown any more, and raise as `settled` does.

        A model that is silent for minutes would otherwise be waited for in vain.
        """
        body, publishing = asyncio.current_task(), self._task
        assert body is not None and publishing is not None  # noqa: S101 - entered, in a task
        over = False

        def cancel(_: asyncio.Task[None]) -> None:
            nonlocal over
            over = True
            body.cancel()

        publishing.add_done_callback(cancel)
        try:
            yield
        except asyncio.CancelledError:
            if not over or body.uncancel() > 0:
                raise
            await self.settled()
            raise
        finally:
            publishing.remove_done_callback(cancel)

    # ── its life ──────────────────────────────────────────────────────────────────────────────
    async def __aenter__(self) -> Self:
        self._end = asyncio.get_running_loop().create_future()
        self._reservation = self._surface.rate_limiter.reserve()
        self._task = asyncio.create_task(self._run(), name="publisher")
        self._task.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None  # noqa: S101 - entered
        self._task.cancel()
        try:
            await asyncio.wait({self._task})
        finally:
            self._surface.rate_limiter.release(self._reservation)
            over = kind is None or not issubclass(kind, asyncio.CancelledError)
            await self._delivery.close(
                self._close_limit if over else min(self._close_limit, HANDOVER_LIMIT)
            )

    async def _run(self) -> None:
        await self._delivery.open()
        if self._pages:
            await self._delivery.recover(self._pages)
        while True:
            await self._step()

    def _ended(self, task: asyncio.Task[None]) -> None:
        end = self._ending()
        if task.cancelled():
            end.cancel()
        elif (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        end = self._ending()
        if not end.done():
            end.set_exception(error)
            end.exception()  # whoever does not wait for the end learns it from `gone`

    def _ending(self) -> asyncio.Future[None]:
        if self._end is None:
            raise RuntimeError("the publisher was not entered")
        return self._end

    # ── its steps ─────────────────────────────────────────────────────────────────────────────
    async def _step(self) -> None:
        self._changed.clear()
        request = await self._granted()
        if request is not None:
            return await self._send(request)
        if self._document.behind:
            return await asyncio.sleep(0)
        if self._document.final:
            await self._delivery.quiet()
            await self._delivery.book.written()  # a page that it does not know could be mistaken
            if await self._delivery.tidy():
                return None
            await self._delivery.book.written()
            if self._changed.is_set():
                return None
            self._conclude()
        await self._changed.wait()
        return None

    async def _granted(self) -> Request | None:
        """Wait for the budget; None when nothing is to be done or the priority has changed."""
        await self._intend()
        self._offer = asyncio.create_task(self._grant())
        try:
            return await self._offer
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling() or not self._document.final:
                raise
            return await self._grant()
        finally:
            self._offer = None

    async def _grant(self) -> Request | None:
        return await self._surface.rate_limiter.acquire(self._plan, self._rank, self._reservation)

    async def _intend(self) -> None:
        """Have the next page in the ledger already, so that a grant is used at once."""
        request = self._plan()
        if request is not None and request.action.posts:
            await self._delivery.book.intend(request.page)

    async def _send(self, request: Request) -> None:
        try:
            await self._delivery.carry_out(request)
        except FilesRefused as error:
            log.warning("a file was refused: its text goes on pages", error=str(error))
            self._document.without_files()
            self._changed.set()
            return
        except Refused as error:
            log.warning("the platform refused a page", page=request.page, error=str(error))
            if request.action is Action.REMOVE:  # it stays; the reply's end does not wait for it
                self._delivery.shown = carried_out(self._delivery.shown, request)
                self._changed.set()
                return
            self._refused = (request, error)
            self._changed.set()
            return
        self._refused = None
        self._saw()

    def _saw(self) -> None:
        seen = visible_end(self._delivery.shown)
        self._unseen.text_shown(seen)
        if seen and self.first_visible_at is None:
            self.first_visible_at = self._clock.monotonic()

    def _conclude(self) -> None:
        """Nothing is left to send: all is shown, or the platform refused what is left."""
        end = self._ending()
        if self._refused is not None and self._refused[0].final:
            self._fail(self._refused[1])
        elif not end.done():
            self.whole_at = self._clock.monotonic()
            end.set_result(None)

    # ── for the rate limiter ─────────────────────────────────────────────────────────────────────
    def _plan(self) -> Request | None:
        request = self._surface.plan(self._delivery.shown, self._frame())
        if self._refused is not None and request == self._refused[0]:
            return None
        return request

    def _frame(self) -> Frame:
        frame = self._document.frame()
        until = self._clock.monotonic() + STEP_SECONDS
        while self._document.behind and self._clock.monotonic() < until:
            frame = self._document.frame()
        if frame.pages or frame.final or not self._note:
            return frame
        page = Page(self._note, "", 0, 0, sealed=False)
        return Frame((page,), final=False, controls=frame.controls)

    def _rank(self) -> tuple[Priority, float]:
        oldest = self._unseen.oldest(self._clock.monotonic())
        if self._document.final:
            return Priority.FINAL, oldest
        if len(self._document) == 0:
            return Priority.INTERIM, self._noted_at
        if visible_end(self._delivery.shown) == 0:
            return Priority.FIRST, oldest
        return Priority.INTERIM, oldest
