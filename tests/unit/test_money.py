"""The team's currency: the file, the conversion to the books, and how amounts are displayed."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config.loader import load
from bot.config.policy_amounts import parse_amount
from bot.config.policy_report import describe_policy
from bot.domain import evaluation_texts, spending_texts
from bot.domain.conversations import Role
from bot.domain.evaluation import Answer, Case, Speech
from bot.domain.model import Usage
from bot.domain.money import FORMS, NANO, USD, Currency, codes_of
from bot.domain.policy import Budget, BudgetScope, Period
from bot.domain.spending import BudgetLine, PeriodSpan
from bot.evaluation.report import build_report
from tests.support.policy_kit import policy_of
from tests.unit.test_config_policy import problems_of

EUROS = 'currency = "EUR"\nusd_rate = 0.86\n'
EURO = Currency("EUR", Decimal("0.86"))
INTERNS = '[[rules]]\nwhere = "slack:T1"\nbudgets = [{ who = "@interns", amount = "2 € a day" }]'


def only_budget(folder: Path, toml: str) -> Budget:
    config = policy_of(folder, toml)
    (budget,) = (config.rules[0].values if config.rules else config.default).budgets
    return budget


# ── the file ──────────────────────────────────────────────────────────────────────────────────
def test_interns_get_two_euros_a_day(tmp_path: Path) -> None:
    """The README's sentence: 2 € are 2.32 dollars in the books, and people see 2 € again."""
    budget = only_budget(tmp_path, EUROS + INTERNS)
    assert (budget.scope, budget.period, budget.currency) == (BudgetScope.PERSON, Period.DAY, EURO)
    line = BudgetLine(budget, "a", PeriodSpan("2026-11-30", 0.0))
    assert line.limit == 2_325_581_395
    assert spending_texts.amount_of(budget) == "€2.00"
    report = [*describe_policy(load({}, tmp_path / ".env"), policy_of(tmp_path, EUROS + INTERNS))]
    assert report[0] == "money in EUR: 1 US dollar costs 0.86"
    assert report[1].endswith("of €2.00 a day")


@pytest.mark.parametrize(
    "amount",
    [
        "2 € a day",
        "€2 a day",
        "2 EUR per day",
        "2eur/day",
        "2.00 € a day",
        " 2\N{NO-BREAK SPACE}€ a day",
    ],
)
def test_an_amount_may_be_written_in_several_ways(amount: str, tmp_path: Path) -> None:
    toml = f'{EUROS}[[budgets]]\nname = "b"\namount = "{amount}"\n'
    budget = only_budget(tmp_path, toml)
    assert (budget.amount, budget.period) == (2, Period.DAY)


def test_dollars_and_a_separate_period_still_count(tmp_path: Path) -> None:
    for amount in ("dollars = 2.5", 'amount = "$2.50"', 'amount = "2.50 USD"'):
        budget = only_budget(tmp_path, f'[[budgets]]\nperiod = "month"\n{amount}\n')
        assert (budget.amount, budget.period, budget.currency) == (Decimal("2.5"), "month", USD)
        assert budget.name == "person month dollars"


def test_a_budget_without_a_name_keeps_its_books_in_another_currency(tmp_path: Path) -> None:
    before = only_budget(tmp_path, '[[budgets]]\nperiod = "day"\ndollars = 2')
    after = only_budget(tmp_path, EUROS + '[[budgets]]\namount = "2 € a day"')
    assert before.name == after.name


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ('currency = "EUR"', "line 1: currency: prices are in US dollars, so EUR needs a rate: "),
        ("usd_rate = 0.86", "line 1: usd_rate: write the currency that it is for, too"),
        ('currency = "EURO"\nusd_rate = 1.0', "line 1: currency: 'EURO' is not the code of a"),
        ('currency = "EUR"\nusd_rate = 0', "line 2: usd_rate: 0 is not a rate: write what one US"),
        ('currency = "EUR"\nusd_rate = -0.5', "line 2: usd_rate: -0.5 is not a rate"),
        ('currency = "EUR"\nusd_rate = inf', "line 2: usd_rate: inf is not a rate"),
        ('currency = "EUR"\nusd_rate = nan', "line 2: usd_rate: nan is not a rate"),
        ('currency = "EUR"\nusd_rate = "0.86"', 'line 2: usd_rate is "0.86", but must be a number'),
        ('currency = "USD"\nusd_rate = 0.86', "line 2: usd_rate: the currency is USD: delete"),
        (
            f'{EUROS}[[budgets]]\namount = "2 GBP a day"',
            "line 4: budgets[1].amount: '2 GBP a day' is not in EUR, the currency of this file",
        ),
        (
            f'{EUROS}[[budgets]]\nperiod = "day"\ndollars = 2',
            "line 5: budgets[1].dollars: '2.0 USD' is not in EUR, the currency of this file",
        ),
        (
            '[[budgets]]\namount = "2 € a day"',
            "line 2: budgets[1].amount: '2 € a day' is not in US dollars: at the top of the file, "
            "write the currency (EUR) and what one US dollar costs in it",
        ),
        (
            f'{EUROS}[[budgets]]\namount = "2,50 € a day"',
            "budgets[1].amount: '2,50 € a day' is not an amount of money: write amount = ",
        ),
        (f'{EUROS}[[budgets]]\namount = "2 a day"', "'2 a day' is not an amount of money"),
        (f'{EUROS}[[budgets]]\namount = "€2€ a day"', "is not an amount of money"),
        (f'{EUROS}[[budgets]]\namount = "-2 € a day"', "is not an amount of money"),
        (f'{EUROS}[[budgets]]\namount = "2 € a week"', "is not an amount of money"),
        (
            f'{EUROS}[[budgets]]\namount = "2 XYZ a day"',
            "'XYZ' is not a currency: write one of AED",
        ),
        (f'{EUROS}[[budgets]]\namount = "2 €"', "the period is missing: write period = "),
        (f'{EUROS}[[budgets]]\namount = "2 € a day"\nperiod = "day"', "the amount says the period"),
        (f'{EUROS}[[budgets]]\namount = "2 € a day"\ntokens = 5', "exactly one of"),
        (f'{EUROS}[[budgets]]\namount = "1000000000 € a day"', "is more than 1,000,000 US dollars"),
    ],
)
def test_mistakes_have_lines_and_advice(toml: str, expected: str, tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, toml)
    assert expected in problem


def test_one_sign_may_mean_several_currencies_and_the_file_says_which(tmp_path: Path) -> None:
    assert codes_of("€") == {"EUR"} and codes_of("eur") == {"EUR"} and not codes_of("?")
    assert {"USD", "CAD", "AUD"} <= codes_of("$") and codes_of("kr") == {"SEK", "NOK", "DKK", "ISK"}
    toml = 'currency = "SEK"\nusd_rate = 9.4\n[[budgets]]\namount = "20 kr a day"'
    assert only_budget(tmp_path, toml).currency.code == "SEK"
    with pytest.raises(ValueError, match="is not an amount"):
        parse_amount("")


# ── the books ─────────────────────────────────────────────────────────────────────────────────
amounts = st.decimals(min_value=0, max_value=1_000_000, places=4)
rates = st.decimals(min_value="0.000001", max_value=1_000_000, places=6)


@given(amount=amounts, rate=rates)
def test_a_budget_never_allows_more_than_its_amount(amount: Decimal, rate: Decimal) -> None:
    """At most a billionth of a dollar is lost. Requests exceed the budget by one reservation at
    most, because a line has room only while less than its limit is spent and reserved."""
    cost = Currency("EUR", rate).cost_of(amount)
    exactly = amount.as_integer_ratio(), rate.as_integer_ratio()
    (top, bottom), (rate_top, rate_bottom) = exactly
    # cost / NANO × rate <= amount < (cost + 1) / NANO × rate, without rounding
    assert cost * rate_top * bottom <= top * NANO * rate_bottom < (cost + 1) * rate_top * bottom


@given(cost=st.integers(0, 10**18), rate=rates, code=st.sampled_from(sorted(FORMS)))
def test_every_cost_can_be_shown(cost: int, rate: Decimal, code: str) -> None:
    currency = Currency(code, rate)
    shown = currency.show(cost)
    assert (FORMS[code].sign or code) in shown and ("under" not in shown or cost > 0)
    assert currency.number(cost) >= 0 and (currency.number(cost) == 0 or cost > 0)


def test_a_new_rate_revalues_past_spending() -> None:
    """The books are in dollars: after a change of the rate, the same requests cost more of the
    budget."""
    before, after = EURO, Currency("EUR", Decimal("0.5"))
    assert before.cost_of(Decimal(1)) < after.cost_of(Decimal(1))
    assert (before.show(NANO), after.show(NANO)) == ("€0.86", "€0.50")


# ── what people see ───────────────────────────────────────────────────────────────────────────
def test_amounts_are_written_as_in_english() -> None:
    """Fractions of a coin are shown where whole coins would hide the amount."""
    space = "\N{NO-BREAK SPACE}"
    for code, amount, expected in (
        ("USD", "0", "$0.00"),
        ("USD", "1234.5", "$1,234.50"),
        ("USD", "0.0123", "$0.0123"),
        ("USD", "0.00001", "under $0.0001"),
        ("EUR", "2", "€2.00"),
        ("CAD", "2", "CA$2.00"),
        ("CHF", "2.5", f"CHF{space}2.50"),
        ("SEK", "0.05", f"SEK{space}0.0500"),
        ("JPY", "250", "¥250"),
        ("JPY", "2.5", "¥2.50"),
        ("JPY", "0.001", "under ¥0.01"),
    ):
        assert Currency(code).show_amount(Decimal(amount)) == expected


def test_replays_are_estimated_and_reported_in_the_currency() -> None:
    cost = EURO.cost_of(Decimal("1.5")) + 1
    asked = evaluation_texts.estimate(3, "openai/m", (10, 5), cost, EURO)
    assert asked.endswith("of output, for about €1.50.")
    answer = Answer("Yes.", model="openai/m", usage=Usage(10, 5), cost=cost)
    case = Case(
        turn=1,
        conversation="c",
        epoch=1,
        at=0.0,
        messages=(Speech(Role.USER, "Yes?"),),
        questions=1,
        reply=answer,
    )
    report = build_report([(case, answer)], model="m", prompt="p", render=str, currency=EURO)
    assert report.count("€1.50") == 4 and "$" not in report


@pytest.mark.parametrize("page", ["README.md", "docs/policy.md"])
def test_the_story_of_the_pages_works_as_it_is_written(page: str, tmp_path: Path) -> None:
    text = Path(page).read_text("utf-8")
    assert "interns get 2 € a day" in text
    (toml,) = re.findall(r"```toml\n(.*?@interns.*?)```", text, re.DOTALL)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "ops.md").write_text("Be brief.")
    budgets = policy_of(tmp_path, toml).rules[-1].values.budgets
    assert [spending_texts.amount_of(budget) for budget in budgets] == ["€2.00"]
