"""No pattern over text of people, models or Slack takes long, whatever it is given."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import adapters.slack
from adapters.slack import block_kit, content, payloads, render, text
from adapters.slack.mrkdwn import Mrkdwn

LENGTH = 50_000
MOST_SECONDS = 0.010
"""CPU for one step; each is tried a few times, as another process may disturb one."""


def compiled() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every pattern at the top of a module of the adapter."""
    for module in pkgutil.iter_modules(adapters.slack.__path__, "adapters.slack."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name}.{name}", value


PATTERNS = dict(compiled())


def literals(pattern: str) -> list[str]:
    """The characters and words that a pattern is made of, and some around them."""
    words = re.findall(r"[A-Za-z]{2,}|[^\w\s]|\w", re.sub(r"\\[a-zA-Z]", "", pattern))
    return list(dict.fromkeys([*words, "a", "0", " ", "\n", "&amp;", "&#0", "<", ">", "|"]))[:25]


def inputs(pattern: str) -> Iterator[str]:
    pieces = literals(pattern)
    for one in pieces:
        yield one * (LENGTH // len(one))
    for first, second in itertools.islice(itertools.permutations(pieces, 2), 0, None, 29):
        yield (first + second) * (LENGTH // len(first + second))
        yield first + second * (LENGTH // len(second))


def fastest(step: Callable[[], Any]) -> float:
    """CPU seconds of a step; a slow one gets two more chances."""
    took = []
    for _ in range(3):
        begun = time.process_time()
        step()
        took.append(time.process_time() - begun)
        if took[-1] < MOST_SECONDS:
            break
    return min(took)


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_patterns_are_fast(name: str) -> None:
    pattern = PATTERNS[name]
    for given in inputs(pattern.pattern):
        found: list[int] = []
        took = fastest(lambda given=given, to=found: to.append(len(pattern.findall(given))))
        most = MOST_SECONDS + 0.5e-6 * found[0]  # matches cost 0.3 µs each, however many
        assert took < most, (given[:40], took)
        assert fastest(lambda given=given: pattern.fullmatch(given)) < MOST_SECONDS, given[:40]


STEPS: dict[str, Callable[[str], Any]] = {
    "for_model": lambda given: text.for_model(given, {}, "U0BOT00001"),
    "people": text.people,
    "calls_others": lambda given: text.calls_others(given, "U0BOT00001"),
    "name": text.name,
    "unescaped": text.unescaped,
    "harmless": render.harmless,
    "ts": lambda given: payloads.ts({"ts": given}),
    "cell": lambda given: block_kit.of_block(
        {"type": "table", "rows": [[{"type": "raw_text", "text": given}]]}
    ),
    "own": lambda given: content.own({"text": given, "blocks": [rich_text(given)]}),
    "short": Mrkdwn().short,
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
def test_steps_over_what_people_and_models_write_are_fast(name: str) -> None:
    """Of the longest that a step is given: a page is 11,500 characters, a message 40,000."""
    length = render.LIMIT if name in ("harmless", "short") else LENGTH
    for piece in PIECES:
        took = fastest(lambda piece=piece: STEPS[name](piece * (length // len(piece))))
        assert took < MOST_SECONDS, (piece, took)
