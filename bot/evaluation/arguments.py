"""The arguments of the commands about feedback. It imports nothing that would slow down a start."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

Commands = argparse._SubParsersAction  # what `add_subparsers` returns; it has no public name

_EXPORT = "write votes and comments, with questions, answers, tokens and cost, as JSON lines"
_EVAL = "answer past conversations with another model or prompt, and compare the answers"


def add_feedback_commands(
    commands: Commands[argparse.ArgumentParser],
    exports: Commands[argparse.ArgumentParser],
    *,
    export: Callable[..., object],
    evaluate: Callable[..., object],
) -> None:
    """Add `export feedback` and `eval`, which call `export` and `evaluate`."""
    feedback = exports.add_parser("feedback", help=_EXPORT, description=f"{_EXPORT.capitalize()}.")
    feedback.set_defaults(run=export)
    _add_export_arguments(feedback)
    compare = commands.add_parser("eval", help=_EVAL, description=f"{_EVAL.capitalize()}.")
    compare.set_defaults(run=evaluate)
    _add_eval_arguments(compare)


def _add_export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", metavar="TIME", help="7d, 24h or a date; without it, all votes")
    parser.add_argument("--format", choices=("jsonl",), default="jsonl", help="jsonl")
    parser.add_argument("--names", action="store_true", help="also who spoke and voted, and where")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="a file to write instead of stdout"
    )


def _add_eval_arguments(parser: argparse.ArgumentParser) -> None:
    source = "written by `export feedback`"
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help=source)
    parser.add_argument("--last", metavar="TIME", help="all replies since 7d or 24h, without FILE")
    parser.add_argument("--model", required=True, metavar="MODEL", help="such as openai/gpt-5")
    parser.add_argument("--prompt", type=Path, metavar="FILE", help="in place of SYSTEM_PROMPT")
    parser.add_argument("--limit", type=_positive, metavar="N", help="only the newest N replies")
    report = "the report (eval.html); the figures and answers go to .json and .jsonl beside it"
    parser.add_argument("--out", type=Path, default=Path("eval.html"), metavar="FILE", help=report)
    parser.add_argument(
        "--concurrency", type=_positive, default=4, metavar="N", help="requests at a time (4)"
    )
    parser.add_argument(
        "--yes", action="store_true", help="do not ask for confirmation before spending money"
    )


def _positive(text: str) -> int:
    """Parse a number above zero; argparse reports a ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
