"""Lines of TOML values, and syntax errors in plain words."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config.toml_document import Location, TomlProblem, parse

# ── lines ─────────────────────────────────────────────────────────────────────────────────────
EVERYTHING = """\
# a comment with "quotes" and [brackets]
plain = 1
"quoted \\u0041 key" = 'x # no comment'
dotted.inner . "third part" = 2 # a comment

[table]
first = @@@
several
lines with \\@@@ and @quotes@@@@@
second = '''
'one' ''quote'''''
list = [
    1, # one
    [ 2,
      3 ], "]",
    { in_list = true, other = [ "}" ] },
]
inline = { a = 1, b.c = { d = "x, y" } }

[other.sub]  # before its parent
x = 1979-05-27 07:32:00
[other]
y = +inf

[[many]]
name = "a"
[[many.inner]]
z = 0xf
[[many.inner]]
[many.deep]
w = 1
[[many]]
[many.deep]
w = 2
""".replace("@", '"')

LINES: dict[Location, int] = {
    ("plain",): 2,
    ("quoted A key",): 3,
    ("dotted",): 4,
    ("dotted", "inner", "third part"): 4,
    ("table",): 6,
    ("table", "first"): 7,
    ("table", "second"): 10,
    ("table", "list"): 12,
    ("table", "list", 0): 13,
    ("table", "list", 1): 14,
    ("table", "list", 1, 1): 15,
    ("table", "list", 2): 15,
    ("table", "list", 3, "other", 0): 16,
    ("table", "inline", "b", "c", "d"): 18,
    ("other", "sub", "x"): 21,
    ("other",): 22,
    ("many", 0, "name"): 26,
    ("many", 0, "inner", 0, "z"): 28,
    ("many", 0, "inner", 1): 29,
    ("many", 0, "deep", "w"): 31,
    ("many", 1): 32,
    ("many", 1, "deep"): 33,
    ("many", 1, "deep", "w"): 34,
}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_kind_of_key_has_its_line(ending: str) -> None:
    document = parse(EVERYTHING.replace("\n", ending))
    assert {location: document.lines.get(location) for location in LINES} == LINES
    assert set(document.lines) == set(locations(document.values))


def test_a_missing_value_is_on_the_line_of_its_table() -> None:
    document = parse("a = 1\n\n[providers.x]\n")
    assert document.line(("providers", "x", "kind")) == 3
    assert document.line(("elsewhere",)) is None


def locations(value: Any, location: Location = ()) -> Iterator[Location]:
    """The locations of all values below `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        yield (*location, key)
        if isinstance(each, dict | list):
            yield from locations(each, (*location, key))


# Fragments that often form TOML: random text rarely does.
_FRAGMENTS = st.sampled_from(
    [
        *("a", "b", '"c d"', "'e.f'", "a.b", "[a]", "[a.b]", "[[l]]", "[[l.m]]", "[l.n]"),
        *("=", " = ", ",", ".", "[", "]", "{", "}", "\n", "\n\n", " ", "\t", "# x\n", "\r\n"),
        *("1", "true", '"s"', "'t'", '"""u\nv"""', "'''w\n'x''''", "1.5", "2020-01-01", "\\"),
        *("a = 1\n", "b = [1, 2]\n", "d = {x = 1, y.z = []}\n", 'e = """"q""""\n', "\x00", "é"),
    ]
)


@given(st.lists(_FRAGMENTS, max_size=14).map("".join))
def test_all_values_are_located_and_no_text_breaks_the_scanner(text: str) -> None:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(TomlProblem):
            parse(text)
        return
    document = parse(text)
    assert document.values == values
    assert set(document.lines) == set(locations(values))
    assert all(1 <= line <= text.count("\n") + 1 for line in document.lines.values())


# ── syntax errors ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a = 1\nb", 2, 2, "an = is missing"),
        ("a = 1\nb c = 2\n", 2, 3, "an = is missing"),
        ("\na = sk-secret\n", 2, 5, "text needs quotes"),
        ("a = True\n", 1, 5, "text needs quotes"),
        ("a =\n", 1, 4, "the value is missing"),
        ("a = [1,\n2", 2, 2, "the ] at the end"),
        ("a = [1 2]\n", 1, 8, "a comma or the ]"),
        ("a = { b = 1\n}\n", 1, 12, "a comma or the }"),
        ("a = { b = 1, b = 2 }\n", 1, 19, "written before"),
        ("a = 1\n\na = 2\n", 3, 6, "written before"),
        ("[a]\n[a]\n", 2, 3, "only once"),
        ("a = { b = 1 }\n[a.c]\n", 2, 5, "written before"),
        ("a = { b = 1 }\na.c = 2\n", 2, 8, "already completed"),
        ("[a\nb = 1\n", 1, 3, "the ] after"),
        ("[[a]\n", 1, 4, "the ]] after"),
        ("[]\n", 1, 2, "a name is missing"),
        ("= 1\n", 1, 1, "start with a name"),
        ("a = 1 b = 2\n", 1, 7, "one setting per line"),
        ('a = "x\nb = 1\n', 1, 7, "the quote at the end"),
        ("a = 'x\n", 1, 7, "the quote at the end"),
        ('a = """x\n', 1, 9, "the quote at the end"),
        ("a = '''x\n", 1, 9, "the quotes at the end"),
        ('a = "C:\\path"\n', 1, 10, "write \\\\"),
        ('a = "\\u12"\n', 1, 8, "hexadecimal"),
        ("a = 'x\x01'\n", 1, 7, "control character"),
        ("# \x01\n", 1, 3, "control character"),
        ("a = " + "9" * 5_000, None, None, "too long"),
        ("a = " + "[" * 5_000, None, None, "nested too deeply"),
    ],
)
def test_a_syntax_error_says_where_and_what_to_do(
    text: str, line: int | None, column: int | None, words: str
) -> None:
    with pytest.raises(TomlProblem) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column), caught.value.problem
    assert words in caught.value.problem
    assert "secret" not in caught.value.problem
