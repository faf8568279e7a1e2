"""The ports of spending: the books, the prices, and the meter that every request runs through."""

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

        A line has room while what is spent and reserved is less than its limit, so all requests
        together exceed it by at most one reservation. Raises LostOwnership for a stale fence.
        """
        ...

    async def record_progress(self, reservation: int, model: str, output_tokens: int) -> None:
        """The answer of a request that runs has this many tokens by now."""
        ...

    async def settle(
        self, reservation: int, bookings: Sequence[Booking], lines: Sequence[BudgetLine]
    ) -> Sequence[BudgetState]:
        """Replace a reservation by what was used; no bookings release it.

        Returns those of `lines` of which `NEARLY_SPENT` is used and no one was told yet; they
        count as told. A reservation that was settled before changes nothing.
        """
        ...

    async def states(self, lines: Sequence[BudgetLine]) -> Sequence[BudgetState]:
        """The amounts that are spent and reserved of each line."""
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
        """The time zone of days and months; None is the machine's."""
        ...

    @property
    def currency(self) -> Currency:
        """The currency in which people see amounts."""
        ...

    def today(self) -> date:
        """The date now."""
        ...

    def first_day(self, days: int) -> str:
        """The first of the last `days` days, today included, such as 2026-11-30."""
        ...

    async def of_person(self, key: ConversationKey, author: Author) -> UsageSummary:
        """What the person used in the workspace, and the budgets that count them at this place."""
        ...

    async def of_channel(self, key: ConversationKey) -> UsageSummary:
        """What all people used in the channel, and the budgets that count it for no person."""
        ...

    async def rows(self, query: UsageQuery, by: Sequence[UsageField]) -> Sequence[UsageRow]:
        """The usage of each group."""
        ...


class BudgetSource(Protocol):
    """Which budgets there are."""

    async def budgets(self, key: ConversationKey, author: Author | None) -> Sequence[Budget]:
        """The budgets that count a request at this place for this person. Raises nothing."""
        ...


class PriceList(Protocol):
    """What models cost."""

    async def quote(self, model: ChatModel, request: ChatRequest, input_tokens: int) -> Quote:
        """The most that a request to a model, or to each model of a chain, may cost."""
        ...

    async def cost(self, model: str, usage: Usage) -> int | None:
        """What a request cost, in billionths of a dollar; None if the price is not known."""
        ...


class MeteredStream(Protocol):
    """One request that is counted.

    `nearly_spent` has the budgets that people need to hear of, once the request is settled.
    """

    nearly_spent: Sequence[BudgetState]

    @property
    def deltas(self) -> AsyncIterator[Delta]:
        """The streamed answer."""
        ...


class Meter(Protocol):
    """Counts what requests cost, within the budgets."""

    def stream(
        self,
        spender: Spender,
        model: ChatModel,
        request: ChatRequest,
        input_tokens: float,
        *,
        spent: Collection[str] = (),
    ) -> AbstractAsyncContextManager[MeteredStream]:
        """Reserve, then stream the answer; leaving the block ends the request and settles it.

        `input_tokens` is the estimate of the request. The budgets named `spent` count the request
        and do not limit it. Raises NoBudget before the request is sent, LostOwnership for a stale
        fence, and StoreUnavailable.
        """
        ...

    async def transcribe(
        self, spender: Spender, model: str, work: Callable[[], Awaitable[str]]
    ) -> str:
        """The transcript that `work` gets from a model for speech. Raises as `stream`, and as
        `work`."""
        ...

    async def wait_for_room(self, error: BudgetHeld) -> None:
        """Wait until it may be worth trying again."""
        ...
