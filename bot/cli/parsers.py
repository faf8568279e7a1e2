"""Types of the command line's parsers, which each module of `bot.cli` adds its commands to."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bot.config.settings import Settings

Run = Callable[[Settings, argparse.Namespace], None]
"""Runs a command. Raises a ThreadlineError."""

Add = Callable[[str, Run, str], argparse.ArgumentParser]
"""Adds a command by its name, with the text for `--help`."""

Commands = argparse._SubParsersAction  # what `add_subparsers` returns; it has no public name
