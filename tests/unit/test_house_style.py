"""House style: coroutines are named by verbs, and prose avoids words that read as translated."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

# Each banned word, and the beginning of each banned sentence, wherever it stands.
_ANYWHERE = re.compile(
    _BANNED.pattern.replace("(?:^|[.:;] )", "").replace("(?!.*\\?)", ""), re.IGNORECASE
)
_MARKS = re.compile(r"(?:\\n|\b[bfru]{0,2}[\"']|[\s\"'#\\])+")

_COROUTINE = re.compile(r"^\s*async def (\w+)", re.MULTILINE)


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
        f"{path.relative_to(ROOT)}: {name}"
        for path in checked_files()
        for name in _COROUTINE.findall(path.read_text("utf-8"))
        if name not in EVENTS and _PARTICIPLE.match(name)
    ]
    assert names == []


def test_prose_avoids_the_banned_words() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[0].strip()!r} in {text.strip()[:60]!r}"
        for path in checked_files()
        if may_be_banned(source := path.read_text("utf-8"))
        for line, text in prose(source)
        for match in _BANNED.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        'x = "a"  # nobody',
        'x = "#"  # What is there',
        '"""A text for\n    ever."""',
        'x = ("so " "many")',
        'x = f"{1} goes on"',
        'x = "for\\never"',
        'x = ("so "\n    f"many {1}" rf"it goes"\n  f" on")',
        '"""The rest. What is there."""  # really?',
    ],
)
def test_prose_is_found_wherever_it_stands(source: str) -> None:
    assert any(_BANNED.search(text) for _, text in prose(source))
    assert may_be_banned(source)


def may_be_banned(source: str) -> bool:
    """Whether to parse a file: some text, with quotes and line breaks read as spaces, has a banned
    word.

    Parsing all files takes seconds.
    """
    return _ANYWHERE.search(_MARKS.sub(" ", source)) is not None


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and other strings, with their line numbers."""
    if any(_BANNED.search(text) for line in source.splitlines() for text in _endings(line)):
        yield from _comments(source)
    waiting: list[Any] = [ast.parse(source)]
    while waiting:  # a tenth of the time of ast.walk
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield node.lineno, " ".join(node.value.split())
        elif isinstance(node, ast.AST):
            waiting += vars(node).values()


def _endings(line: str) -> Iterator[str]:
    """Everything that may be a comment in a line. Tokenizing is slow, so it is left to files in
    which one of these has a banned word."""
    for found in re.finditer("#", line):
        yield line[found.start() :].lstrip("# ")


def _comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")
