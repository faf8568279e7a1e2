"""Worst-case documents for parsing, measuring and pagination."""

from __future__ import annotations

from itertools import count, takewhile

LENGTH = 50_000


def _line(pattern: str, length: int = LENGTH) -> str:
    return (pattern * (length // len(pattern) + 1))[:length]


def _ticks() -> str:
    """Backtick runs of different lengths, so that none has a partner."""
    runs = (f"{'`' * number} a " for number in count(1))
    return "".join(takewhile(lambda run: len(run) < 320, runs))[:LENGTH]


LINES = {
    "words": _line("a single line of words, "),
    "one word": _line("x"),
    "chinese": _line("水温上升，"),
    "emoji": _line("👨\u200d👩\u200d👧"),
    "accents": _line("e\u0301\u0302\u0303"),
    "stars": _line("*"),
    "stars open": _line("*a "),
    "stars close": "a " + _line("b* "),
    "strong open": _line("**a "),
    "stars both": _line("a**b"),
    "emphasis": _line("*a* **b** "),
    "underscores": _line("_"),
    "underscores open": _line("_a "),
    "tildes": _line("~~a "),
    "mixed open": _line("*a _b ~~c "),
    "brackets": _line("["),
    "brackets with words": _line("[a "),
    "closing": _line("]"),
    "empty links": _line("[]("),
    "nested links": _line("[a](b"),
    "links": _line("[a](https://example.org/) "),
    "pictures": _line("![a"),
    "long address": "[a](https://example.org/" + _line("x") + ")",
    "parentheses": "[a](" + _line("("),
    "link and blanks": _line("[a](b " + " " * 200),
    "backticks": _line("`"),
    "backticks apart": _line("` "),
    "backticks growing": _ticks(),
    "code": _line("`a` "),
    "code open": _line("``a` "),
    "angles": _line("<"),
    "angles apart": _line("<a "),
    "angles closed": _line("<a>"),
    "entities": _line("&amp;"),
    "ampersands": _line("&"),
    "ampersands and hashes": _line("&#"),
    "backslashes": _line("\\"),
    "exclamations": _line("!"),
    "calls": _line("<@U123>"),
    "pipes": _line("|"),
    "cells": _line("| a "),
    "hashes": _line("#"),
    "heading": "# " + _line("word "),
    "quotes": _line(">"),
    "quotes apart": _line("> ")[:2_000],
    "bullets": _line("- ")[:400] + "a",
    "numbers": _line("1. ")[:400] + "a",
    "blanks": "a" + _line(" ") + "b",
    "tabs": "a" + _line("\t") + "b",
    "carriage returns": _line("a\r"),
    "nulls": _line("a\0"),
    "code in one line": "```\n" + _line("x = [1, 2, 3]; ") + "\n```\n",
    "fence without end": "```" + _line("x"),
    "fence of marks": "```\n" + _line("```` "),
    "row in one line": "| a | b |\n|---|---|\n| " + _line("word ") + " | x |\n",
    "cells in one row": "| a | b |\n|---|---|\n" + _line("| a ") + "\n",
    "item in one line": "- " + _line("word "),
    "quote in one line": "> " + _line("word "),
    "indented": "    " + _line("word "),
    "address": "https://example.org/" + _line("path/"),
}

_NESTED = "".join(f"{'  ' * (n % 40)}- level {n % 40}\n" for n in range(2_000))

BLOCKS = {
    "table of 2,000 rows": "| key | value |\n|---|---|\n"
    + "".join(f"| key {n} | some *value* {n} |\n" for n in range(2_000)),
    "wide table": "|"
    + " head |" * 300
    + "\n|"
    + "---|" * 300
    + "\n"
    + ("|" + " x |" * 300 + "\n") * 20,
    "nested lists": _NESTED,
    "list of 2,000 items": "".join(f"{n}. item *{n}*\n" for n in range(1, 2_001)),
    "list with blank lines": "".join(f"- item {n}\n\n  more\n\n" for n in range(1_500)),
    "one paragraph": "a short line of words\n" * 2_400,
    "open emphasis": "**" + "a short line of words\n" * 2_400,
    "items that never end": "- a\n" + "  lazy words\n" * 4_000,
    "lines of code": "```python\n" + "x = compute(a, b)  # why\n" * 2_000 + "```\n",
    "lines of ticks": "```\n" + "``\n" * 10_000,
    "blank lines": "a\n" + "\n" * LENGTH + "b",
    "quotes of quotes": "".join(f"{'> ' * (n % 50)}words\n" for n in range(1_500)),
    "rules": "---\n" * 10_000,
    "headings": "# a\n" * 10_000,
    "definitions": "[a]: https://example.org/\n" * 2_000,
    "short lines": "a\n" * 25_000,
    "pipes in lines": "a | b\n" * 8_000,
    "dashes in lines": "a\n-\n" * 8_000,
    "lists of lists": ("- " * 60 + "a\n") * 200,
    "fences": "```\na\n```\n" * 4_000,
}

CASES = LINES | BLOCKS
"""Documents by name."""
