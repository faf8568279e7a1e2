"""Reports of usage: a person's own for everyone, all of it for administrators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from adapters.web import schemas
from adapters.web.admin import require_admin
from adapters.web.auth import User
from adapters.web.openapi import add_route
from adapters.web.places import CHANNEL, PLATFORM
from adapters.web.serializers import cost_in, timestamp, tokens_of
from bot.domain.conversations import Author, ConversationKey
from bot.domain.money import Currency
from bot.domain.privacy import AuditEntry
from bot.domain.spending import BudgetState, UsageField, UsageQuery, UsageRow
from bot.domain.usage_csv import to_csv
from bot.ports.audit import USAGE_READ, AuditLog
from bot.ports.spending import UsageReporter

log = structlog.stdlib.get_logger(__name__)

CSV = {"text/csv": {"schema": {"type": "string"}}}
CHART_DAYS = 30
OWN = (UsageField.DAY, UsageField.MODEL)
ALL = (UsageField.DAY, UsageField.PERSON, UsageField.CHANNEL, UsageField.MODEL)

_Days = Annotated[int, Query(ge=1, le=366, description="the last days, today included")]
_Day = Annotated[
    str | None,
    Query(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="such as 2026-11-30; included"),
]
_Id = Annotated[str | None, Query(max_length=200)]
_By = Annotated[list[UsageField] | None, Query(max_length=len(UsageField))]


def _query(
    first_day: _Day = None,
    last_day: _Day = None,
    platform: _Id = None,
    workspace: _Id = None,
    channel: _Id = None,
    person: _Id = None,
) -> UsageQuery:
    return UsageQuery(first_day or "", last_day or "9999", platform, workspace, channel, person)


_Query = Annotated[UsageQuery, Depends(_query)]


class UsageRoutes:
    """The routes under /usage and /admin/usage."""

    def __init__(self, reports: UsageReporter, *, audit: AuditLog | None = None) -> None:
        self._reports, self._audit = reports, audit

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        add_route(router, "GET", "/usage", self.own, gives=schemas.OwnUsage)
        add_route(router, "GET", "/usage.csv", self.own_csv, gives_bytes=CSV)
        everything = list[schemas.UsageGroup]
        add_route(router, "GET", "/admin/usage", self.all, gives=everything)
        add_route(router, "GET", "/admin/usage.csv", self.all_csv, gives_bytes=CSV)
        return router

    async def own(self, user: User, days: _Days = CHART_DAYS) -> dict[str, Any]:
        """Return what you used: today, this month, by day, and what is left of your budgets."""
        place = ConversationKey(PLATFORM, user, CHANNEL, "")
        summary = await self._reports.of_person(place, Author(user, user))
        rows = await self._reports.rows(self._of(user, days), (UsageField.DAY,))
        currency = self._reports.currency
        return {
            "today": _amounts(summary.today, currency),
            "month": _amounts(summary.month, currency),
            "budgets": [_budget(state) for state in summary.budgets],
            "first_day": self._reports.first_day(days),
            "last_day": self._reports.today().isoformat(),
            "days": [{"day": row.group[0], **_amounts(row, currency)} for row in rows],
        }

    async def own_csv(self, user: User, days: _Days = CHART_DAYS) -> Response:
        """Return what you used by day and model, as CSV."""
        return self._csv(await self._reports.rows(self._of(user, days), OWN), OWN)

    def _of(self, user: str, days: int) -> UsageQuery:
        first = self._reports.first_day(days)
        return UsageQuery(first, platform=PLATFORM, person=user)  # also in shared channels

    # ── administrators ────────────────────────────────────────────────────────────────────────
    async def all(
        self,
        request: Request,
        user: User,
        query: _Query,
        by: _By = None,
    ) -> list[dict[str, Any]]:
        """Return what all people used, by day, person, channel and model unless `by` says
        otherwise.

        An empty `person` groups the requests made for no one in particular: summaries and
        transcripts.
        """
        rows, fields = await self._read(request, user, query, by)
        currency = self._reports.currency
        return [
            {"group": dict(zip(fields, row.group, strict=True)), **_amounts(row, currency)}
            for row in rows
        ]

    async def all_csv(
        self,
        request: Request,
        user: User,
        query: _Query,
        by: _By = None,
    ) -> Response:
        """Return the same as CSV."""
        rows, fields = await self._read(request, user, query, by)
        return self._csv(rows, fields)

    async def _read(
        self, request: Request, user: str, query: UsageQuery, by: list[UsageField] | None
    ) -> tuple[list[UsageRow], tuple[UsageField, ...]]:
        require_admin(request, user)
        log.info("an administrator reads usage", admin=user)
        fields = tuple(dict.fromkeys(by or ALL))
        await self._record(user, query, fields)
        return list(await self._reports.rows(query, fields)), fields

    def _csv(self, rows: Sequence[UsageRow], fields: Sequence[UsageField]) -> Response:
        headers = {"Content-Disposition": 'attachment; filename="usage.csv"'}
        text = to_csv(rows, fields, self._reports.currency)
        return Response(text, media_type="text/csv", headers=headers)

    async def _record(self, user: str, query: UsageQuery, fields: tuple[UsageField, ...]) -> None:
        """Record the access, before anything is returned: reports name people."""
        if self._audit is None:
            return
        place = ConversationKey(
            query.platform or "", query.workspace or "", query.channel or "", ""
        )
        details = {"by": [field.value for field in fields]}
        await self._audit.record(AuditEntry(USAGE_READ, place, user, query.person or "", details))


def _amounts(row: UsageRow, currency: Currency) -> dict[str, Any]:
    return {
        "requests": row.requests,
        **tokens_of(row.usage),
        **cost_in(currency, row.cost),
        "requests_without_price": row.unpriced,
        "estimated_requests": row.estimates,
    }


def _budget(state: BudgetState) -> dict[str, Any]:
    line, budget = state.line, state.line.budget
    number = budget.currency.number if line.in_money else float
    return {
        "scope": budget.scope.value,
        "period": budget.period.value,
        "unit": "money" if line.in_money else "tokens",
        "currency": budget.currency.code if line.in_money else None,
        "limit": float(budget.amount or 0) if line.in_money else float(line.limit),
        "spent": number(state.spent),
        "left": number(state.left),
        "full_at": timestamp(line.period.ends_at),
    }
