"""`threadline usage`: shows what models cost."""

from __future__ import annotations

import argparse
import time
from datetime import timedelta

from bot.cli.parsers import Add
from bot.config.settings import Settings
from bot.domain.errors import SettingsError


def add_usage_command(add: Add) -> None:
    """Add the command."""
    usage = add("usage", _usage, "show what models cost, by day, person, channel and model")
    usage.add_argument("--csv", action="store_true", help="as CSV, with every kind of token")
    usage.add_argument("--days", type=int, default=30, help="the last days, today included (30)")
    usage.add_argument(
        "--by",
        default="day,person,channel,model",
        metavar="FIELDS",
        help="some of day, platform, workspace, channel, person, model, purpose",
    )


def _usage(settings: Settings, options: argparse.Namespace) -> None:
    from bot.config.policy_rules import examine_policy
    from bot.domain.spending import UsageField, UsageQuery
    from bot.domain.spending_texts import usage_table
    from bot.domain.usage_csv import to_csv
    from bot.policy.budgets import day_of
    from bot.store.daily_usage import MOST_ROWS, usage
    from bot.store.open_store import open_to_read

    try:
        by = tuple(UsageField(name) for name in options.by.split(","))
    except ValueError:
        raise SettingsError("--by", f"write some of {', '.join(UsageField)}") from None
    first = day_of(time.time(), settings.zone) - timedelta(days=options.days - 1)
    with open_to_read(settings) as db:
        rows = usage(db, UsageQuery(first_day=first.isoformat()), by, limit=MOST_ROWS)
    currency = examine_policy(settings)[0].currency  # a mistake elsewhere hides no usage
    print((to_csv if options.csv else usage_table)(rows, by, currency), end="")
