"""The languages to highlight: lexers that passed fuzzing, by their Pygments names.

Other lexers may backtrack for hours over a few characters, or call any lexer that a text
names (`http`, `org`, `wikitext`). To add one, add its name to FUZZED; the tests try every
name there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pygments.lexers import get_all_lexers

# No repetitive input of 2,000 characters took these more than 0.15 s.
FUZZED = frozenset({
    "Ada", "ApacheConf", "Batchfile", "C#", "Clojure", "CMake", "COBOL", "Common Lisp", "Crystal",
    "CSS", "Cython", "D", "Dart", "Delphi", "Diff", "Django/Jinja", "Elixir", "Elm", "EmacsLisp",
    "Erlang", "F#", "Fortran", "GAS", "GDScript", "Gherkin", "Gleam", "GLSL", "Go", "GraphQL",
    "Graphviz", "Groovy", "Haskell", "HLSL", "HTML", "HTML+Django/Jinja", "INI", "JavaScript",
    "JSON", "JSON5", "JSX", "Julia", "Kotlin", "LessCss", "LLVM", "Lua", "Makefile", "Markdown",
    "Matlab", "MySQL", "NASM", "Nginx configuration file", "Nimrod", "Nix", "OCaml", "PHP",
    "PL/pgSQL", "PostgreSQL SQL dialect", "PowerShell", "Properties", "Protocol Buffer",
    "PureScript", "Python", "Python 2.x", "Racket", "Rocq Prover", "Ruby",
    "Rust", "Sass", "Scala", "Scheme", "SCSS", "Sed", "Solidity", "SQL", "Swift", "systemverilog",
    "Tcl", "TeX", "Text only", "Thrift", "TOML", "TSX", "TypeScript", "VB.net",
    "VBScript", "verilog", "vhdl", "VimL", "WebAssembly", "XML", "XSLT", "YAML", "YAML+Jinja",
    "Zig",
})  # fmt: skip

# Some input takes these longer, and only the worker's limits end it. They are here because people
# use them.
COSTLY = frozenset({
    "Arduino", "Bash", "Bash Session", "C", "C++", "CUDA", "Docker", "Java", "Objective-C",
    "Perl", "Python console session", "Terraform",
})  # fmt: skip

NAMES = FUZZED | COSTLY

# Lexers that highlight a block inside a text with any lexer the text names, unless told not to.
OPTIONS: Mapping[str, Mapping[str, bool]] = {
    "Markdown": {"handlecodeblocks": False},
}


@cache
def lexer_names() -> Mapping[str, str]:
    """The lexer's name by each alias that may follow a fence; imports no lexer."""
    known = get_all_lexers(plugins=False)
    return {alias: name for name, aliases, _, _ in known if name in NAMES for alias in aliases}
