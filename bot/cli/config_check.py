"""`threadline config` prints the settings; `config check` validates them and the file.

The check also prints the models, profiles and rules.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from functools import partial

from bot.cli.parsers import Commands
from bot.config.consistency import require_consistent
from bot.config.models import resolve
from bot.config.policy_rules import resolve_policy
from bot.config.problems import require_all
from bot.config.settings import Settings


def add_config_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line's `commands`."""
    summary = "print every setting in force and where it comes from, and check them all"
    config = commands.add_parser("config", help=summary, description=summary.capitalize() + ".")
    config.set_defaults(run=_print_config)
    actions = config.add_subparsers(title="actions", metavar="ACTION")
    text = "validate the settings, and print the models, profiles and rules in effect"
    check = actions.add_parser("check", help=text, description=text.capitalize() + ".")
    check.set_defaults(run=_check_config)


def _print_config(settings: Settings, options: argparse.Namespace) -> None:
    """Print the settings, then check them. They are printed even if they contradict each other."""
    from bot.config.listing import list_settings

    print(*list_settings(settings), "", sep="\n", flush=True)
    _check_config(settings, options)


def _check_config(settings: Settings, _options: argparse.Namespace) -> None:
    from bot.config import policy_report, report
    from bot.llm.model_facts import known_facts

    require_all(
        partial(require_consistent, settings),
        partial(resolve, settings),
        partial(resolve_policy, settings),
    )
    print(*report.describe(settings, resolve(settings), known_facts), sep="\n")
    for line in policy_report.describe_policy(settings, resolve_policy(settings)):
        print(line)
    for line in _check_prices(settings):
        print(line)


def _check_prices(settings: Settings) -> Iterator[str]:
    """Yield lines about models without a price, which a money budget never lets through."""
    from bot.config.policy_report import money_budgets

    if not (budgets := money_budgets(resolve_policy(settings))):
        return
    from bot.resources import find_unpriced

    for name in asyncio.run(find_unpriced(settings)):
        yield (
            f"{name}: its price is not known, so it cannot answer where a budget of money "
            f'applies ({", ".join(budgets)}); write [models."{name}"] price = '
            "{ input = …, output = … } into threadline.toml, with 0 for a model that is free"
        )
