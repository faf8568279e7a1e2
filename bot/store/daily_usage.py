"""The usage of each day by place, person and model: sums for reports, not used for budgets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bot.domain.conversations import ConversationKey
from bot.domain.model import Usage
from bot.domain.spending import (
    Booking,
    UsageField,
    UsageQuery,
    UsageRow,
)
from bot.store.database import Database, Row

MOST_ROWS = 10_000_000
"""More than any report has: a row is one person's day in a channel."""

_COUNTED = (
    "requests",
    "estimates",
    "unpriced",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost",
)
_ADD = ", ".join(f"{name} = usage_by_day.{name} + excluded.{name}" for name in _COUNTED)
_KEYS = ("platform", "workspace", "person", "day", "channel", "model", "purpose")
_ADD_USAGE = (
    f"INSERT INTO usage_by_day ({', '.join((*_KEYS, *_COUNTED))})"  # noqa: S608 - our words
    f" VALUES ({', '.join(f':{name}' for name in (*_KEYS, *_COUNTED))})"
    f" ON CONFLICT ({', '.join(_KEYS)}) DO UPDATE SET {_ADD}"
)


def count(db: Database, booked: Iterable[tuple[Row, Booking]]) -> None:
    """Add each request's booking to the usage of its day.

    Rows are updated in sorted order, because they have no locks: transactions that update the same
    rows concurrently then cannot deadlock.
    """
    values = [_counted(row, booking) for row, booking in booked]
    for each in sorted(values, key=lambda value: [str(value[name]) for name in _KEYS]):
        db.execute(_ADD_USAGE, each)


def _counted(row: Row, booking: Booking) -> dict[str, Any]:
    values = {name: row[name] for name in _KEYS} | columns_of(booking.usage)
    counts = {
        "model": booking.model,
        "requests": 1,
        "estimates": int(booking.is_estimate),
        "unpriced": int(booking.cost is None),
        "cost": booking.cost or 0,
    }
    return values | counts


def columns_of(usage: Usage) -> dict[str, int]:
    """The token counts of one request, by column."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


def forget_person(db: Database, platform: str, workspace: str, person: str) -> None:
    """Make the person's usage anonymous."""
    _forget(
        db,
        "platform = ? AND workspace = ? AND person = ? AND person <> ''",
        (platform, workspace, person),
    )


def forget_channel(db: Database, key: ConversationKey, before_day: str) -> None:
    """Make usage in a channel from before that day anonymous."""
    _forget(
        db,
        "platform = ? AND workspace = ? AND channel = ? AND person <> '' AND day < ?",
        (key.platform, key.workspace, key.channel, before_day),
    )


def _forget(db: Database, where: str, values: Sequence[str]) -> None:
    rows = f"FROM usage_by_day WHERE {where}"
    for row in db.execute(f"SELECT * {rows}", values).fetchall():
        db.execute(_ADD_USAGE, dict(row) | {"person": ""})
    db.execute(f"DELETE {rows}", values)


def usage(
    db: Database, query: UsageQuery, by: Sequence[UsageField], *, limit: int
) -> list[UsageRow]:
    exact = {
        "platform": query.platform,
        "workspace": query.workspace,
        "channel": query.channel,
        "person": query.person,
    }
    given = {name: value for name, value in exact.items() if value is not None}
    where = " AND ".join(("day BETWEEN :first AND :last", *(f"{name} = :{name}" for name in given)))
    group = ", ".join(field.value for field in by)
    sums = ", ".join(f"CAST(coalesce(sum({name}), 0) AS BIGINT) AS {name}" for name in _COUNTED)
    found = db.execute(
        f"SELECT {f'{group}, ' if group else ''}{sums} FROM usage_by_day WHERE {where}"  # noqa: S608
        f"{f' GROUP BY {group} ORDER BY {group}' if group else ''} LIMIT :limit",
        given | {"first": query.first_day, "last": query.last_day, "limit": limit},
    )
    return [_usage_row(row, by) for row in found]


def _usage_row(row: Row, by: Sequence[UsageField]) -> UsageRow:
    return UsageRow(
        group=tuple(row[field.value] for field in by),
        requests=row["requests"],
        usage=Usage(
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            cached_tokens=row["cached_tokens"],
            cache_write_tokens=row["cache_write_tokens"],
            reasoning_tokens=row["reasoning_tokens"],
        ),
        cost=row["cost"],
        estimates=row["estimates"],
        unpriced=row["unpriced"],
    )
