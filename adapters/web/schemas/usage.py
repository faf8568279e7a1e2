"""What people used, and what their budgets leave."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from adapters.web.schemas.fields import AT, CurrencyCode
from adapters.web.schemas.records import Usage


class UsageAmounts(Usage):
    """What requests used. The money of `requests_without_price` is missing in `cost`; the tokens
    of `estimated_requests` were not counted by the provider."""

    requests: int
    cost: float
    currency: CurrencyCode
    requests_without_price: int
    estimated_requests: int


class UsageOfDay(UsageAmounts):
    """The usage of a day, such as 2026-11-30."""

    day: str


class BudgetLeft(BaseModel):
    """A budget that applies to you, in its `unit`, and when it is full again. `currency` is null
    for a budget of tokens."""

    scope: Literal["person", "channel", "workspace", "all"]
    period: Literal["day", "month"]
    unit: Literal["money", "tokens"]
    currency: CurrencyCode | None
    limit: float
    spent: float
    left: float
    full_at: Annotated[str, Field(description=AT)]


class OwnUsage(BaseModel):
    """What you used. `days` has only days with usage, from `first_day` to `last_day`."""

    today: UsageAmounts
    month: UsageAmounts
    budgets: list[BudgetLeft]
    first_day: str
    last_day: str
    days: list[UsageOfDay]


class UsageGroup(UsageAmounts):
    """What one group used; `group` has the fields of `by`."""

    group: dict[str, str]
