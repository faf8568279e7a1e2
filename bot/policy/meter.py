"""The meter: reserves the highest cost of every request to a model, and settles it with the usage.

Invariants: a request is sent only after its reservation is in the books, and its usage is in the
books before its turn ends. The usage is what the provider counted; if the stream ended before that,
it is the estimated input and the received answer. A request that failed before its first word costs
nothing, which is how providers bill.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Sequence,
)
from contextlib import asynccontextmanager
from datetime import tzinfo
from functools import partial
from math import ceil

from bot.common.retry import retry_while_unavailable
from bot.domain.errors import (
    BudgetHeld,
    BudgetSpent,
    ModelError,
    NoBudget,
    PriceUnknown,
)
from bot.domain.model import ChatRequest, Usage
from bot.domain.spending import (
    Booking,
    BudgetLine,
    BudgetState,
    NotReserved,
    Purpose,
    Quote,
    Refusal,
    Reserved,
    Spender,
)
from bot.domain.tokens import count_tokens
from bot.policy.budgets import day_of, lines_of
from bot.policy.metered_stream import MeteredStream, Part
from bot.policy.room_queue import RoomQueue
from bot.ports.clock import Clock
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.ports.model import ChatModel
from bot.ports.spending import BudgetSource, PriceList, SpendingStore

SETTLE_SECONDS = 1.0
"""How long a cancelled request waits for the books; after that, it is settled in the background."""

MAX_TRANSCRIPT_TOKENS = 8_000
"""The longest transcript: half an hour of speech."""


class BudgetMeter:
    """Implements `bot.ports.spending.Meter`. None as `zone` means the machine's time zone.

    `observer` learns what each request used.
    """

    def __init__(
        self,
        *,
        store: SpendingStore,
        prices: PriceList,
        budgets: BudgetSource,
        clock: Clock,
        zone: tzinfo | None = None,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._store, self._prices, self._budgets = store, prices, budgets
        self._clock, self._zone, self._observer = clock, zone, observer
        self._queue = RoomQueue()
        self._settling: set[asyncio.Task[Sequence[BudgetState]]] = set()
        self._abandoned: set[asyncio.Task[Reserved | NotReserved]] = set()

    @asynccontextmanager
    async def stream(
        self,
        spender: Spender,
        model: ChatModel,
        request: ChatRequest,
        input_tokens: float,
        *,
        spent: Collection[str] = (),
    ) -> AsyncIterator[MeteredStream]:
        """See the port."""
        quote = await self._prices.quote(model, request, ceil(input_tokens))
        lines = await self.lines(spender, spent=spent)
        reservation = await self._reserve(spender, lines, quote)
        try:
            deltas = model.stream(request)
        except BaseException:  # the model was removed from the configuration at this moment
            self._settle(reservation, _nothing, lines)
            raise
        stream = MeteredStream(deltas, quote, self._store, reservation, self._clock)
        error: BaseException | None = None
        try:
            yield stream
        except BaseException as raised:
            error = raised
            raise
        finally:
            try:
                await stream.aclose()
            finally:
                told = lines if spender.purpose is Purpose.ANSWER else ()
                settling = self._settle(
                    reservation,
                    lambda: self._bookings(stream, error),
                    lines,
                    told=told,
                    purpose=spender.purpose,
                )
                stream.nearly_spent = await self._wait_for(settling, error)

    async def transcribe(
        self, spender: Spender, model: str, work: Callable[[], Awaitable[str]]
    ) -> str:
        """See the port. Few servers report the length of speech, by which they price it, so a
        transcript counts as a request with the tokens of its text and no known price."""
        quote, lines = Quote(model, 0, MAX_TRANSCRIPT_TOKENS), await self.lines(spender)
        reservation = await self._reserve(spender, lines, quote, needs_price=False)
        used: list[Booking] = []
        error: BaseException | None = None
        try:
            words = await work()
            usage = Usage(0, count_tokens(words))
            used.append(Booking(model, usage, None, is_estimate=True))
        except BaseException as raised:
            error = raised
            raise
        finally:
            settling = self._settle(
                reservation, partial(_all, used), lines, purpose=spender.purpose
            )
            await self._wait_for(settling, error)
        return words

    async def lines(self, spender: Spender, *, spent: Collection[str] = ()) -> list[BudgetLine]:
        """The budget lines that a request currently counts towards."""
        key, author = spender.key, spender.author
        budgets = await self._budgets.budgets(key, author)
        now = self._clock.time()
        return lines_of(budgets, key, author, now=now, zone=self._zone, spent=spent)

    async def wait_for_room(self, error: BudgetHeld) -> None:
        """Wait until a request that counts towards the same budget ends, or for a few seconds."""
        await self._queue.wait(error.line)

    @asynccontextmanager
    async def loading_prices(self, models: Sequence[str]) -> AsyncIterator[None]:
        """Look up the prices of `models` in the background, so that the first question does not
        have to wait for the slow first look-up."""
        task = asyncio.create_task(self._load_prices(models), name="prices")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _load_prices(self, models: Sequence[str]) -> None:
        for model in models:
            await self._prices.cost(model, Usage(0, 0))

    async def aclose(self) -> None:
        """Leave open reservations unsettled: the next start settles them by estimate."""
        tasks = {*self._settling, *self._abandoned}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # ── one request ───────────────────────────────────────────────────────────────────────────
    async def _reserve(
        self,
        spender: Spender,
        lines: Sequence[BudgetLine],
        quote: Quote,
        *,
        needs_price: bool = True,
    ) -> int:
        for line in lines if needs_price and quote.cost is None else ():
            if line.in_money and line.is_limit:
                raise PriceUnknown(line, quote.unpriced)
        day = day_of(self._clock.time(), self._zone).isoformat()
        result = await self._undo_if_cancelled(
            asyncio.create_task(self._reserve_in_books(spender, lines, quote, day)), lines
        )
        if isinstance(result, Reserved):
            if result.has_room:
                self._queue.wake(lines)
            return result.id
        raise _REFUSALS[result.refusal](result.line)

    async def _reserve_in_books(
        self, spender: Spender, lines: Sequence[BudgetLine], quote: Quote, day: str
    ) -> Reserved | NotReserved:
        return await retry_while_unavailable(
            lambda: self._store.reserve(spender, lines, quote, day), self._clock.sleep
        )

    async def _undo_if_cancelled(
        self, reserving: asyncio.Task[Reserved | NotReserved], lines: Sequence[BudgetLine]
    ) -> Reserved | NotReserved:
        """Return the result; if the caller is cancelled while it waits, release the reservation."""
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            self._abandoned.add(reserving)
            reserving.add_done_callback(lambda task: self._release(task, lines))
            raise

    def _release(
        self, reserved: asyncio.Task[Reserved | NotReserved], lines: Sequence[BudgetLine]
    ) -> None:
        self._abandoned.discard(reserved)
        if reserved.cancelled() or reserved.exception() is not None:
            return
        result = reserved.result()
        if isinstance(result, Reserved):
            self._settle(result.id, _nothing, lines)

    async def _bookings(self, stream: MeteredStream, error: BaseException | None) -> list[Booking]:
        parts = [part for part in stream.parts if part.is_begun]
        if not parts and not isinstance(error, ModelError):
            parts = stream.parts[-1:]  # it was sent, and stopped before its first word
        return [await self._book(part, stream.quote) for part in parts]

    async def _book(self, part: Part, quote: Quote) -> Booking:
        model, usage = part.model or quote.model, part.used(quote)
        cost = await self._prices.cost(model, usage)
        if cost is None:  # its price was lost while it answered, so the reserved cost counts
            cost = quote.cost_of(usage)
        return Booking(model, usage, cost, is_estimate=not part.is_counted)

    def _settle(
        self,
        reservation: int,
        book: Callable[[], Awaitable[Sequence[Booking]]],
        lines: Sequence[BudgetLine],
        *,
        told: Sequence[BudgetLine] = (),
        purpose: Purpose = Purpose.ANSWER,
    ) -> asyncio.Task[Sequence[BudgetState]]:
        """Settle in a task, including the look-up of prices, so that a second cancellation of the
        caller cannot leave the reservation open. `told` are the lines whose notice was shown."""

        async def run() -> Sequence[BudgetState]:
            bookings = await book()
            nearly_spent = await retry_while_unavailable(
                lambda: self._store.settle(reservation, bookings, told), self._clock.sleep
            )
            self._queue.wake(lines)
            for booking in bookings:
                self._observer.model_used(purpose, booking)
            return nearly_spent

        task = asyncio.create_task(run(), name=f"settle-{reservation}")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task

    async def _wait_for(
        self, settling: asyncio.Task[Sequence[BudgetState]], error: BaseException | None
    ) -> Sequence[BudgetState]:
        cancelled = isinstance(error, asyncio.CancelledError)
        await asyncio.wait({settling}, timeout=SETTLE_SECONDS if cancelled else None)
        return settling.result() if settling.done() and not settling.cancelled() else ()


async def _all(bookings: Sequence[Booking]) -> Sequence[Booking]:
    return bookings


_nothing = partial(_all, ())

_REFUSALS: dict[Refusal, type[NoBudget]] = {Refusal.SPENT: BudgetSpent, Refusal.HELD: BudgetHeld}
