"""Money: the unit in the books, and the currency in which a team sets limits and sees amounts.

Providers' prices and the books are in US dollars. Amounts are converted when they are read from
`threadline.toml` and when they are shown, at the rate that the operator configured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

NANO = 1_000_000_000
"""Units of money per US dollar."""


class Form(NamedTuple):
    """How to write a currency: its sign in English (from CLDR; "" means its code), the number of
    digits of its smallest coin (ISO 4217), and the signs in local use."""

    sign: str = ""
    digits: int = 2
    at_home: tuple[str, ...] = ()


# A table instead of a library: Babel ships the formats of all locales, and Threadline speaks
# English.
FORMS: Mapping[str, Form] = {
    "AED": Form(),
    "ARS": Form(at_home=("$",)),
    "AUD": Form("A$", at_home=("$",)),
    "BGN": Form(at_home=("лв",)),
    "BRL": Form("R$"),
    "CAD": Form("CA$", at_home=("$",)),
    "CHF": Form(at_home=("Fr",)),
    "CLP": Form(digits=0, at_home=("$",)),
    "CNY": Form("CN¥", at_home=("¥",)),
    "COP": Form(at_home=("$",)),
    "CZK": Form(at_home=("Kč",)),
    "DKK": Form(at_home=("kr",)),
    "EUR": Form("€"),
    "GBP": Form("£"),
    "HKD": Form("HK$", at_home=("$",)),
    "HUF": Form(at_home=("Ft",)),
    "IDR": Form(at_home=("Rp",)),
    "ILS": Form("₪"),
    "INR": Form("₹"),
    "ISK": Form(digits=0, at_home=("kr",)),
    "JPY": Form("¥", digits=0),
    "KRW": Form("₩", digits=0),
    "MXN": Form("MX$", at_home=("$",)),
    "MYR": Form(at_home=("RM",)),
    "NOK": Form(at_home=("kr",)),
    "NZD": Form("NZ$", at_home=("$",)),
    "PHP": Form("₱"),
    "PLN": Form(at_home=("zł",)),
    "RON": Form(at_home=("lei",)),
    "SAR": Form(),
    "SEK": Form(at_home=("kr",)),
    "SGD": Form(at_home=("S$", "$")),
    "THB": Form(at_home=("฿",)),
    "TRY": Form(at_home=("₺",)),
    "TWD": Form("NT$", at_home=("$",)),
    "UAH": Form(at_home=("₴",)),
    "USD": Form("$"),
    "VND": Form("₫", digits=0),
    "ZAR": Form(at_home=("R",)),
}


def codes_of(written: str) -> frozenset[str]:
    """The currencies that a code or sign may refer to; empty if none."""
    if written.upper() in FORMS:
        return frozenset({written.upper()})
    return frozenset(
        code for code, form in FORMS.items() if written in ((form.sign or code), *form.at_home)
    )


@dataclass(frozen=True, slots=True)
class Currency:
    """The team's currency, by its code in `FORMS`. `usd_rate` is the price of one US dollar in
    it."""

    code: str = "USD"
    usd_rate: Decimal = Decimal(1)

    def cost_of(self, amount: Decimal) -> int:
        """Convert an amount in this currency to billionths of a US dollar.

        Rounds down, so that a limit never allows more than the amount.
        """
        return math.floor(Fraction(amount) * NANO / Fraction(self.usd_rate))

    def number(self, cost: int) -> float:
        """Convert billionths of a US dollar to this currency for programs, with nine decimals."""
        return float(round(self._amount(cost), 9))

    def show(self, cost: int) -> str:
        """Format billionths of a US dollar for people, such as `$1.20`, `€0.0034` or `CHF 2.00`."""
        return self.show_amount(self._amount(cost))

    def show_amount(self, amount: Decimal) -> str:
        """Format an amount in this currency for people; small amounts get more digits than coins
        have."""
        digits = FORMS[self.code].digits
        if amount == 0 or amount >= Decimal(10) ** (1 - digits):
            return f"{self._sign}{amount:,.{digits}f}"
        least = Decimal(10) ** -(digits + 2)
        words = "under " if amount < least else ""
        return f"{words}{self._sign}{max(amount, least):.{digits + 2}f}"

    def _amount(self, cost: int) -> Decimal:
        return Decimal(cost) * self.usd_rate / NANO

    @property
    def _sign(self) -> str:
        """The text before the number: a sign, or a code with a non-breaking space."""
        return FORMS[self.code].sign or f"{self.code}\N{NO-BREAK SPACE}"


USD = Currency()
"""The currency of providers' prices, and the default for a team."""
