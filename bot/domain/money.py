"""Money: how the books count it, and the one currency in which a team limits and sees it.

Providers' prices are in US dollars, and so are the books. Amounts are converted where they are read
from `threadline.toml` and where they are shown, at the rate that the operator wrote down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

NANO = 1_000_000_000
"""Units of money in one US dollar."""


class Form(NamedTuple):
    """How a currency is written: its sign in English (CLDR; "": its code), the digits of its
    smallest coin (ISO 4217), and the signs that people at home write.
    """

    sign: str = ""
    digits: int = 2
    at_home: tuple[str, ...] = ()


# A table and not a library: Babel has the formats of all locales, and Threadline speaks English.
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
    """The currencies that a code or a sign may mean; empty if none."""
    if written.upper() in FORMS:
        return frozenset({written.upper()})
    return frozenset(
        code for code, form in FORMS.items() if written in ((form.sign or code), *form.at_home)
    )


@dataclass(frozen=True, slots=True)
class Currency:
    """The team's currency, by its code in `FORMS`. `usd_rate` is what one US dollar costs in it."""

    code: str = "USD"
    usd_rate: Decimal = Decimal(1)

    def cost_of(self, amount: Decimal) -> int:
        """An amount of this currency in billionths of a US dollar.

        Rounded down, so that what it limits is never more than the amount.
        """
        return math.floor(Fraction(amount) * NANO / Fraction(self.usd_rate))

    def number(self, cost: int) -> float:
        """Billionths of a US dollar as a number for programs, to a billionth of this currency."""
        return float(round(self._amount(cost), 9))

    def show(self, cost: int) -> str:
        """Billionths of a US dollar for people, such as `$1.20`, `€0.0034` or `CHF 2.00`."""
        return self.show_amount(self._amount(cost))

    def show_amount(self, amount: Decimal) -> str:
        """An amount of this currency for people, with parts of a coin where coins would hide it."""
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
        """What stands before the number; a code with a space at which no line is broken."""
        return FORMS[self.code].sign or f"{self.code}\N{NO-BREAK SPACE}"


USD = Currency()
"""The currency of providers' prices, and of a team that names no other."""
