"""Spending: the cost of requests to models, the accounts it is charged to, and the budgets that
limit it.

Money is a whole number of billionths of a US dollar (`bot.domain.money.NANO` of them are one
dollar), so that sums are exact: a cached token of a small model costs five.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from bot.domain.conversations import Author, ConversationKey
from bot.domain.model import Usage
from bot.domain.policy import Budget, BudgetScope
from bot.domain.turns import Fence

NEARLY_SPENT = 0.8
"""The share of a budget at which people get a single notice."""


class Purpose(StrEnum):
    """The purpose of a request to a model. The values are stored."""

    ANSWER = "answer"
    SUMMARY = "summary"
    TRANSCRIPT = "transcript"


@dataclass(frozen=True, slots=True)
class Spender:
    """Whom a request is charged to: a place, and the person who asked, if any.

    `fence` is the attempt at the turn that makes the request; None outside of turns.
    """

    key: ConversationKey
    author: Author | None = None
    fence: Fence | None = None
    purpose: Purpose = Purpose.ANSWER


@dataclass(frozen=True, slots=True)
class PeriodSpan:
    """One day or month: its stored name, and its end in Unix seconds."""

    name: str
    ends_at: float


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """A budget that a request counts towards, with the account and the period.

    `is_limit`: the request needs room in the budget. When a budget is spent and its cheaper model
    answers, the budget still counts the request but does not limit it.
    """

    budget: Budget
    account: str
    period: PeriodSpan
    is_limit: bool = True

    @property
    def limit(self) -> int:
        """The amount, in tokens or billionths of a dollar."""
        return self.budget.limit

    @property
    def in_money(self) -> bool:
        """Whether the budget limits money."""
        return self.budget.in_money


def account_of(scope: BudgetScope, key: ConversationKey, author: Author | None) -> str | None:
    """The account that a budget charges a request to; None if the budget does not count the
    request.

    Accounts are digests, because the sum must survive a person's erasure; otherwise `/forget me`
    would refill their budget. Places are digests too, because the page names a workspace after its
    person. A person's use of the page's shared channels is charged to the same account.
    """
    parts = [key.platform, key.workspace]
    match scope:
        case BudgetScope.PERSON:
            if author is None:
                return None
            parts = [key.platform, key.counting_workspace(author.id), author.id]
        case BudgetScope.CHANNEL:
            parts.append(key.channel)
        case BudgetScope.WORKSPACE:
            pass
        case BudgetScope.ALL:
            return "all"
    name = "/".join(parts).encode()
    return f"{scope.value}:{hashlib.blake2b(name, digest_size=16).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Quote:
    """The most that a request may cost. `cost` and its parts are None if a price is unknown.

    `input_cost` is the cost of the estimated input alone, `output_price` the price of one answer
    token. `unpriced` lists the models of the chain without a known price.
    """

    model: str
    input_tokens: int
    max_output: int
    input_cost: int | None = None
    output_price: float | None = None
    unpriced: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens of the input and the longest answer."""
        return self.input_tokens + self.max_output

    @property
    def cost(self) -> int | None:
        """The total in billionths of a dollar."""
        if self.input_cost is None or self.output_price is None:
            return None
        return self.input_cost + round(self.output_price * self.max_output)

    def cost_of(self, usage: Usage) -> int | None:
        """The cost of `usage` at the reserved prices, ignoring cache prices."""
        if self.input_cost is None or self.output_price is None:
            return None
        asked = self.input_cost * usage.input_tokens / max(1, self.input_tokens)
        return round(asked + self.output_price * usage.output_tokens)


@dataclass(frozen=True, slots=True)
class Booking:
    """What one request used; `cost` is None if the price of `model` is unknown."""

    model: str
    usage: Usage
    cost: int | None
    is_estimate: bool = False


class Refusal(StrEnum):
    """Why no reservation was made."""

    SPENT = "spent"  # a budget is used up
    HELD = "held"  # a budget is used up, or reserved for requests that are currently running


@dataclass(frozen=True, slots=True)
class Reserved:
    """A reservation in the books, by its row id. `has_room`: the budgets allow another request
    after it."""

    id: int
    has_room: bool = True


@dataclass(frozen=True, slots=True)
class NotReserved:
    """The first line without room, and the reason."""

    refusal: Refusal
    line: BudgetLine


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A line with its spent and reserved amounts, in its unit."""

    line: BudgetLine
    spent: int
    reserved: int

    @property
    def left(self) -> int:
        """The amount that may still be spent."""
        return max(0, self.line.limit - self.spent)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Selects usage; "" and None match any. Days are inclusive, such as 2026-11-30.

    A `person` of None selects all people; "" selects requests without a person, such as summaries.
    """

    first_day: str = ""
    last_day: str = "9999"
    platform: str | None = None
    workspace: str | None = None
    channel: str | None = None
    person: str | None = None


class UsageField(StrEnum):
    """A field that usage can be grouped by."""

    DAY = "day"
    PLATFORM = "platform"
    WORKSPACE = "workspace"
    CHANNEL = "channel"
    PERSON = "person"
    MODEL = "model"
    PURPOSE = "purpose"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The usage of one group: `group` has the values of the requested fields.

    `estimates` counts requests whose tokens the provider did not report; `unpriced` counts those
    with an unknown price, which are missing from `cost`.
    """

    group: tuple[str, ...]
    requests: int
    usage: Usage
    cost: int
    estimates: int = 0
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """The usage of today and of this month, and the budgets that apply."""

    today: UsageRow
    month: UsageRow
    budgets: tuple[BudgetState, ...] = ()
    models: tuple[UsageRow, ...] = ()  # of the month, by model
