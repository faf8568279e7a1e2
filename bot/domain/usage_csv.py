"""Usage as CSV, for the API and the command line."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from bot.domain.money import Currency
from bot.domain.spending import UsageField, UsageRow

COLUMNS = (
    "requests",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "{cost}",  # such as cost_eur
    "requests_without_price",
    "estimated_requests",
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets treat a cell that begins like this as a formula."""


def to_csv(rows: Sequence[UsageRow], by: Sequence[UsageField], currency: Currency) -> str:
    """Write the rows below a header; `by` names the fields of each row's group."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    cost = f"cost_{currency.code.lower()}"
    columns = (name.format(cost=cost) for name in COLUMNS)
    writer.writerow([*(field.value for field in by), *columns])
    for row in rows:
        writer.writerow([*map(_harmless, row.group), *_amounts(row, currency)])
    return file.getvalue()


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _amounts(row: UsageRow, currency: Currency) -> tuple[object, ...]:
    usage = row.usage
    return (
        row.requests,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        f"{currency.number(row.cost):.9f}",
        row.unpriced,
        row.estimates,
    )
