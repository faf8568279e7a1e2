"""`threadline slack installations` and `uninstall`, and `threadline keys new`."""

from __future__ import annotations

import argparse

from bot.cli.parsers import Commands
from bot.config.settings import Settings


def add_slack_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line's `commands`."""
    slack = commands.add_parser("slack", help="list and remove installations of the Slack app")
    actions = slack.add_subparsers(title="actions", metavar="ACTION", required=True)
    text = "list the workspaces that installed the app"
    listing = actions.add_parser("installations", help=text, description=text.capitalize() + ".")
    listing.set_defaults(run=_list_installations)
    text = "remove the app from a workspace, at Slack too"
    removal = actions.add_parser("uninstall", help=text, description=text.capitalize() + ".")
    removal.add_argument("team", metavar="TEAM", help="the id of a workspace or organization")
    removal.set_defaults(run=_uninstall)


def add_key_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add `keys` to the command line's `commands`."""
    keys = commands.add_parser("keys", help="make a key for INSTALLATION_KEY")
    actions = keys.add_subparsers(title="actions", metavar="ACTION", required=True)
    text = "print a new key"
    new = actions.add_parser("new", help=text, description=text.capitalize() + ".")
    new.set_defaults(run=_new_key)


def _list_installations(settings: Settings, _options: argparse.Namespace) -> None:
    from bot.wiring import slack

    print(*slack.list_installations(settings), sep="\n")


def _uninstall(settings: Settings, options: argparse.Namespace) -> None:
    from bot.common import logs
    from bot.wiring import slack

    logs.configure(level="ERROR", form=settings.log_format, secrets=settings.secrets())
    print(slack.uninstall(settings, options.team))


def _new_key(_settings: Settings, _options: argparse.Namespace) -> None:
    from bot.common.encryption import new_key

    print(new_key())
