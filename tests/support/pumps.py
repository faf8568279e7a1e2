"""Generates long repetitive inputs from a regular expression, which make it backtrack.

For every repetition in the pattern: a text that leads to it, the repeated text many times, then a
character that matches nothing. For the whole pattern: its literals, alone and in pairs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)
NOWHERE = "\x01"  # in no pattern's alphabet, so the pattern must backtrack
CATEGORIES = {
    op.CATEGORY_DIGIT: "1",
    op.CATEGORY_NOT_DIGIT: "a",
    op.CATEGORY_SPACE: " ",
    op.CATEGORY_NOT_SPACE: "a",
    op.CATEGORY_WORD: "a",
    op.CATEGORY_NOT_WORD: "-",
}
CANDIDATES = "a1 -\n.(<[{*_`#|:/\\\"'&;=\t"


def pumped(pattern: str, flags: int, size: int, *, pairs: int = 12, seed: int = 0) -> list[str]:
    """Distinct inputs of about `size` characters, including `pairs` pairs drawn by `seed`."""
    return [text for (text,) in pumped_in_sizes(pattern, flags, (size,), pairs=pairs, seed=seed)]


def pumped_in_sizes(
    pattern: str, flags: int, sizes: tuple[int, ...], *, pairs: int = 12, seed: int = 0
) -> list[tuple[str, ...]]:
    """Distinct inputs, each in several sizes."""
    tree = parser.parse(_plain(pattern), flags & ~re.DEBUG)
    inputs = [_inputs(tree, size, pairs=pairs, seed=seed) for size in sizes]
    return [*dict.fromkeys(zip(*inputs, strict=True))]


def _inputs(tree: Any, size: int, *, pairs: int, seed: int) -> Iterator[str]:
    for prefix, pump in _repeats(list(tree), ""):
        times = max(1, (size - len(prefix)) // max(1, len(pump)))
        yield prefix + pump * times + NOWHERE
        yield (prefix + pump) * max(1, size // max(1, len(prefix + pump))) + NOWHERE
        half = times // 2
        yield prefix + pump * half + NOWHERE + prefix + pump * half
    yield from of_tokens(_tokens(tree), size, pairs=pairs, seed=seed)


def of_tokens(tokens: Iterable[str], size: int, *, pairs: int, seed: int = 0) -> Iterator[str]:
    """Repetitions of each token, and of `pairs` pairs of tokens."""
    known = [token for token in dict.fromkeys(tokens) if token]
    for token in known:
        yield token * (size // len(token)) + NOWHERE
    draw = random.Random(seed)
    everything = [(one, other) for one in known for other in known if one != other]
    for one, other in draw.sample(everything, min(pairs, len(everything))):
        yield (one + other) * (size // len(one + other)) + NOWHERE
        yield one * (size // 2 // len(one)) + other * (size // 2 // len(other)) + NOWHERE


def tokens_of(pattern: str, flags: int = 0) -> list[str]:
    """The literals of a pattern, and some members of its character classes."""
    return [*dict.fromkeys(_tokens(parser.parse(_plain(pattern), flags)))]


def _plain(pattern: str) -> str:
    """The pattern with syntax of the `regex` package replaced by syntax that `re` can parse."""
    return re.sub(r"\\[pP]\{[^}]*\}", r"\\w", pattern.replace(r"\X", "."))


def _repeats(nodes: list[Any], prefix: str) -> Iterator[tuple[str, str]]:
    for kind, argument in nodes:
        if kind in REPEATS:
            _low, high, body = argument
            if high > 1:
                for pump in _variants(list(body)):
                    if pump:
                        yield prefix, pump
            yield from _repeats(list(body), prefix)
            prefix += _sample([(kind, argument)]) or (_sample(list(body)) if high else "")
            continue
        for body in _bodies(kind, argument):
            yield from _repeats(body, prefix)
        prefix += _sample([(kind, argument)])


def _bodies(kind: Any, argument: Any) -> list[list[Any]]:
    if kind is op.SUBPATTERN:
        return [list(argument[3])]
    if kind is op.BRANCH:
        return [list(branch) for branch in argument[1]]
    if kind in (op.ASSERT, op.ASSERT_NOT):
        return [list(argument[1])]
    if kind is op.ATOMIC_GROUP:
        return [list(argument)]
    if kind is op.GROUPREF_EXISTS:
        return [list(part) for part in argument[1:] if part is not None]
    return []


def _variants(body: list[Any]) -> list[str]:
    """Texts for a repetition: one for each branch, or for each character of a class."""
    if len(body) == 1 and body[0][0] is op.SUBPATTERN:
        return _variants(list(body[0][1][3]))
    if len(body) == 1 and body[0][0] is op.BRANCH:
        return [_sample(list(branch)) for branch in body[0][1][1]][:6]
    if len(body) == 1 and body[0][0] is op.IN:
        return [*_members(body[0][1])][:4]
    return [_sample(body)]


def _sample(nodes: list[Any]) -> str:
    """A short text that matches the nodes, or nearly."""
    return "".join(_one(kind, argument) for kind, argument in nodes)


def _one(kind: Any, argument: Any) -> str:
    if kind is op.LITERAL:
        return chr(argument)
    if kind is op.NOT_LITERAL:
        return next(one for one in CANDIDATES if ord(one) != argument)
    if kind is op.ANY:
        return "a"
    if kind is op.IN:
        return next(iter(_members(argument)), "")
    if kind in REPEATS:
        return _sample(list(argument[2])) * max(1, min(argument[0], 40)) if argument[1] else ""
    if kind in (op.ASSERT, op.ASSERT_NOT):
        return ""
    bodies = _bodies(kind, argument)
    return _sample(bodies[0]) if bodies else ""


def _members(items: list[Any]) -> Iterator[str]:
    if items and items[0][0] is op.NEGATE:
        inside = set("".join(_members(items[1:])))
        ranges = [span for kind, span in items[1:] if kind is op.RANGE]
        for one in CANDIDATES:
            if one not in inside and not any(low <= ord(one) <= high for low, high in ranges):
                yield one
                return
        return
    for kind, argument in items:
        if kind is op.LITERAL:
            yield chr(argument)
        elif kind is op.RANGE:
            yield chr(argument[0])
        elif kind is op.CATEGORY:
            yield CATEGORIES.get(argument, "a")


def _tokens(nodes: Iterable[Any]) -> Iterator[str]:
    """Runs of literals, each as one token, and members of character classes separately."""
    run = ""
    for kind, argument in nodes:
        if kind is op.LITERAL:
            run += chr(argument)
            continue
        if run:
            yield run
            run = ""
        if kind is op.IN:
            yield from [*_members(argument)][:6]
        elif kind in REPEATS:
            yield from _tokens(argument[2])
        elif kind in (op.ANY, op.NOT_LITERAL):
            yield _one(kind, argument)
        for body in _bodies(kind, argument):
            yield from _tokens(body)
    if run:
        yield run
