"""Usage as CSV, for the API and the command line."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from bot.domain.spending import NANO, UsageField, UsageRow

COLUMNS = (
    "requests",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "dollars",
    "requests_without_price",
    "estimated_requests",
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins like this is a formula for spreadsheets."""


def to_csv(rows: Sequence[UsageRow], by: Sequence[UsageField]) -> str:
    """The rows with a header; `by` names the fields of each row's group."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*(field.value for field in by), *COLUMNS])
    for row in rows:
        writer.writerow([*map(_harmless, row.group), *_amounts(row)])
    return file.getvalue()


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _amounts(row: UsageRow) -> tuple[object, ...]:
    usage = row.usage
    return (
        row.requests,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        f"{row.cost / NANO:.9f}",
        row.unpriced,
        row.estimates,
    )
