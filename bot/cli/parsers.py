"""The types that modules of `bot.cli` use to add their commands to the parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bot.config.settings import Settings

Run = Callable[[Settings, argparse.Namespace], int | None]
"""Runs a command and returns its exit code; None means 0. Raises a ThreadlineError."""

Add = Callable[[str, Run, str], argparse.ArgumentParser]
"""Adds a command with its name, its function and its `--help` text."""

Commands = argparse._SubParsersAction  # what `add_subparsers` returns; it has no public name
