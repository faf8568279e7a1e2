"""Types of the command line's parsers, which each module of `bot.cli` adds its commands to."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bot.config.settings import Settings

Run = Callable[[Settings, argparse.Namespace], int | None]
"""Runs a command; returns its exit code, None for 0. Raises a ThreadlineError."""

Add = Callable[[str, Run, str], argparse.ArgumentParser]
"""Adds a command by its name, with the text for `--help`."""

Commands = argparse._SubParsersAction  # what `add_subparsers` returns; it has no public name
