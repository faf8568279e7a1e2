"""Parses TOML, and finds the line of each key and list element, which `tomllib` does not report."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Location = tuple[str | int, ...]
"""The path to a value: keys of tables, and indexes of lists."""


class TomlProblem(Exception):
    """The text is not valid TOML. `line` and `column` count from 1; None if the place is
    unknown."""

    def __init__(self, problem: str, *, line: int | None, column: int | None) -> None:
        super().__init__(problem)
        self.problem, self.line, self.column = problem, line, column


@dataclass(frozen=True, slots=True)
class TomlDocument:
    """The values of a document, and their lines."""

    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[Location, int] = field(default_factory=dict)

    def line(self, location: Location) -> int | None:
        """The line of a value, or of the innermost table around it; None outside all tables."""
        for end in range(len(location), 0, -1):
            if (line := self.lines.get(location[:end])) is not None:
                return line
        return None


def parse(text: str) -> TomlDocument:
    """Parse the document. Raises TomlProblem."""
    text = text.replace("\r\n", "\n")  # as tomllib does, so that offsets match
    try:
        return TomlDocument(tomllib.loads(text), _Scanner(text).scan())
    except RecursionError:
        problem = "the lists or tables are nested too deeply"
        raise TomlProblem(problem, line=None, column=None) from None
    except ValueError as error:  # TOMLDecodeError is one; a number of 5,000 digits raises another
        raise _describe(str(error), text) from None


# ── syntax errors ─────────────────────────────────────────────────────────────────────────────
_PLACE = re.compile(r" \(at (?:line (\d{1,9}), column (\d{1,9})|end of document)\)")

# The beginnings of tomllib's messages, and what to do about each error.
_PLAIN: tuple[tuple[str, str], ...] = (
    ("Expected '=' after a key", "an = is missing after the name, or the name needs quotes"),
    ("Invalid initial character for a key", "a name is missing, or needs quotes"),
    ("Invalid statement", "a line must start with a name or with a [table]"),
    ("Expected newline or end of document", "the line should end here: write one setting per line"),
    (
        "Expected ']' at the end of a table",
        "the ] after the table's name is missing, or the name needs quotes",
    ),
    (
        "Expected ']]' at the end of an array",
        "the ]] after the table's name is missing, or the name needs quotes",
    ),
    (
        "Cannot declare",
        "this table was written before: each may occur only once, except in two brackets, "
        "such as [[rules]]",
    ),
    ("Cannot overwrite a value", "this name was written before: each may occur only once"),
    ("Duplicate inline table key", "this name was written before: each may occur only once"),
    ("Cannot mutate immutable namespace", "this table was already completed with { }"),
    ("Cannot redefine namespace", "this table was already completed above"),
    ("Unclosed array", "a comma or the ] at the end of the list is missing"),
    ("Unclosed inline table", "a comma or the } at the end of the table is missing"),
    ("Unterminated string", "the quote at the end of the text is missing"),
    ('Expected "\'"', "the quote at the end of the text is missing"),
    ("Expected \"'''\"", "the quotes at the end of the text are missing"),
    ("Illegal character '\\n'", "the quote at the end of the text is missing"),
    ("Illegal character", "there is a control character, which the file must not contain"),
    ("Found invalid character", "there is a control character, which the file must not contain"),
    ("Unescaped '\\' in a string", "write \\\\ for \\, or put the text into single quotes"),
    ("Invalid hex value", "\\u needs four hexadecimal digits, and \\U eight"),
    ("Escaped character is not", "this \\u or \\U does not stand for a character"),
    ("Invalid date or datetime", "there is no such date or time"),
    ("Invalid value", "the value is missing or wrong: text needs quotes, true and false do not"),
    ("Exceeds the limit", "the number is too long"),
)


def _describe(message: str, text: str) -> TomlProblem:
    """Describe the error in plain words, without any text of the file, which may be secret."""
    place = _PLACE.search(message)
    known = (plain for beginning, plain in _PLAIN if message.startswith(beginning))
    problem = next(known, "this is not TOML")
    if place is None:
        return TomlProblem(problem, line=None, column=None)
    if place[1] is None:
        last = text.rstrip("\n")
        return TomlProblem(problem, line=last.count("\n") + 1, column=len(last) - last.rfind("\n"))
    return TomlProblem(problem, line=int(place[1]), column=int(place[2]))


# ── lines ─────────────────────────────────────────────────────────────────────────────────────
_SPACE = re.compile(r"(?:[ \t\n]|#[^\n]*+)*+")
_BLANK = re.compile(r"[ \t]*+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]++")
_PLAIN_VALUE = re.compile(r"[^,\]}\n#]*+")


class _Scanner:
    """Scans text that `tomllib` has accepted, and can therefore rely on its syntax."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._line, self._counted = 1, 0
        self._lines: dict[Location, int] = {}
        self._counts: dict[Location, int] = {}  # of the tables in each [[list]]

    def scan(self) -> Mapping[Location, int]:
        """Find the line of every key and list element."""
        table: Location = ()
        self._skip(_SPACE)
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_SPACE)
        return self._lines

    def _header(self) -> Location:
        """Read a table header and return its location."""
        is_list = self._text.startswith("[[", self._at)
        line = self._here()
        self._at += 2 if is_list else 1
        *parents, name = self._key()
        self._at += 2 if is_list else 1
        location: Location = ()
        for parent in parents:
            location = self._newest((*location, parent), line)
        location = (*location, name)
        if not is_list:
            self._lines[location] = line  # even if a nested table came first
            return location
        self._note(location, line)
        self._counts[location] = self._counts.get(location, 0) + 1
        return self._newest(location, line)

    def _newest(self, location: Location, line: int) -> Location:
        """The last table of the list if the location is a list of tables."""
        self._note(location, line)
        if location in self._counts:
            location = (*location, self._counts[location] - 1)
            self._note(location, line)
        return location

    def _pair(self, table: Location) -> None:
        location, line = table, self._here()
        for name in self._key():
            location = (*location, name)
            self._note(location, line)
        self._at += 1  # =
        self._skip(_BLANK)
        self._value(location)

    def _key(self) -> list[str]:
        """Read the parts of a dotted key."""
        parts = []
        while True:
            self._skip(_BLANK)
            parts.append(self._key_part())
            self._skip(_BLANK)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _key_part(self) -> str:
        if self._text[self._at] in "\"'":
            written = self._take_string()
            part: str = tomllib.loads(f"part = {written}")["part"]
            return part
        return self._take(_BARE_KEY)

    def _value(self, location: Location) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._take_string()
        elif first == "[":
            self._list(location)
        elif first == "{":
            self._inline_table(location)
        else:
            self._take(_PLAIN_VALUE)

    def _list(self, location: Location) -> None:
        self._at += 1
        self._skip(_SPACE)
        index = 0
        while self._text[self._at] != "]":
            self._note((*location, index), self._here())
            self._value((*location, index))
            self._skip_separator()
            index += 1
        self._at += 1

    def _inline_table(self, location: Location) -> None:
        self._at += 1
        self._skip(_SPACE)
        while self._text[self._at] != "}":
            self._pair(location)
            self._skip_separator()
        self._at += 1

    def _skip_separator(self) -> None:
        self._skip(_SPACE)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_SPACE)

    # ── reading ───────────────────────────────────────────────────────────────────────────────
    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise RuntimeError(f"line {self._here()} was scanned wrongly")
        self._at = found.end()
        return found[0]

    def _take_string(self) -> str:
        """Read a string with any of the four kinds of quotes, including its quotes."""
        start, quote = self._at, self._text[self._at]
        mark = quote * 3 if self._text.startswith(quote * 3, start) else quote
        self._at += len(mark)
        while not self._text.startswith(mark, self._at):
            is_escape = quote == '"' and self._text[self._at] == "\\"
            self._at += 2 if is_escape else 1
        self._at += len(mark)
        if len(mark) == 3:  # up to two quotes before the last three belong to the text
            while self._text.startswith(quote, self._at):
                self._at += 1
        return self._text[start : self._at]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._take(pattern)

    def _note(self, location: Location, line: int) -> None:
        self._lines.setdefault(location, line)

    def _here(self) -> int:
        """The current line."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line
