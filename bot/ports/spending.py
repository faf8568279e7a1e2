"""The spending ports: the books, the prices, and the meter that every request passes through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, tzinfo
from typing import Protocol

from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import BudgetHeld
from bot.domain.model import ChatRequest, Delta, Usage
from bot.domain.money import Currency
from bot.domain.policy import Budget
from bot.domain.spending import (
    Booking,
    BudgetLine,
    BudgetState,
    NotReserved,
    Quote,
    Reserved,
    Spender,
    UsageField,
    UsageQuery,
    UsageRow,
    UsageSummary,
)
from bot.ports.model import ChatModel


class SpendingStore(Protocol):
    """The books. All methods raise StoreUnavailable if the database fails."""

    async def reserve(
        self, spender: Spender, lines: Sequence[BudgetLine], quote: Quote, day: str
    ) -> Reserved | NotReserved:
        """Check the lines and reserve what the request may cost, in one transaction.

        A line has room while its spent and reserved amounts are below its limit, so all requests
        together exceed the limit by at most one reservation. Raises LostOwnership for a stale
        fence.
        """
        ...

    async def record_progress(self, reservation: int, model: str, output_tokens: int) -> None:
        """Record how many tokens the answer of a running request has so far."""
        ...

    async def settle(
        self, reservation: int, bookings: Sequence[Booking], lines: Sequence[BudgetLine]
    ) -> Sequence[BudgetState]:
        """Replace a reservation with the actual usage; without bookings, just release it.

        Returns those of `lines` that have passed `NEARLY_SPENT` without a notice so far; the notice
        then counts as given. If the reservation was already settled, nothing changes.
        """
        ...

    async def states(self, lines: Sequence[BudgetLine]) -> Sequence[BudgetState]:
        """The spent and reserved amounts of each line."""
        ...

    async def usage(
        self, query: UsageQuery, by: Sequence[UsageField], *, limit: int
    ) -> Sequence[UsageRow]:
        """The usage of each group, sorted by the group."""
        ...


class UsageReporter(Protocol):
    """Reports of usage. The methods raise StoreUnavailable if the database fails."""

    @property
    def zone(self) -> tzinfo | None:
        """The time zone of days and months; None means the machine's."""
        ...

    @property
    def currency(self) -> Currency:
        """The currency in which people see amounts."""
        ...

    def today(self) -> date:
        """The current date."""
        ...

    def first_day(self, days: int) -> str:
        """The first of the last `days` days, counting today, such as 2026-11-30."""
        ...

    async def of_person(self, key: ConversationKey, author: Author) -> UsageSummary:
        """The person's usage in the workspace, and the budgets that apply to them at this place."""
        ...

    async def of_channel(self, key: ConversationKey) -> UsageSummary:
        """The usage of everyone in the channel, and its budgets that are not for individuals."""
        ...

    async def rows(self, query: UsageQuery, by: Sequence[UsageField]) -> Sequence[UsageRow]:
        """The usage of each group."""
        ...


class BudgetSource(Protocol):
    """Finds the budgets that apply."""

    async def budgets(self, key: ConversationKey, author: Author | None) -> Sequence[Budget]:
        """The budgets that count a request at this place by this person. Never raises."""
        ...


class PriceList(Protocol):
    """The prices of models."""

    async def quote(self, model: ChatModel, request: ChatRequest, input_tokens: int) -> Quote:
        """The most that a request to a model, or to each model of a chain, may cost."""
        ...

    async def cost(self, model: str, usage: Usage) -> int | None:
        """The cost of a request in billionths of a dollar; None if the price is unknown."""
        ...


class MeteredStream(Protocol):
    """One metered request.

    Once the request is settled, `nearly_spent` has the budgets that people need to be told about.
    """

    nearly_spent: Sequence[BudgetState]

    @property
    def deltas(self) -> AsyncIterator[Delta]:
        """The streamed answer."""
        ...


class Meter(Protocol):
    """Measures the cost of requests and keeps them within the budgets."""

    def stream(
        self,
        spender: Spender,
        model: ChatModel,
        request: ChatRequest,
        input_tokens: float,
        *,
        spent: Collection[str] = (),
    ) -> AbstractAsyncContextManager[MeteredStream]:
        """Reserve the cost, then stream the answer; leaving the block ends the request and settles
        it.

        `input_tokens` is the estimated size of the request. Budgets named in `spent` count the
        request but do not limit it. Raises NoBudget before the request is sent, LostOwnership for a
        stale fence, and StoreUnavailable.
        """
        ...

    async def transcribe(
        self, spender: Spender, model: str, work: Callable[[], Awaitable[str]]
    ) -> str:
        """Return the transcript that `work` gets from a speech model. Raises what `stream` and
        `work` raise."""
        ...

    async def wait_for_room(self, error: BudgetHeld) -> None:
        """Wait until another attempt may succeed."""
        ...
