"""Spending: what requests to models cost, whom it is counted for, and the budgets that limit it.

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
"""The share of a budget at which people get a notice, once."""


class Purpose(StrEnum):
    """Why a model was asked. The values are stored."""

    ANSWER = "answer"
    SUMMARY = "summary"
    TRANSCRIPT = "transcript"


@dataclass(frozen=True, slots=True)
class Spender:
    """Whom a request is for: a place, and a person if one asked for it.

    `fence`: the attempt at the turn that asks; None for requests outside of turns.
    """

    key: ConversationKey
    author: Author | None = None
    fence: Fence | None = None
    purpose: Purpose = Purpose.ANSWER


@dataclass(frozen=True, slots=True)
class PeriodSpan:
    """One day or month: its stored name, and when it ends, in Unix seconds."""

    name: str
    ends_at: float


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """A budget that counts a request: for which account, and in which period.

    `is_limit`: a request needs room in it. A cheaper model that answers once the budget is spent
    is counted and not limited by it.
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
        """Whether the limit is one of money."""
        return self.budget.in_money


def account_of(scope: BudgetScope, key: ConversationKey, author: Author | None) -> str | None:
    """Whose spending a budget counts together; None if it does not count this request.

    A digest: the sum must survive a person's erasure, or `/forget me` would fill their budget
    again. The page names a workspace after its person, so places are digests, too. What the person
    uses in its shared channels counts with the rest.
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
    """The most that a request may cost. `cost` and its parts are None if a price is not known.

    `input_cost` is what the estimated input costs alone, `output_price` each token of the answer.
    `unpriced` are the models of the chain without a known price.
    """

    model: str
    input_tokens: int
    max_output: int
    input_cost: int | None = None
    output_price: float | None = None
    unpriced: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Input and answer."""
        return self.input_tokens + self.max_output

    @property
    def cost(self) -> int | None:
        """In billionths of a dollar."""
        if self.input_cost is None or self.output_price is None:
            return None
        return self.input_cost + round(self.output_price * self.max_output)

    def cost_of(self, usage: Usage) -> int | None:
        """What `usage` costs at the prices of the reservation, without those of caches."""
        if self.input_cost is None or self.output_price is None:
            return None
        asked = self.input_cost * usage.input_tokens / max(1, self.input_tokens)
        return round(asked + self.output_price * usage.output_tokens)


@dataclass(frozen=True, slots=True)
class Booking:
    """What one request used; `cost` is None if the price of `model` is not known."""

    model: str
    usage: Usage
    cost: int | None
    is_estimate: bool = False


class Refusal(StrEnum):
    """Why nothing was reserved."""

    SPENT = "spent"  # a budget is used up
    HELD = "held"  # a budget is used up, or reserved by requests that run at the moment


@dataclass(frozen=True, slots=True)
class Reserved:
    """A reservation in the books, by its row id. `has_room`: for another request after it."""

    id: int
    has_room: bool = True


@dataclass(frozen=True, slots=True)
class NotReserved:
    """The first line that has no room, and why."""

    refusal: Refusal
    line: BudgetLine


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A line with what is spent and reserved, in its unit."""

    line: BudgetLine
    spent: int
    reserved: int

    @property
    def left(self) -> int:
        """What may still be spent."""
        return max(0, self.line.limit - self.spent)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which usage is wanted; "" and None: any. Days are inclusive, such as 2026-11-30.

    `person` None is all people; "" are the requests of no person, such as summaries.
    """

    first_day: str = ""
    last_day: str = "9999"
    platform: str | None = None
    workspace: str | None = None
    channel: str | None = None
    person: str | None = None


class UsageField(StrEnum):
    """What usage may be grouped by."""

    DAY = "day"
    PLATFORM = "platform"
    WORKSPACE = "workspace"
    CHANNEL = "channel"
    PERSON = "person"
    MODEL = "model"
    PURPOSE = "purpose"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The usage of one group: `group` has the values of the fields that were asked for.

    `estimates` are requests whose tokens the provider did not count, `unpriced` those whose price
    is not known; their money is missing in `cost`.
    """

    group: tuple[str, ...]
    requests: int
    usage: Usage
    cost: int
    estimates: int = 0
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """The usage of today and of this month, and the budgets that limit it."""

    today: UsageRow
    month: UsageRow
    budgets: tuple[BudgetState, ...] = ()
    models: tuple[UsageRow, ...] = ()  # of the month, by model
