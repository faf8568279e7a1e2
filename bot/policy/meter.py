"""The meter: every request to a model reserves its highest cost, and is settled with its usage.

Invariants: a request is sent only after its reservation is in the books, and what it used is in the
books before its turn ends. What it used is what the provider counted; if the stream ended before
that, the input counts as sent and the answer as received. A request that failed before its first
word costs nothing, as with the providers.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from math import ceil

from bot.common.retry import retry_while_unavailable
from bot.domain.errors import (
    BudgetHeld,
    BudgetSpent,
    ModelError,
    NoBudget,
    PriceUnknown,
    StoreUnavailable,
)
from bot.domain.model import ChatRequest, Delta, Usage
from bot.domain.spending import (
    Booking,
    BudgetLine,
    BudgetState,
    Quote,
    Refusal,
    Reserved,
    Spender,
)
from bot.domain.tokens import count_tokens
from bot.policy.budgets import day_of, lines_of
from bot.ports.clock import Clock
from bot.ports.model import ChatModel
from bot.ports.spending import BudgetSource, PriceList, SpendingStore

PROGRESS_SECONDS = 2.0
"""How often the length of a running answer is stored: so much of it is not counted after a kill."""

SETTLE_SECONDS = 1.0
"""How long a cancelled request waits for the books; then it is settled in the background."""

MAX_TRANSCRIPT_TOKENS = 8_000
"""The longest transcript: half an hour of speech."""

HELD_SECONDS = 5.0
"""The longest wait for others' reservations before the next look: a period may have ended."""


class BudgetMeter:
    """Implements `bot.ports.spending.Meter`. `zone` None is the machine's time zone."""

    def __init__(
        self,
        *,
        store: SpendingStore,
        prices: PriceList,
        budgets: BudgetSource,
        clock: Clock,
        zone: tzinfo | None = None,
    ) -> None:
        self._store, self._prices, self._budgets = store, prices, budgets
        self._clock, self._zone = clock, zone
        self._queue = _RoomQueue()
        self._settling: set[asyncio.Task[Sequence[BudgetState]]] = set()

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
        stream = MeteredStream(model.stream(request), quote, self._store, reservation, self._clock)
        error: BaseException | None = None
        try:
            yield stream
        except BaseException as raised:
            error = raised
            raise
        finally:
            await stream.aclose()
            bookings = await self._bookings(stream, error)
            settling = self._settle(reservation, bookings, lines)
            stream.nearly_spent = await self._wait_for(settling, error)

    async def transcribe(
        self, spender: Spender, model: str, work: Callable[[], Awaitable[str]]
    ) -> str:
        """See the port. Servers price speech by its length, which few of them tell: a transcript
        counts with the tokens of its text, and as a request without a known price."""
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
            await self._wait_for(self._settle(reservation, used, lines), error)
        return words

    async def lines(self, spender: Spender, *, spent: Collection[str] = ()) -> list[BudgetLine]:
        """The lines of the books that count a request now."""
        key, author = spender.key, spender.author
        budgets = await self._budgets.budgets(key, author)
        now = self._clock.time()
        return lines_of(budgets, key, author, now=now, zone=self._zone, spent=spent)

    async def wait_for_room(self, error: BudgetHeld) -> None:
        """Wait until a request that counts for the same budget ends, or a few seconds."""
        await self._queue.wait(error.line)

    async def aclose(self) -> None:
        """Give up what is not settled: the next start does it by estimate."""
        for task in tuple(self._settling):
            task.cancel()
        if self._settling:
            await asyncio.wait(self._settling)

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
        result = await self._store.reserve(spender, lines, quote, day)
        if isinstance(result, Reserved):
            self._queue.wake(lines)  # there may be room for another one
            return result.id
        raise _REFUSALS[result.refusal](result.line)

    async def _bookings(self, stream: MeteredStream, error: BaseException | None) -> list[Booking]:
        parts = [part for part in stream.parts if part.is_begun]
        if not parts and not isinstance(error, ModelError):
            parts = stream.parts[-1:]  # it was sent, and stopped before its first word
        return [await self._book(part, stream.quote) for part in parts]

    async def _book(self, part: _Part, quote: Quote) -> Booking:
        model, usage = part.model or quote.model, part.used(quote)
        cost = await self._prices.cost(model, usage)
        return Booking(model, usage, cost, is_estimate=not part.is_counted)

    def _settle(
        self, reservation: int, bookings: Sequence[Booking], lines: Sequence[BudgetLine]
    ) -> asyncio.Task[Sequence[BudgetState]]:
        async def run() -> Sequence[BudgetState]:
            told = await retry_while_unavailable(
                lambda: self._store.settle(reservation, bookings, lines), self._clock.sleep
            )
            self._queue.wake(lines)
            return told

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


_REFUSALS: dict[Refusal, type[NoBudget]] = {Refusal.SPENT: BudgetSpent, Refusal.HELD: BudgetHeld}


@dataclass(slots=True)
class _Part:
    """What one model of a chain sent. `output` are the estimated tokens of `text`, so far."""

    model: str | None = None
    usage: Usage | None = None
    has_ended: bool = False
    output: int = 0
    text: list[str] = field(default_factory=list)

    @property
    def is_begun(self) -> bool:
        """Whether anything was received that costs."""
        return bool(self.output or self.text or self.usage)

    @property
    def is_counted(self) -> bool:
        """Whether the provider has counted the whole answer."""
        return self.usage is not None and self.has_ended

    def count(self) -> int:
        """The estimated tokens of the answer so far."""
        self.output += count_tokens("".join(self.text))
        self.text.clear()
        return self.output

    def used(self, quote: Quote) -> Usage:
        """The provider's count, or an estimate."""
        if self.usage is not None and self.has_ended:
            return self.usage
        output, known = self.count(), self.usage or Usage(quote.input_tokens, 0)
        return Usage(
            input_tokens=known.input_tokens,
            output_tokens=max(output, known.output_tokens),
            cached_tokens=known.cached_tokens,
            cache_write_tokens=known.cache_write_tokens,
            reasoning_tokens=known.reasoning_tokens,
        )


class MeteredStream:
    """Implements `bot.ports.spending.MeteredStream`; counts what passes through it."""

    def __init__(
        self,
        stream: AsyncIterator[Delta],
        quote: Quote,
        store: SpendingStore,
        reservation: int,
        clock: Clock,
    ) -> None:
        self._stream, self._store, self._clock = stream, store, clock
        self._reservation, self.quote = reservation, quote
        self.parts = [_Part()]
        self.nearly_spent: Sequence[BudgetState] = ()
        self._stored_at = clock.monotonic()
        self._storing: asyncio.Task[None] | None = None

    @property
    def deltas(self) -> AsyncIterator[Delta]:
        """The streamed answer."""
        return self._count_all()

    async def _count_all(self) -> AsyncGenerator[Delta, None]:
        async for delta in self._stream:
            self._count(delta)
            yield delta
        self.parts[-1].has_ended = True

    def _count(self, delta: Delta) -> None:
        if delta.model:
            if self.parts[-1].is_begun:  # the model before failed after it had begun to think
                self.parts.append(_Part())
            self.parts[-1].model = delta.model
        part = self.parts[-1]
        part.usage = delta.usage or part.usage
        part.has_ended = part.has_ended or delta.finish_reason is not None
        part.text += filter(None, (delta.reasoning, delta.text))
        self._store_progress()

    def _store_progress(self) -> None:
        """Store the answer's length every few seconds, one write at a time."""
        now = self._clock.monotonic()
        busy = self._storing is not None and not self._storing.done()
        if now - self._stored_at < PROGRESS_SECONDS or busy:
            return
        self._stored_at = now
        part = self.parts[-1]
        progress = self._progress(part.model or self.quote.model, part.count())
        self._storing = asyncio.create_task(progress, name=f"progress-{self._reservation}")

    async def _progress(self, model: str, tokens: int) -> None:
        with suppress(StoreUnavailable):  # a kill during an outage costs the answer's count
            await self._store.record_progress(self._reservation, model, tokens)

    async def aclose(self) -> None:
        """End the request immediately."""
        if isinstance(self._stream, AsyncGenerator):
            await self._stream.aclose()
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.wait({self._storing})


class _RoomQueue:
    """Requests that wait for a budget that others have reserved, in order, for each line."""

    def __init__(self) -> None:
        self._waiters: defaultdict[tuple[str, str], deque[asyncio.Future[None]]] = defaultdict(
            deque
        )

    async def wait(self, line: BudgetLine) -> None:
        """Wait for `wake`, or for `HELD_SECONDS`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters[_name(line)]
        waiters.append(waiter)
        try:
            async with asyncio.timeout(HELD_SECONDS):
                await waiter
        except TimeoutError:
            pass
        finally:
            with suppress(ValueError):
                waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(_name(line), None)

    def wake(self, lines: Iterable[BudgetLine]) -> None:
        """Let the first waiter of each line look again."""
        for line in lines:
            waiters = self._waiters.get(_name(line), ())
            first = next((waiter for waiter in waiters if not waiter.done()), None)
            if first is not None:
                first.set_result(None)


def _name(line: BudgetLine) -> tuple[str, str]:
    return line.budget.name, line.account
