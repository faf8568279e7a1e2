"""What a file with the code of a reply is called; pure.

Invariant: a name is plain: a few letters, digits, dots, dashes and underscores with an ending of
text or source code. Never a path, never hidden, never a program's.
"""

from __future__ import annotations

import re

ENDINGS = {
    "bash": "sh",
    "c#": "cs",
    "c++": "cpp",
    "clojure": "clj",
    "console": "txt",
    "csharp": "cs",
    "docker": "dockerfile",
    "elixir": "ex",
    "erlang": "erl",
    "f#": "fs",
    "fsharp": "fs",
    "golang": "go",
    "haskell": "hs",
    "javascript": "js",
    "julia": "jl",
    "kotlin": "kt",
    "latex": "tex",
    "make": "mk",
    "makefile": "mk",
    "markdown": "md",
    "matlab": "m",
    "objective-c": "m",
    "ocaml": "ml",
    "perl": "pl",
    "plaintext": "txt",
    "powershell": "ps1",
    "python": "py",
    "python3": "py",
    "ruby": "rb",
    "rust": "rs",
    "shell": "sh",
    "text": "txt",
    "typescript": "ts",
    "yml": "yaml",
    "zsh": "sh",
}
"""Languages that are not called as their files end."""

_PLAIN = """
adoc asm awk c cc cfg clj cmake conf cpp cs css csv cxx dart diff dockerfile erl ex f90 fs glsl go
gradle graphql h hcl hpp hs htm html ini ipynb java jl js json jsonl jsx kt kts less lisp log lua m
md mjs mk ml mm nix org pas patch php pl proto ps1 py r rb rs rst sass scala scss sh sql srt svelte
svg swift tex tf toml ts tsv tsx txt v vb vhdl vue xml yaml zig
"""
PLAIN = frozenset(_PLAIN.split())
"""Endings that a file may have: source code and text."""

DATA = frozenset(("csv", "ini", "json", "jsonl", "log", "tsv", "xml", "yaml"))
"""What is called data, not code."""

LONGEST = 60
"""Characters of a name: enough for people, and far below what platforms and systems take."""

_NAME = re.compile(
    rf"(?=.{{1,{LONGEST}}}$)[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*\.([a-z0-9]+)"
)
_TITLE = re.compile(r"(?:title|file|filename|name)\s*+=\s*+[\"']?([^\s\"']++)")
# A first line that is a comment with a name and nothing else, as models like to write it.
_COMMENT = re.compile(
    r"\s*+(?:#|//|--|;|%|/\*|<!--)++\s*+(?:file(?:name)?\s*+:\s*+)?+([^\s*]++)\s*+(?:\*/|-->)?\s*+"
)

LONGEST_LINE = 200
"""Characters of a first line, and of an info string, in which a name is looked for."""


def file_name(info: str, code: str) -> str:
    """The name of a file for a code block with this info string and this code."""
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
        if (plain := _NAME.fullmatch(name)) and plain[1] in PLAIN:
            return name
    ending = ENDINGS.get(language, language)
    ending = ending if ending in PLAIN else "txt"
    return f"{'data' if ending in DATA else 'code'}.{ending}"
