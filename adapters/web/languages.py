"""Which languages are coloured: lexers that held when they were fuzzed, by their Pygments names.

Others may backtrack for hours over a few characters, or call any lexer that a text names (`http`,
`org`, `wikitext`). To add one, add its name here: the tests fuzz every name of this list.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pygments.lexers import get_all_lexers

NAMES = frozenset({
    "Ada", "ApacheConf", "AppleScript", "Arduino", "autohotkey", "Awk", "Bash", "Bash Session",
    "Batchfile", "BibTeX", "C", "C#", "C++", "Clojure", "CMake", "COBOL", "CoffeeScript",
    "Common Lisp", "Crystal", "CSS", "CUDA", "Cython", "D", "Dart", "Delphi", "Diff",
    "Django/Jinja", "Docker", "Elixir", "Elm", "EmacsLisp", "ERB", "Erlang", "F#", "Fish",
    "Fortran", "GAS", "GDScript", "Gettext Catalog", "Gherkin", "Gleam", "GLSL", "Go", "GraphQL",
    "Graphviz", "Groovy", "Haml", "Handlebars", "Haskell", "Haxe", "HLSL", "HTML",
    "HTML+Django/Jinja", "HTTP", "Hy", "Idris", "INI", "Java", "JavaScript", "JSON", "JSON5",
    "Jsonnet", "JSX", "Julia", "Kconfig", "Kotlin", "Kusto", "Lean", "LessCss", "LiveScript",
    "LLVM", "Logtalk", "Lua", "Makefile", "Markdown", "Mathematica", "Matlab", "Meson",
    "Modula-2", "Mojo", "MoonScript", "MySQL", "NASM", "NCL", "Nginx configuration file",
    "Nimrod", "Nix", "NumPy", "Objective-C", "OCaml", "Octave", "OpenSCAD", "Perl", "PHP",
    "PL/pgSQL", "Pony", "PostgreSQL SQL dialect", "PowerShell", "Prolog", "PromQL", "Properties",
    "Protocol Buffer", "Pug", "Puppet", "PureScript", "Python", "Python 2.x",
    "Python console session", "Python Traceback", "Q", "QML", "Racket", "ReasonML", "Rego",
    "reStructuredText", "Rexx", "RobotFramework", "Rocq Prover", "Ruby", "Rust", "S", "SAS",
    "Sass", "Scala", "Scheme", "Scilab", "SCSS", "Sed", "Slim", "Smalltalk", "Solidity", "Spice",
    "SQL", "sqlite3con", "Stan", "Stata", "Swift", "Systemd", "systemverilog", "Tcl", "Tcsh",
    "Terraform", "TeX", "Text only", "Text output", "Thrift", "TOML", "TSX", "Twig", "TypeScript",
    "Typst", "UrbiScript", "Vala", "VB.net", "VBScript", "verilog", "vhdl", "VimL", "Vue",
    "WebAssembly", "WebGPU Shading Language", "XML", "XQuery", "XSLT", "YAML", "YAML+Jinja",
    "Zeek", "Zig",
})  # fmt: skip

# These lexers colour a block inside a text with any lexer that the text names, unless told not to.
OPTIONS: Mapping[str, Mapping[str, bool]] = {
    "Markdown": {"handlecodeblocks": False},
    "reStructuredText": {"handlecodeblocks": False},
}


@cache
def lexer_names() -> Mapping[str, str]:
    """The lexer's name by each alias that may stand behind a fence; no lexer is imported."""
    known = get_all_lexers(plugins=False)
    return {alias: name for name, aliases, _, _ in known if name in NAMES for alias in aliases}
