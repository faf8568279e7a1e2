"""Compares models, with the page's Markdown renderer for the report."""

from __future__ import annotations

from argparse import Namespace

from adapters.web.render import html_of
from bot.config.settings import Settings
from bot.evaluation.command import Terminal, evaluate


def run(settings: Settings, options: Namespace, terminal: Terminal) -> int:
    """Replay conversations and write the report; see `evaluate`."""
    return evaluate(settings, options, terminal, html_of)
