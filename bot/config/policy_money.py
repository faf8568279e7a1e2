"""Checks the currency of `threadline.toml`, and that its amounts are in this currency; pure.

Nothing is fetched: the operator writes the rate down, and a file has a single currency.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from bot.config.file import ConfigFile, Problem
from bot.config.policy_amounts import MAX_DOLLARS, RATE, WrittenAmount, parse_amount
from bot.config.problems import quote
from bot.domain.money import NANO, USD, Currency, codes_of


def currency_of(file: ConfigFile) -> Currency:
    """The currency of the file, taken from its valid parts."""
    code, rate = file.contents.currency or USD.code, file.contents.usd_rate
    return USD if code == USD.code or rate is None else Currency(code, Decimal(str(rate)))


def find_problems(file: ConfigFile) -> Iterator[Problem]:
    """Report a currency without a rate, or a rate without a currency."""
    code, rate = file.contents.currency, file.contents.usd_rate
    if code is not None and code != USD.code and not file.sets("usd_rate"):
        sentence = f"currency: prices are in US dollars, so {code} needs a rate: {RATE}"
        yield file.problem(("currency",), sentence)
    if rate is not None and not file.sets("currency"):
        sentence = 'usd_rate: write the currency that it is for, too, such as currency = "EUR"'
        yield file.problem(("usd_rate",), sentence)
    if rate not in (None, 1) and code == USD.code:
        yield file.problem(("usd_rate",), "usd_rate: the currency is USD: delete this line")


def find_wrong_amount(file: ConfigFile, text: str) -> str:
    """Why an amount in the file cannot be used; "" if it can."""
    code, written = file.contents.currency, parse_amount(text)
    if code is None and file.sets("currency"):
        return ""  # already reported elsewhere
    if (code or USD.code) not in codes_of(written.currency):
        return _in_another_currency(text, code, written)
    if currency_of(file).cost_of(written.value) > MAX_DOLLARS * NANO:
        return f"{quote(text)} is more than {MAX_DOLLARS:,} US dollars"
    return ""


def _in_another_currency(text: str, code: str | None, written: WrittenAmount) -> str:
    if code is not None:
        return (
            f"{quote(text)} is not in {code}, the currency of this file: convert it, because a "
            "file has one currency"
        )
    meant = " or ".join(sorted(codes_of(written.currency)))
    return (
        f"{quote(text)} is not in US dollars: at the top of the file, write the currency "
        f"({meant}) and what one US dollar costs in it, such as "
        'currency = "EUR" and usd_rate = 0.86'
    )
