"""Publishes one reply while the model writes it.

In: the model's text, from the turn (`turns/runner.py`). Out: the reply on its surface. A text
passes through `Content` (the reply now), `Document` (as one Markdown text), `Paginator` (in pages),
`mend` (with complete markup), `Surface.plan` (as the next request, see `plan`), the rate limiter
(when it may be sent), `Delivery` (sent) and `LedgerWriter` (recorded in the store).

Invariant: one request in flight, always planned from the newest frame (invariant 6). Writing never
waits for a platform, and no task survives the context.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import structlog

from bot.common.local_cluster import UNLIMITED
from bot.domain.errors import FilesRefused, Refused
from bot.domain.replies import (
    Action,
    Control,
    Priority,
    ReplyOwner,
    Request,
    Reservation,
    Shown,
)
from bot.domain.turns import Fence, PageRecord
from bot.ports.clock import Clock
from bot.ports.cluster import TurnLease
from bot.ports.platform import Surface
from bot.replies.content import Content
from bot.replies.delivery import Delivery
from bot.replies.ledger import Ledger
from bot.replies.paging.document import Document
from bot.replies.plan import apply_request, visible_length

log = structlog.stdlib.get_logger(__name__)

REQUEST_LIMIT = 30.0
"""Seconds after which a request is abandoned; discord.py retries internally for up to 25 s."""

CLOSE_LIMIT = 90.0
"""Seconds for clearing typing and status, which may have to wait for a budget per minute;
afterwards the turn continues without clearing them."""

HANDOVER_LIMIT = 10.0
"""The same limit when another attempt will finish the reply and clear typing and status."""

PATIENCE = 600.0
"""Seconds that a platform may fail before the reply is abandoned until a restart."""


class Publisher:
    """One reply on one surface; used as `async with Publisher(...) as reply`.

    `pages` are the ledger's entries from earlier attempts, `controls` are shown while the reply
    grows. `owner` gets a fair share of the account's requests. `on_visible` is called once, when
    the first text is on the screen. Nothing is sent without `lease`. In seconds: `limit` for one
    request, `close_limit` for clearing typing and status, `patience` for a failing platform.
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
        owner: ReplyOwner | None = None,
        on_visible: Callable[[], None] = lambda: None,
        limit: float = REQUEST_LIMIT,
        close_limit: float = CLOSE_LIMIT,
        patience: float = PATIENCE,
        lease: TurnLease = UNLIMITED,
    ) -> None:
        self._surface, self._clock, self._pages = surface, clock, pages
        self._owner, self._close_limit, self._on_visible = owner, close_limit, on_visible
        self._document = Document(surface.renderer, surface.files)
        self._document.controls = controls
        self._content = Content(self._document, clock.monotonic)
        self._changed = asyncio.Event()
        self._refused: tuple[Request, Refused] | None = None
        self._pending_grant: asyncio.Task[Request | None] | None = None
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
            lease=lease,
        )
        self.first_visible_at: float | None = None
        self.complete_at: float | None = None

    # ── for the turn ──────────────────────────────────────────────────────────────────────────
    def write(self, text: str) -> None:
        """Append `text` to the reply. Cheap; ignored once publishing has failed."""
        if self.failed or not text:
            return
        if len(self._document) == 0:
            self._surface.rate_limiter.begin(self._reservation)
        self._content.write(text)
        self._changed.set()

    def note(self, text: str, *, queued: bool = False) -> None:
        """Show `text` until part of the reply itself can be shown.

        `queued`: the reply waits for a slot, which some surfaces show as a state.
        """
        self._content.note(text, queued=queued)
        self._changed.set()

    def note_working(self, text: str) -> None:
        """Like `note`, but only if the platform itself does not show that the bot is working."""
        if not self._surface.says_working:
            self.note(text)

    def finish(self, text: str | None = None, *, controls: tuple[Control, ...] = ()) -> None:
        """Complete the reply; `text`, if given, replaces everything written.

        If `wait_until_shown` raised Refused, call `finish` again with a simpler text.
        """
        if self.failed:
            return
        self._content.finish(text, controls)
        self._refused = None
        if self._end is not None and self._end.done():
            self._end = asyncio.get_running_loop().create_future()
        self._changed.set()
        if self._pending_grant is not None:
            self._pending_grant.cancel()  # an interim edit would wait longer than a final one

    async def wait_until_shown(self) -> None:
        """Wait until the finished reply is on the screen.

        Raises Gone; LostOwnership; Unsettled if the platform failed for too long; Refused if it
        does not accept the text, in which case `finish` may be called with another text.
        """
        await asyncio.shield(self._end_future())

    @property
    def text(self) -> str:
        """The Markdown written so far."""
        return self._document.text

    @property
    def unseen_since(self) -> float | None:
        """When the oldest text that is not on the screen was written, in monotonic seconds. None if
        all text is on the screen or the reply is complete: trailing blanks are never shown."""
        return None if self.complete_at is not None else self._content.unseen_since

    @property
    def shown(self) -> Shown:
        """The pages known to be on the screen."""
        return self._delivery.shown

    @property
    def failed(self) -> bool:
        """Whether publishing has ended with an error; further text is ignored."""
        return self._task is not None and self._task.done()

    @asynccontextmanager
    async def cancel_on_failure(self) -> AsyncIterator[None]:
        """Cancel the body as soon as publishing fails, and raise the errors of `wait_until_shown`.

        Otherwise the turn would wait minutes for a silent model whose text cannot be shown.
        """
        body, publishing = asyncio.current_task(), self._task
        assert body is not None and publishing is not None  # noqa: S101 - entered, in a task
        cancelled = False

        def cancel(_: asyncio.Task[None]) -> None:
            nonlocal cancelled
            cancelled = True
            body.cancel()

        publishing.add_done_callback(cancel)
        try:
            yield
        except asyncio.CancelledError:
            if not cancelled or body.uncancel() > 0:
                raise
            await self.wait_until_shown()
            raise
        finally:
            publishing.remove_done_callback(cancel)

    # ── lifetime ──────────────────────────────────────────────────────────────────────────────
    async def __aenter__(self) -> Self:
        self._end = asyncio.get_running_loop().create_future()
        self._reservation = self._surface.rate_limiter.reserve(self._owner)
        self._task = asyncio.create_task(self._run(), name="publisher")
        self._task.add_done_callback(self._on_end)
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
            handed_over = kind is not None and issubclass(kind, asyncio.CancelledError)
            limit = HANDOVER_LIMIT if handed_over else self._close_limit
            await self._delivery.close(min(limit, self._close_limit))

    async def _run(self) -> None:
        await self._delivery.open()
        if self._pages:
            await self._delivery.recover(self._pages)
            # People wait for a reply to end, not for another one of theirs to begin.
            self._reservation.is_shown |= bool(self._delivery.shown.pages)
        while True:
            await self._step()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        end = self._end_future()
        if task.cancelled():
            end.cancel()
        elif (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        end = self._end_future()
        if not end.done():
            end.set_exception(error)
            end.exception()  # mark the exception as retrieved, for turns that only read `failed`

    def _end_future(self) -> asyncio.Future[None]:
        if self._end is None:
            raise RuntimeError("the publisher is not entered")
        return self._end

    # ── the loop ──────────────────────────────────────────────────────────────────────────────
    async def _step(self) -> None:
        self._changed.clear()
        # The model may be silent for long, and a person may have deleted the reply.
        self._delivery.ledger.raise_failure()
        request = await self._next_request()
        if request is not None:
            return await self._send(request)
        if self._document.behind:
            return await asyncio.sleep(0)
        if not self._document.final or await self._finish_delivery():
            await self._changed.wait()
        return None

    async def _finish_delivery(self) -> bool:
        """Resolve the end if nothing is left to send; return whether that is the case."""
        await self._delivery.wait_idle()
        await self._delivery.ledger.flush()  # else the search could take a posted page for another
        if await self._delivery.find_stray_pages():
            return False
        await self._delivery.ledger.flush()
        if self._changed.is_set():
            return False
        self._resolve_end()
        return True

    async def _next_request(self) -> Request | None:
        """Wait until the next request may be sent; None if there is nothing to send."""
        await self._intend_next_page()
        self._pending_grant = asyncio.create_task(self._grant())
        try:
            return await self._pending_grant
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling() or not self._document.final:
                raise
            return await self._grant()
        finally:
            self._pending_grant = None

    async def _grant(self) -> Request | None:
        return await self._surface.rate_limiter.acquire(
            self._plan, self._priority, self._reservation
        )

    async def _intend_next_page(self) -> None:
        """Record a new page early, so that its post is sent as soon as it is granted."""
        request = self._plan()
        if request is not None and request.action.posts:
            await self._delivery.ledger.intend(request.page)

    async def _send(self, request: Request) -> None:
        try:
            await self._delivery.send(request)
        except FilesRefused as error:
            log.warning("a file was refused, showing its code as text", error=str(error))
            self._document.disable_files()
            self._changed.set()
            return
        except Refused as error:
            log.warning("the platform refused a page", page=request.page, error=str(error))
            if request.action is Action.REMOVE:  # the page stays, but the reply ends anyway
                self._delivery.shown = apply_request(self._delivery.shown, request)
            else:
                self._refused = (request, error)
            self._changed.set()
            return
        self._refused = None
        self._content.mark_seen(self._delivery.shown)
        if visible_length(self._delivery.shown) and self.first_visible_at is None:
            self.first_visible_at = self._clock.monotonic()
            self._on_visible()

    def _resolve_end(self) -> None:
        """End the reply, because everything is shown or the platform refused the rest."""
        end = self._end_future()
        if self._refused is not None and self._refused[0].final:
            self._fail(self._refused[1])
        elif not end.done():
            self.complete_at = self._clock.monotonic()
            end.set_result(None)

    # ── for the rate limiter ──────────────────────────────────────────────────────────────────
    def _plan(self) -> Request | None:
        request = self._surface.plan(self._delivery.shown, self._content.frame())
        if self._refused is not None and request == self._refused[0]:
            return None
        return request

    def _priority(self) -> tuple[Priority, float]:
        return self._content.priority(self._delivery.shown)
