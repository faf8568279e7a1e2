"""The two notations of templates: how each is tokenized, and how it writes text and
placeholders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from html import unescape
from typing import Protocol

from bot.domain.errors import TemplateError
from bot.domain.templates.values import Part, Slot

_INPUT_NAMES = ("input", "user")  # placeholder names for the person's input, in either notation


class Kind(Enum):
    """What a token does."""

    OPEN = "open"
    CLOSE = "close"
    INPUT = "input"


@dataclass(frozen=True, slots=True)
class Token:
    """A markup token from `start` to `end`; `role` is set on opening tags."""

    kind: Kind
    start: int
    end: int
    role: str = ""


class Notation(Protocol):
    """A notation. `head` takes a role; `foot` ends a message."""

    head: str
    foot: str

    def tokens(self, text: str) -> Iterator[Token]:
        """Yield the markup of a template in order. Raises TemplateError."""
        ...

    def parts(self, raw: str) -> list[Part]:
        """Split the raw text of one message into text and placeholders."""
        ...

    def escaped(self, text: str, *, before_slot: bool) -> str:
        """Escape `text` so that none of it reads as markup, even directly before a placeholder."""
        ...

    def slot(self) -> str:
        """Write the placeholder."""
        ...


class _Handlebars:
    """Handlebars: the last two braces of a run open a tag unless an odd number of backslashes
    precedes them."""

    head, foot = '{{{{#message role="{}"}}}}', "{{/message}}"
    _BRACES = re.compile(r"\{{2,}")  # backslashes are counted apart: `\\*` in front is quadratic
    _OPEN = re.compile(r"""#message\s+role=(?:"([^"]*)"|'([^']*)')""")

    def tokens(self, text: str) -> Iterator[Token]:
        for braces in self._BRACES.finditer(text):
            if _slashes(text, braces.start()) % 2 == 0:
                yield self._token(text, braces.end() - 2)

    def _token(self, text: str, start: int) -> Token:
        end = text.find("}}", start)
        if end < 0:
            raise error_at(text, start, "these braces are never closed")
        inside = text[start + 2 : end].strip()
        if inside == "/message":
            return Token(Kind.CLOSE, start, end + 2)
        if inside in _INPUT_NAMES:
            return Token(Kind.INPUT, start, end + 2)
        if found := self._OPEN.fullmatch(inside):
            return Token(Kind.OPEN, start, end + 2, found[1] or found[2] or "")
        problem = f"“{inside}” is unknown: write "
        raise error_at(text, start, problem + '{{#message role="user"}}, {{input}} or {{/message}}')

    def parts(self, raw: str) -> list[Part]:
        parts: list[Part] = []
        at, last = 0, raw.rfind("}}")
        for braces in self._BRACES.finditer(raw):
            slashes = _slashes(raw, braces.start())
            parts.append(raw[at : braces.start() - slashes + slashes // 2])
            # This is text: an escaped run, or one directly before the braces of the closing tag.
            if slashes % 2 or braces.end() > last:
                parts.append(braces[0])
                at = braces.end()
            else:
                parts += [braces[0][2:], Slot.INPUT]
                at = raw.index("}}", braces.end()) + 2
        return [*parts, raw[at:]]

    def escaped(self, text: str, *, before_slot: bool) -> str:
        if not before_slot:
            return self._BRACES.sub(_escape, text)
        end = len(text.rstrip("{"))  # the braces of the placeholder follow, so this run is not text
        slashes = "\\" * _slashes(text, end)
        return self._BRACES.sub(_escape, text[:end]) + slashes + text[end:]

    def slot(self) -> str:
        return "{{input}}"


def _slashes(text: str, end: int) -> int:
    """The number of backslashes before `end`."""
    at = end
    while at and text[at - 1] == "\\":
        at -= 1
    return end - at


def _escape(braces: re.Match[str]) -> str:
    """Escape a run of braces: double the backslashes before it, and add one."""
    return "\\" * (_slashes(braces.string, braces.start()) + 1) + braces[0]


class _Tags:
    """Tags in angle brackets; braces as in Python's format strings."""

    head, foot = '<message role="{}">', "</message>"
    _TOKEN = re.compile(
        r"(?P<open><message\b[^<>]*>)|(?P<close></message\s*>)"
        r"|(?P<brace>\{\{|\}\})|(?P<slot>\{[^{}\n]*\})|(?P<lone>[{}])"
    )
    _OPEN = re.compile(r"""<message\s+role=(?:"([^"]*)"|'([^']*)')\s*>""")
    _ENTITY = re.compile(r"&(?:lt|gt|amp);")
    _AMBIGUOUS = re.compile(r"&(?=(?:lt|gt|amp);)|<(?=/?message\b)")

    def tokens(self, text: str) -> Iterator[Token]:
        for found in self._TOKEN.finditer(text):
            kind, start, end = found.lastgroup, found.start(), found.end()
            if kind == "open":
                role = self._OPEN.fullmatch(found[0])
                if role is None:
                    raise error_at(text, start, 'write <message role="user">')
                yield Token(Kind.OPEN, start, end, role[1] or role[2] or "")
            elif kind == "close":
                yield Token(Kind.CLOSE, start, end)
            elif kind == "slot" and found[0][1:-1].strip() in _INPUT_NAMES:
                yield Token(Kind.INPUT, start, end)
            elif kind != "brace":
                raise error_at(text, start, "write {user} for the input, {{ and }} for braces")

    def parts(self, raw: str) -> list[Part]:
        parts: list[Part] = []
        at = 0
        for found in self._TOKEN.finditer(raw):
            parts.append(self._plain(raw[at : found.start()]))
            parts.append(found[0][0] if found.lastgroup == "brace" else Slot.INPUT)
            at = found.end()
        return [*parts, self._plain(raw[at:])]

    def _plain(self, text: str) -> str:
        return self._ENTITY.sub(lambda found: unescape(found[0]), text)

    def escaped(self, text: str, *, before_slot: bool) -> str:
        text = self._AMBIGUOUS.sub(lambda found: "&amp;" if found[0] == "&" else "&lt;", text)
        return text.replace("{", "{{").replace("}", "}}")

    def slot(self) -> str:
        return "{user}"


def notation_of(text: str) -> Notation:
    """The notation whose message starts first."""
    found = re.search(r"\{\{\s*#message|<message\b", text)
    if found is None:
        problem = (
            'there is no message: begin with {{#message role="user"}} or <message role="user">'
        )
        raise error_at(text, len(text) - len(text.lstrip()), problem)
    return HANDLEBARS if found[0].startswith("{") else TAGS


def error_at(text: str, place: int, problem: str) -> TemplateError:
    """Build the error for `problem` at `place`, with its line and column."""
    line_start = text.rfind("\n", 0, place) + 1
    line = text.count("\n", 0, place) + 1
    return TemplateError(problem, line=line, column=place - line_start + 1)


HANDLEBARS: Notation = _Handlebars()
TAGS: Notation = _Tags()
