"""The meter when its caller is cancelled, and the order of requests that wait for a budget."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bot.common.clock import SystemClock
from bot.domain.errors import BudgetHeld, ModelFailed, StoreUnavailable
from bot.domain.model import ChatRequest, Delta, Usage
from bot.domain.policy import Budget, BudgetScope, Period
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
from bot.policy.meter import BudgetMeter
from bot.ports.metrics import NO_OBSERVER, NullObserver, Observer
from tests.support.core_kit import ScriptedModel
from tests.support.policy_kit import NoBudgets
from tests.support.store_kit import ANN, key, until

SPENDER = Spender(key(), ANN)


class Books:
    """A store whose writes wait for `ready`, and fail `failures` times."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.ready.set()
        self.failures = 0
        self.room = 10
        self.begun = 0  # writes
        self.told: Sequence[BudgetLine] = ()
        self.settled: list[Sequence[Booking]] = []

    async def reserve(
        self, spender: Spender, lines: Sequence[BudgetLine], quote: Quote, day: str
    ) -> Reserved | NotReserved:
        await self._write()
        if not self.room:
            return NotReserved(Refusal.HELD, lines[0])
        self.room -= 1
        return Reserved(self.room, has_room=self.room > 0)

    async def settle(
        self, reservation: int, bookings: Sequence[Booking], lines: Sequence[BudgetLine]
    ) -> Sequence[BudgetState]:
        await self._write()
        self.room += 1
        self.settled.append(bookings)
        self.told = lines
        return ()

    async def _write(self) -> None:
        self.begun += 1
        await self.ready.wait()
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("full")


class Prices:
    async def quote(self, model: object, request: ChatRequest, input_tokens: int) -> Quote:
        return Quote("scripted", input_tokens, 10, 1, 1.0)

    async def cost(self, model: str, usage: Usage) -> int:
        return usage.total_tokens


class OneBudget(NoBudgets):
    async def budgets(self, key: object, author: object) -> Sequence[Budget]:
        return (Budget(name="b", scope=BudgetScope.PERSON, period=Period.DAY, tokens=10),)


def meter_of(books: Books, observer: Observer = NO_OBSERVER) -> BudgetMeter:
    return BudgetMeter(
        store=books,  # type: ignore[arg-type]
        prices=Prices(),  # type: ignore[arg-type]
        budgets=OneBudget(),
        clock=SystemClock(),
        observer=observer,
    )


async def ask(meter: BudgetMeter, model: ScriptedModel) -> list[Delta]:
    async with meter.stream(SPENDER, model, ChatRequest(()), 5.0) as stream:
        return [delta async for delta in stream.deltas]


async def test_a_reservation_whose_caller_was_cancelled_is_released() -> None:
    """The transaction cannot be rolled back, so its reservation would block the budget for
    hours."""
    books, model = Books(), ScriptedModel()
    books.ready.clear()
    meter = meter_of(books)
    task = asyncio.create_task(ask(meter, model))
    await until(lambda: books.begun == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    books.ready.set()
    await until(lambda: list(map(list, books.settled)) == [[]])
    assert (books.room, model.requests) == (10, [])
    await meter.aclose()


async def test_a_cancelled_request_is_settled_once_the_database_works_again() -> None:
    """A stop does not wait for a failing database."""
    books = Books()
    model = ScriptedModel(hold=asyncio.Event())
    meter = meter_of(books)
    task = asyncio.create_task(ask(meter, model))
    await until(lambda: bool(model.requests))
    books.failures = 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: bool(books.settled))
    ((booking,),) = books.settled
    assert booking.is_estimate
    assert booking.usage.input_tokens == 5
    await meter.aclose()


async def test_waiters_for_a_budget_look_again_one_by_one_in_order() -> None:
    books, order = Books(), list[int]()
    books.room = 1
    meter = meter_of(books)
    hold = asyncio.Event()

    async def patient(number: int) -> None:
        model = ScriptedModel(hold=hold, ended=lambda: order.append(number))
        while True:
            try:
                await ask(meter, model)
                return
            except BudgetHeld as error:
                await meter.wait_for_room(error)

    tasks = []
    for number in range(4):
        tasks.append(asyncio.create_task(patient(number)))
        await until(lambda: sum(map(len, meter._queue._waiters.values())) == len(tasks) - 1)
    hold.set()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3]
    assert books.room == 1
    await meter.aclose()


class RemovedPrices(Prices):
    """Removes the model from the configuration while it answers; `look` waits for `ready`."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()

    async def quote(self, model: object, request: ChatRequest, input_tokens: int) -> Quote:
        return Quote("scripted", input_tokens, 10, 5_000, 3_000.0)

    async def cost(self, model: str, usage: Usage) -> int | None:  # type: ignore[override]
        await self.ready.wait()
        return None


async def test_a_second_cancellation_leaves_no_reservation_and_a_lost_price_loses_no_money() -> (
    None
):
    books, prices = Books(), RemovedPrices()
    model = ScriptedModel(hold=asyncio.Event())
    meter = meter_of(books)
    meter._prices = prices  # type: ignore[assignment]
    task = asyncio.create_task(ask(meter, model))
    await until(lambda: bool(model.requests))
    task.cancel()
    for _ in range(5):  # the caller is within the look-up of the price
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    prices.ready.set()
    await until(lambda: bool(books.settled))
    ((booking,),) = books.settled
    assert (booking.usage.input_tokens, booking.usage.output_tokens) == (5, 2)
    assert booking.cost == 5_000 + 2 * 3_000
    assert books.room == 10
    await meter.aclose()


async def test_a_summary_does_not_use_up_the_notice_that_a_budget_is_nearly_spent() -> None:
    """No one reads a summary, so the next answer shows the notice."""
    books = Books()
    meter = meter_of(books)
    for purpose, told in ((Purpose.SUMMARY, 0), (Purpose.ANSWER, 1)):
        spender = Spender(key(), ANN, purpose=purpose)
        async with meter.stream(spender, ScriptedModel(), ChatRequest(()), 5.0) as stream:
            _ = [delta async for delta in stream.deltas]
        assert len(books.told) == told
    await meter.aclose()


async def test_the_observer_hears_of_a_request_once_it_is_in_the_books() -> None:
    """The event includes the purpose; a reservation that is only released causes no event."""
    heard: list[tuple[Purpose, str, int | None]] = []

    class Listening(NullObserver):
        def model_used(self, purpose: Purpose, booking: Booking) -> None:
            assert books.settled, "it is not in the books yet"
            heard.append((purpose, booking.model, booking.cost))

    books = Books()
    meter = meter_of(books, Listening())
    usage = Usage(12, 3)
    model = ScriptedModel(pieces=(Delta("Hello."), Delta(finish_reason="stop", usage=usage)))
    await ask(meter, model)
    summary = Spender(key(), purpose=Purpose.SUMMARY)
    async with meter.stream(summary, model, ChatRequest(()), 5.0) as stream:
        assert [delta.text async for delta in stream.deltas] == ["Hello.", ""]
    failing = ScriptedModel(pieces=(ModelFailed("500"),))
    with pytest.raises(ModelFailed):
        await ask(meter, failing)
    assert heard == [(Purpose.ANSWER, "scripted", 15), (Purpose.SUMMARY, "scripted", 15)]

    async def transcribe() -> str:
        return "some words"

    assert await meter.transcribe(Spender(key(), purpose=Purpose.TRANSCRIPT), "whisper", transcribe)
    assert heard[2][:2] == (Purpose.TRANSCRIPT, "whisper")
