"""Parses amounts, currencies and rates from `threadline.toml`, such as `2 € a day`; pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

from bot.config.problems import quote
from bot.domain.money import FORMS, codes_of
from bot.domain.policy import Period

MAX_DOLLARS = 1_000_000
"""The largest budget in US dollars. Its value in billionths, and the sums of many requests, fit an
integer column."""

MAX_RATE = 1_000_000.0
"""The most units per US dollar; even the rial, at about 42,000, is far below."""

EXAMPLES = 'write amount = "2 EUR a day", with a currency code or sign, and a decimal point'
RATE = "write what one US dollar costs in the currency, such as usd_rate = 0.86 for euros"

_AMOUNT = re.compile(
    r"(?P<before>[^\d\s.,/]{1,4})? ?(?P<number>[0-9]{1,12}(?:\.[0-9]{1,20})?)"
    r" ?(?P<after>[^\d\s.,/]{1,4})?(?: ?(?:\ba\b|\bper\b|/) ?(?P<period>day|month))?"
)


@dataclass(frozen=True, slots=True)
class WrittenAmount:
    """An amount as written in the file: `currency` is a code or a sign; `period` is optional."""

    value: Decimal
    currency: str
    period: Period | None


def parse_amount(text: str) -> WrittenAmount:
    """Parse an amount. Raises ValueError with a sentence that says what to write."""
    found = _AMOUNT.fullmatch(" ".join(text.split()))
    signs = [] if found is None else [each for each in (found["before"], found["after"]) if each]
    if found is None or len(signs) != 1:
        raise ValueError(f"{quote(text)} is not an amount of money: {EXAMPLES}")
    if not codes_of(signs[0]):
        raise ValueError(f"{quote(signs[0])} is not a currency: write one of {_codes()}")
    period = None if found["period"] is None else Period(found["period"])
    return WrittenAmount(Decimal(found["number"]), signs[0], period)


def check_amount(text: str) -> str:
    """Return the text if it is a valid amount. Raises ValueError."""
    parse_amount(text)
    return text


def check_currency(code: str) -> str:
    """Return the code of a known currency. Raises ValueError."""
    if code not in FORMS:
        raise ValueError(f"{quote(code)} is not the code of a currency: write one of {_codes()}")
    return code


def check_rate(rate: float) -> float:
    """Return a rate that can be used for conversion. Raises ValueError."""
    if not math.isfinite(rate) or not 1 / MAX_RATE <= rate <= MAX_RATE:
        raise ValueError(f"{rate:g} is not a rate: {RATE}")
    return rate


def _codes() -> str:
    return ", ".join(FORMS)
