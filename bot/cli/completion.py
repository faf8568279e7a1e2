"""`threadline completion SHELL`: prints a script that completes commands and options."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bot.cli.parsers import Add
from bot.config.settings import Settings

SHELLS = ("bash", "zsh", "tcsh")


def add_completion_command(add: Add, make_parser: Callable[[], argparse.ArgumentParser]) -> None:
    """Add the command; `make_parser` builds the parser that the script describes."""

    def print_script(_settings: Settings, options: argparse.Namespace) -> None:
        import shtab

        print(shtab.complete(make_parser(), shell=options.shell))

    command = add(
        "completion",
        print_script,
        "print a script that completes commands: `source <(threadline completion bash)`",
    )
    command.add_argument("shell", choices=SHELLS, help="the shell")
