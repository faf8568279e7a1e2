"""The lexers allowed to highlight code, each tried with the worst inputs for its rules."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from typing import Any

import pytest
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import find_lexer_class

from adapters.web.languages import COSTLY, FUZZED, OPTIONS
from tests.support.growth import failing
from tests.support.pumps import of_tokens, pumped, tokens_of

SIZE = 2_000
# A lexer reads 2,000 characters within milliseconds; a quadratic rule takes 0.1 s, and a worse one
# takes minutes.
CPU_SECONDS = 1.0
COMMON = ("<!--", "'''", '"""', "/*", "{", "(", "<", "\t", "\n", " ", "\\", "#", "[", "](", "```")


def inputs(lexer: Any, most: int) -> list[str]:
    """Some of the inputs derived from a lexer's rules, always the same ones."""
    rules = [*dict.fromkeys(_patterns(lexer))]
    texts = dict.fromkeys(one * (SIZE // len(one)) for one in COMMON)
    draw = random.Random(0)
    for pattern, flags in draw.sample(rules, min(len(rules), most)):
        texts |= dict.fromkeys(pumped(pattern, flags, SIZE, pairs=0))
    alphabet = [token for rule in rules for token in tokens_of(*rule)[:8] if len(token) < 20]
    short = [*dict.fromkeys(alphabet)][:60]
    texts |= dict.fromkeys(of_tokens(short, SIZE, pairs=60))
    return draw.sample([*texts], min(len(texts), most))


def _patterns(lexer: Any) -> Iterator[tuple[str, int]]:
    for rules in lexer._tokens.values():
        for match, *_ in rules:
            compiled = getattr(match, "__self__", None)
            if hasattr(compiled, "pattern"):
                yield compiled.pattern, compiled.flags


def _lexer(name: str) -> Any:
    found = find_lexer_class(name)
    assert found is not None
    return found(stripnl=False, ensurenl=False, **OPTIONS.get(name, {}))


def _highlight(lexer: Any, text: str) -> None:
    highlight(text, lexer, HtmlFormatter(nowrap=True))


def slow(name: str, most: int) -> list[str]:
    lexer = _lexer(name)
    texts = inputs(lexer, most) if hasattr(lexer, "_tokens") else [*COMMON]
    tasks = [functools.partial(_highlight, lexer, text) for text in texts]
    return [texts[number][:40] for number in failing(tasks, CPU_SECONDS, most=1)]


@pytest.mark.parametrize("part", range(4))
def test_a_sample_of_repetitive_inputs_is_highlighted_quickly(part: int) -> None:
    """Every listed lexer highlights it; `make soak` tries many more inputs for each."""
    names = sorted(FUZZED)[part::4]
    assert {name: found for name in names if (found := slow(name, 5))} == {}


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(FUZZED))
def test_repetitive_inputs_are_highlighted_quickly(name: str) -> None:
    assert slow(name, 400) == []


def test_the_trial_finds_a_lexer_that_backtracks() -> None:
    """Bash is listed although it backtracks, which proves that the trial detects it."""
    assert slow("Bash", 300) != []
    assert "Bash" in COSTLY


@pytest.mark.parametrize("name", sorted(FUZZED | COSTLY))
def test_no_listed_lexer_loads_a_lexer_named_in_the_text(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block within a block, a mail's type, a notebook's magic: these could load `rita`."""
    import pygments.lexers
    import pygments.lexers.markup as markup

    asked: list[str] = []

    def never(alias: str, **_: Any) -> Any:
        asked.append(alias)
        raise pygments.lexers.ClassNotFound

    for module in (pygments.lexers, markup):
        monkeypatch.setattr(module, "get_lexer_by_name", never, raising=False)
        monkeypatch.setattr(module, "get_lexer_for_mimetype", never, raising=False)
    text = "```rita\nx\n```\n~~~ rita\nx\n~~~\n.. code:: rita\n\n   x\n%%rita\nx\n<rita>x</rita>\n"
    _highlight(_lexer(name), text)
    assert asked == []
