"""House style: coroutines are named by verbs, and prose avoids words that read as translated."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CHECKED = (
    "adapters",
    "bot",
    "tests",
)
"""Files, folders and patterns; the list grows until it covers all of tests."""

EXCLUDED = re.compile(r"tests/unit/test_house_style")
"""This file, which lists the words."""

EVENTS = frozenset(
    {"connected", "deleted", "edited", "gone", "missed", "received_message", "replaced"}
)
"""The events of `bot.ports.inbox.Inbox` and of discord.py's socket: no other coroutine is named
by a participle."""

_PARTICIPLE = re.compile(
    r"_*(?:[a-z]*(?<!e)ed|begun|done|drawn|found|given|gone|held|kept|lost|made|said|sent|shown|taken"
    r"|told|written)(?:_|\Z)"
)

_BANNED = re.compile(
    r"\b(?:nobody|whoever|somebody|anew|of ours|for ever|none such|so many|it is looked|goes on"
    r"|by itself|by themselves|may be had|is told|are told|as ours do|that of|for it to|in vain"
    r"|at once|meanwhile|besides|lately|(?<!on )its own|everybody|by means of"
    r"|in work|all the same|now and then|it is not to|is to be|are to be)\b"
    r"|(?:^|[.:;] )(?-i:What) (?:is|was) (?!.*\?)",
    re.IGNORECASE,
)


def checked_files() -> list[Path]:
    found = (
        path
        for pattern in CHECKED
        for match in ROOT.glob(pattern)
        for path in ([match] if match.is_file() else match.rglob("*.py"))
        if not EXCLUDED.match(str(path.relative_to(ROOT)))
    )
    return sorted(found)


@pytest.mark.parametrize("pattern", CHECKED)
def test_every_checked_path_exists(pattern: str) -> None:
    assert list(ROOT.glob(pattern))


def test_coroutines_are_named_by_verbs() -> None:
    """A participle names an event or a state, never a function with an effect."""
    names = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
        for path in checked_files()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.AsyncFunctionDef)
        and node.name not in EVENTS
        and _PARTICIPLE.match(node.name)
    ]
    assert names == []


def test_prose_avoids_the_banned_words() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[0].strip()!r} in {text.strip()[:60]!r}"
        for path in checked_files()
        for line, text in prose(path.read_text("utf-8"))
        for match in _BANNED.finditer(text)
    ]
    assert found == []


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and other strings, with their line numbers."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split())
