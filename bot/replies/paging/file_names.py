"""Names the file that holds a code block.

Invariant: a name consists of letters, digits, dots, dashes and underscores, with an ending for text
or source code. It is never a path, a hidden file or an executable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from pygments.lexers import get_all_lexers

from bot.replies.markdown.fences import language_of

_ENDINGS = """
adoc asm awk c cc cfg clj cmake conf cpp cs css csv cxx dart diff dockerfile erl ex f90 fs glsl go
gradle graphql groovy h hcl hpp hs htm html ini ipynb java jl js json jsonl jsx kt kts less lisp log
lua m md mjs mk ml mm nix org pas patch php pl proto ps1 py r rb rs rst sass scala scss sh sql srt
svelte svg swift tex tf toml ts tsv tsx txt v vb vhdl vue xml yaml zig
"""
ENDINGS = frozenset(_ENDINGS.split())
"""Endings that a file may have: those of source code and text."""

DATA = frozenset(("csv", "ini", "json", "jsonl", "log", "tsv", "xml", "yaml"))
"""Endings of files that are called data rather than code."""

LONGEST = 60
"""The longest name in characters: enough for people, and well below every platform's limit."""

_NAME = re.compile(
    rf"(?=.{{1,{LONGEST}}}$)[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*\.([a-z0-9]+)"
)
_TITLE = re.compile(r"(?:title|file|filename|name)\s*+=\s*+[\"']?([^\s\"']++)")
# A first line that is a comment containing only a file name, as models often write.
_COMMENT = re.compile(
    r"\s*+(?:#|//|--|;|%|/\*|<!--)++\s*+(?:file(?:name)?\s*+:\s*+)?+([^\s*]++)\s*+(?:\*/|-->)?\s*+"
)

LONGEST_LINE = 200
"""How many characters of a first line or an info string are searched for a name."""


def file_name(info: str, code: str) -> str:
    """The file name for a code block with this info string and this code."""
    info = info.strip()[:LONGEST_LINE]
    words = info.strip("{}").split()
    language = words[0].lower().lstrip(".") if words else ""
    first = code[: LONGEST_LINE + 1].partition("\n")[0]
    first = first if len(first) <= LONGEST_LINE else ""
    titled, commented = _TITLE.search(info), _COMMENT.fullmatch(first)
    offered = [titled[1] if titled else "", language.rpartition(":")[2]]
    offered += [words[0]] if words else []
    offered += [commented[1] if commented else ""]
    for name in offered:
        if (plain := _NAME.fullmatch(name)) and plain[1] in ENDINGS:
            return name
    language = language_of(info).lower()
    ending = language if language in ENDINGS else _endings_by_language().get(language, "txt")
    return f"{'data' if ending in DATA else 'code'}.{ending}"


@cache
def _endings_by_language() -> Mapping[str, str]:
    """The first allowed ending of each language that Pygments knows, by the language's aliases."""
    endings = {"docker": "dockerfile"}  # Pygments knows only the whole file name
    for _, aliases, patterns, _ in get_all_lexers(plugins=False):
        found = (pattern.removeprefix("*.") for pattern in patterns)
        ending = next((each for each in found if each in ENDINGS), None)
        if ending is not None:
            endings = dict.fromkeys(aliases, ending) | endings
    return endings
