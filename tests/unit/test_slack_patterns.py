"""The time for untrusted text grows in proportion to it, whatever the text."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import adapters.slack
from adapters.slack import block_kit, content, payloads, render, text
from adapters.slack.mrkdwn import Mrkdwn
from tests.support.growth import PART, grows_faster

LENGTH = 50_000


def compiled() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every module-level pattern of the adapter."""
    for module in pkgutil.iter_modules(adapters.slack.__path__, "adapters.slack."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name}.{name}", value


PATTERNS = dict(compiled())


def literals(pattern: str) -> list[str]:
    """The characters and words that a pattern consists of, and some others."""
    words = re.findall(r"[A-Za-z]{2,}|[^\w\s]|\w", re.sub(r"\\[a-zA-Z]", "", pattern))
    return list(dict.fromkeys([*words, "a", "0", " ", "\n", "&amp;", "&#0", "<", ">", "|"]))[:25]


def inputs(pattern: str) -> Iterator[tuple[str, str]]:
    """Long texts, each with a part of it."""
    pieces = literals(pattern)
    for one in pieces:
        yield repeated(one)
    for first, second in itertools.islice(itertools.permutations(pieces, 2), 0, None, 29):
        yield repeated(first + second)
        part, whole = repeated(second)
        yield first + part, first + whole


def repeated(piece: str, length: int = LENGTH) -> tuple[str, str]:
    times = length // len(piece)
    return piece * (times // PART), piece * times


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_patterns_are_linear(name: str) -> None:
    pattern = PATTERNS[name]
    for part, whole in inputs(pattern.pattern):
        assert not grows_faster(pattern.findall, part, whole), whole[:40]
        assert not grows_faster(pattern.fullmatch, part, whole), whole[:40]


STEPS: dict[str, Callable[[str], Any]] = {
    "for_model": lambda given: text.for_model(given, {}, "U0BOT00001"),
    "mentioned_users": text.mentioned_users,
    "mentions_others": lambda given: text.mentions_others(given, "U0BOT00001"),
    "name": text.name,
    "unescape": text.unescape,
    "defuse_mentions": render.defuse_mentions,
    "ts": lambda given: payloads.ts({"ts": given}),
    "cell": lambda given: block_kit.block_text(
        {"type": "table", "rows": [[{"type": "raw_text", "text": given}]]}
    ),
    "author_text": lambda given: content.author_text({"text": given, "blocks": [rich_text(given)]}),
    "summarize": Mrkdwn().summarize,
}


def rich_text(given: str) -> dict[str, Any]:
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": given}]}
    return {"type": "rich_text", "elements": [section]}


PIECES = (
    *("<", "<@", "<@U0BOT00001>", "<@U0BOB00001>", "<a:", "<!channel>", "<x|y>", "@here", "\\@"),
    *("&amp;", "&#0", "&#97;", "&lt;!", "a", "word ", " ", "\n", "|", "| a |\n|---|\n", "*", "_a_"),
    *("~~", "`", "[", "![a](", "](", "- ", "> ", "1. ", "# ", "<b>"),
)


@pytest.mark.parametrize("name", sorted(STEPS))
def test_conversions_of_untrusted_text_are_linear(name: str) -> None:
    """Tries the longest possible text: a page has 11,500 characters, a message 40,000."""
    length = render.LIMIT if name in ("defuse_mentions", "summarize") else LENGTH
    for piece in PIECES:
        assert not grows_faster(STEPS[name], *repeated(piece, length)), piece
