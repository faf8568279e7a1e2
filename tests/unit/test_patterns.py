"""Every regular expression of the product takes linear time, even for its worst inputs.

A pattern that backtracks blocks the interpreter: every platform, the web page and signal handlers
wait for it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.llm import demo_answers, token_counts
from bot.llm.error_rules import RULES
from tests.support.growth import LINEAR, PART, QUADRATIC, failing, grows_faster
from tests.support.pumps import pumped_in_sizes

ROOT = Path(__file__).parents[2]
SIZE = 20_000
# A search of SIZE characters takes a millisecond. This limit ends searches that would never end.
CPU_SECONDS = 2.0
# Local variables that are parts of patterns, with a typical value.
LOCALS = {
    "ends": r"(?=[ \t]{0,9}+(?:[,.;:!?)]|$))",
    "name": "temperature",
    "patterns": [],  # of the rules, which are tried one by one
    "pattern": "|".join(re.sub(r"P<\w+>", ":", p.pattern) for p in token_counts._PATTERNS),
    "mention": "<@!?123456>",
    "words": r"(?<!\w)find[\W_]*+me(?!\w)",  # of a search
    "own": r"<@U123(?:\|[^<>]*)?>",
}
# Patterns applied to bounded texts, with the bound in characters.
SIZES = {
    "bot/content/readers/task.py:_": 8_192,  # the head of a file
    "bot/llm/error_report.py:_TAGS": 4_000,
    "bot/llm/error_rules.py": 4_000,
    "bot/llm/token_counts.py": 4_000,
    "bot/llm/parameter_rules.py": 4_000,
    "bot/llm/server_quirks.py": 4_000,
    "bot/replies/markdown/fences.py:_OPENING": 2_000,  # the head of a page
}
# Patterns for migration files, not for texts of people, models or platforms.
TRUSTED = {"bot/store/migrate.py"}
# Modules that compile their patterns in a loop: the lists are below.
LISTED = {"bot/llm/demo_answers.py"}

USES_PATTERNS = re.compile(r"\b(re|regex)\.(?!Match|Pattern)[a-z]+\(")
SEARCHED = frozenset({"finditer"})
METHODS = {
    "search": "finditer", "sub": "finditer", "subn": "finditer", "split": "finditer",
    "findall": "finditer", "finditer": "finditer", "match": "match", "fullmatch": "fullmatch",
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A pattern, its file and name, and the methods called on it."""

    place: str
    name: str
    compiled: Any
    methods: frozenset[str]

    def __str__(self) -> str:
        return f"{self.place}:{self.name or self.compiled.pattern}"


def sources() -> Iterator[Path]:
    for folder in ("bot", "adapters"):
        yield from sorted((ROOT / folder).rglob("*.py"))


@functools.cache
def uses(path: Path) -> dict[str, frozenset[str]]:
    """The methods called on each of a module's patterns, by the pattern's name."""
    found: dict[str, set[str]] = {}
    for name, method in re.findall(r"\b(_?[A-Z][A-Z_0-9]*)\.([a-z]+)\b", path.read_text()):
        if method in METHODS:
            found.setdefault(name, set()).add(METHODS[method])
    return {name: frozenset(methods) for name, methods in found.items()}


def places() -> list[str]:
    """The modules that use patterns. Every worker of a run calls this, so it parses nothing."""
    return [
        str(path.relative_to(ROOT)) for path in sources() if USES_PATTERNS.search(path.read_text())
    ]


@functools.cache
def patterns(place: str) -> list[Found]:
    """The patterns of a module, including those in its lists."""
    return [*_of_module(ROOT / place, place), *LISTS.get(place, [])]


def _of_module(path: Path, place: str) -> Iterator[Found]:
    names: dict[ast.expr, str] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Assign(targets=[target, *_], value=ast.Call() as value):
                names[value] = ast.unparse(target)
            case ast.AnnAssign(target=target, value=ast.Call() as value):
                names[value] = ast.unparse(target)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re" | "regex"), attr=function)):
                if function not in {"compile", *METHODS}:
                    continue
                if function == "compile" and place in LISTED:
                    continue
                name = names.get(node, "") if function == "compile" else ""
                methods = (
                    frozenset({METHODS[function]})
                    if function != "compile"
                    else uses(path).get(name, frozenset({"match", "finditer"}))
                )
                yield Found(place, name, _compiled(node, path), methods)


def _compiled(call: ast.Call, path: Path) -> Any:
    """The pattern that the call compiles. Names of local variables must be in LOCALS."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    flags = [word.value for word in call.keywords if word.arg == "flags"]
    if call.func.attr == "compile" and len(call.args) > 1:  # type: ignore[attr-defined]
        flags.append(call.args[1])
    library = call.func.value.id  # type: ignore[attr-defined]
    names = {**vars(module), **LOCALS}
    given = [eval(ast.unparse(part), dict(names)) for part in (call.args[0], *flags)]
    if isinstance(given[0], bytes):
        given[0] = given[0].decode("latin-1")
    return importlib.import_module(library).compile(*given)


LISTS = {
    "bot/llm/error_rules.py": [
        Found("bot/llm/error_rules.py", f"{number} {rule.error.__name__}", rule.wording, SEARCHED)
        for number, rule in enumerate(RULES)
    ],
    "bot/llm/demo_answers.py": [
        Found("bot/llm/demo_answers.py", str(number), compiled, SEARCHED)
        for number, (compiled, _) in enumerate(demo_answers._ANSWERS)
    ],
}
PLACES = sorted({*places(), *LISTS} - TRUSTED)


def test_the_search_finds_the_patterns() -> None:
    """Every module that uses `re` or `regex` has patterns, unless it uses only their types."""
    found = {place: patterns(place) for place in PLACES}
    assert [place for place in PLACES if not found[place]] == []
    assert sum(map(len, found.values())) > 50


def test_a_pattern_that_backtracks_is_found() -> None:
    """Quadratic, cubic and exponential patterns, on a machine of any speed.

    Short texts suffice: patterns count as too slow only after every attempt at measuring them.
    """
    planted = {
        r"[a-z]+\d": 1_000,
        r"(a|a)*b": 500,
        r"\s*x\s*,\s*$": 2_000,
        r"!?\[([^\]\n]*)\]\(([^)]*)\)": 1_000,
    }
    for text, size in planted.items():
        found = too_slow([planted_as(text)], most=1, size=size, cpu_seconds=0.2)
        assert found, text
    fine = [r"[a-z]++\d?", r"\bcat\b", r"<[^<>]*>"]
    assert not too_slow([planted_as(text) for text in fine])


def planted_as(text: str) -> Found:
    return Found("planted", "", re.compile(text), SEARCHED)


@pytest.mark.parametrize("place", PLACES)
def test_patterns_are_linear(place: str) -> None:
    """Patterns applied to bounded texts may be quadratic."""
    assert too_slow(patterns(place)) == []


def too_slow(
    patterns: Sequence[Found],
    *,
    most: int = 3,
    size: int = SIZE,
    cpu_seconds: float = CPU_SECONDS,
) -> list[str]:
    """The first `most` patterns with shortened inputs whose time grows too fast, or that never
    end."""
    names, tasks = list[str](), list[Callable[[], bool]]()
    for found in patterns:
        bounds = [bound for place, bound in SIZES.items() if str(found).startswith(place)]
        most_characters, limit = (bounds[0], QUADRATIC) if bounds else (size, LINEAR)
        flags = found.compiled.flags & (re.I | re.M | re.S | re.X)
        sizes = most_characters // PART, most_characters
        for part, text in pumped_in_sizes(found.compiled.pattern, flags, sizes):
            for method in sorted(found.methods):
                step = functools.partial(_use, found.compiled, method)
                tasks.append(functools.partial(grows_faster, step, part, text, limit))
                names.append(f"{found}: {found.compiled.pattern!r} backtracks over {text[:40]!r}…")
    return [names[number] for number in failing(tasks, cpu_seconds, most)]


def _use(compiled: Any, method: str, text: str) -> None:
    if method == "finditer":
        for _ in compiled.finditer(text):
            pass
    else:
        getattr(compiled, method)(text)
