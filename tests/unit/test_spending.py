"""Periods, accounts, who counts against a budget, and the sentences about budgets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from bot.__main__ import main
from bot.domain import spending_texts
from bot.domain.conversations import TEAM, Author, ConversationKey
from bot.domain.errors import BudgetSpent
from bot.domain.model import Usage
from bot.domain.money import NANO, USD
from bot.domain.policy import Budget, BudgetScope, Period, PersonKind, PersonRef
from bot.domain.spending import (
    BudgetLine,
    BudgetState,
    PeriodSpan,
    UsageField,
    UsageRow,
    UsageSummary,
    account_of,
)
from bot.domain.usage_csv import to_csv
from bot.policy.budgets import PolicyBudgets, lines_of, period_of
from bot.turns.display import ReplyParts, sentence_of
from tests.support.store_kit import ANN, BEN, key

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Africa/Cairo",
    "Asia/Beirut",
    "UTC",
    "Asia/Kathmandu",
)


def budget(name: str = "b", scope: BudgetScope = BudgetScope.PERSON, **fields: object) -> Budget:
    values = {"period": Period.DAY, "amount": Decimal(2)} | fields
    return Budget(name=name, scope=scope, **values)  # type: ignore[arg-type]


# ── periods ───────────────────────────────────────────────────────────────────────────────────
def test_a_day_with_a_change_of_the_clocks_has_23_or_25_hours() -> None:
    zone = ZoneInfo("Europe/Berlin")
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)):
        midnight = datetime.fromisoformat(day).replace(tzinfo=zone).timestamp()
        span = period_of(Period.DAY, midnight, zone)
        assert (span.name, (span.ends_at - midnight) / 3_600) == (day, hours)


def test_a_period_ends_exactly_where_the_next_one_begins() -> None:
    """This holds in every zone, even where a day begins at one o'clock because midnight is
    skipped."""
    start = datetime(2023, 1, 1, tzinfo=UTC)
    for name in ZONES:
        zone = ZoneInfo(name)
        for period in Period:
            for hours in range(0, 24 * 366, 37):
                now = (start + timedelta(hours=hours)).timestamp()
                span = period_of(period, now, zone)
                assert now < span.ends_at
                assert period_of(period, span.ends_at - 1, zone).name == span.name
                assert period_of(period, span.ends_at, zone).name > span.name


def test_the_last_month_of_a_year_ends_in_the_next() -> None:
    now = datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp()
    span = period_of(Period.MONTH, now, ZoneInfo("UTC"))
    assert span == PeriodSpan("2026-12", datetime(2027, 1, 1, tzinfo=UTC).timestamp())


# ── accounts ──────────────────────────────────────────────────────────────────────────────────
def test_threads_share_their_channels_account_and_people_have_one_in_a_workspace() -> None:
    here, there = key("t1"), key("t2", channel="c2")
    for scope, same in (
        (BudgetScope.PERSON, True),
        (BudgetScope.CHANNEL, False),
        (BudgetScope.WORKSPACE, True),
        (BudgetScope.ALL, True),
    ):
        assert account_of(scope, here, ANN) == account_of(scope, key("t9"), ANN)
        assert (account_of(scope, here, ANN) == account_of(scope, there, ANN)) is same
    person = account_of(BudgetScope.PERSON, here, ANN)
    assert person != account_of(BudgetScope.PERSON, here, BEN)
    assert ANN.id not in str(person)  # it outlives the person's erasure
    assert lines_of([budget()], here, None, now=0.0, zone=None) == []


def test_a_shared_channel_of_the_page_counts_for_the_person_and_for_itself() -> None:
    own = ConversationKey("web", ANN.id, "general", "t")
    shared = ConversationKey("web", TEAM, "general", "t")
    for scope, same in ((BudgetScope.PERSON, True), (BudgetScope.CHANNEL, False)):
        assert (account_of(scope, own, ANN) == account_of(scope, shared, ANN)) is same
    assert account_of(BudgetScope.PERSON, shared, ANN) != account_of(
        BudgetScope.PERSON, shared, BEN
    )


async def test_a_budget_of_certain_people_counts_them_and_those_who_may_be_them() -> None:
    """If the platform does not respond, the limit must still apply."""
    interns = (PersonRef(PersonKind.NAME, "interns"),)
    known: dict[str, bool | None] = {ANN.id: True, BEN.id: False, "U3": None}

    class Policy:
        async def effective(self, key: ConversationKey) -> SimpleNamespace:
            found = [budget("all", BudgetScope.ALL), budget("interns", who=interns)]
            return SimpleNamespace(budgets=[SimpleNamespace(value=each) for each in found])

    async def is_one_of(
        key: ConversationKey, author: Author, refs: Sequence[PersonRef]
    ) -> bool | None:
        return known[author.id]

    source = PolicyBudgets(Policy(), is_one_of)  # type: ignore[arg-type]
    names = {}
    for author in (ANN, BEN, Author("U3", "Cem"), None):
        found = await source.budgets(key(), author)
        names[author and author.id] = [each.name for each in found]
    both = ["all", "interns"]
    assert names == {ANN.id: both, BEN.id: ["all"], "U3": both, None: ["all"]}


# ── sentences ─────────────────────────────────────────────────────────────────────────────────
def test_a_refusal_names_the_time_when_the_budget_is_full_again() -> None:
    zone = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
    (line,) = lines_of([budget()], key(), ANN, now=now, zone=zone)
    assert spending_texts.refused(BudgetSpent(line), zone) == (
        "Your budget for today is used up. It is full again on Tuesday, 1 December, at 00:00 "
        "(Europe/Berlin)."
    )


def test_a_notice_below_an_answer_is_no_failure() -> None:
    """Programs get a sentence for a failure, and none for an answer."""
    line = BudgetLine(budget(), "a", PeriodSpan("2026-11-30", 0.0))
    notices = spending_texts.notices([BudgetState(line, 2 * NANO, 0), BudgetState(line, NANO, 0)])
    assert notices[0].startswith("Your budget for today is used up now")
    assert notices[1].startswith("Your budget for today is nearly used up")
    assert sentence_of(ReplyParts(content="Yes.", sentences=notices).markdown(), "Yes.") == ""
    failed = ReplyParts(sentences=("It failed.", *notices)).markdown()
    assert sentence_of(failed, "") == "It failed."


def test_usage_is_lists_with_lines_of_their_own_between() -> None:
    """A line directly below a list would be rendered as part of the list's last item."""
    zone, row = ZoneInfo("Europe/Berlin"), UsageRow(("openai/m",), 2, Usage(10, 5), 7, unpriced=1)
    line = BudgetLine(budget(), "a", PeriodSpan("2026-11-30", 0.0))
    summary = UsageSummary(row, row, (BudgetState(line, NANO, 0),), (row,))
    for text in (
        spending_texts.usage_of_person(summary, zone, USD),
        spending_texts.usage_of_channel(summary, zone, USD),
    ):
        lines = text.split("\n")
        below = {line[:2] for above, line in pairwise(lines) if above.startswith("- ")}
        assert below == {"- ", ""}
        assert ("Budgets:" in lines, lines[-1].startswith(("The price", "- `openai/m`"))) == (
            True,
        ) * 2


def test_small_amounts_are_shown_and_csv_has_no_formulas() -> None:
    shown = [USD.show(round(each * NANO)) for each in (0, 1.5, 0.0123, 0.00001)]
    assert shown == ["$0.00", "$1.50", "$0.0123", "under $0.0001"]
    row = UsageRow(("=1+1",), 2, Usage(10, 5, 4, 1, 2), 7, estimates=1, unpriced=1)
    assert (
        to_csv([row], [UsageField.PERSON], USD).splitlines()[1]
        == "'=1+1,2,10,5,4,1,2,0.000000007,1,1"
    )


# ── the configuration ─────────────────────────────────────────────────────────────────────────
def test_config_check_names_models_that_a_budget_of_money_cannot_let_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLM", "openai/gpt-5,openai/mystery")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    money = '[[budgets]]\nname = "ours"\nperiod = "day"\n'
    for amount, expected in (("dollars = 2", ["openai/mystery"]), ("tokens = 2", [])):
        (tmp_path / "threadline.toml").write_text(money + amount)
        assert main(["config", "check"]) == 0
        lines = capsys.readouterr().out.splitlines()
        found = [line for line in lines if "its price is not known" in line]
        assert [line.partition(":")[0] for line in found] == expected
        assert all("(ours)" in line for line in found)
