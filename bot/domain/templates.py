"""Conversation templates: parsed from two notations, filled with input, written back.

Handlebars:  {{#message role="user"}} … {{input}} … {{/message}}   (a backslash: \\{{ is text)
Tags:  <message role="user"> … {user} … </message>   (as in Python: {{ is a brace)

Invariant: a template written in either notation parses back to the same messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from html import unescape
from itertools import groupby
from typing import Protocol

from bot.domain.conversations import Role
from bot.domain.errors import TemplateError

Said = tuple[tuple[Role, str], ...]
INDENT = "    "
MOST_FILLED = 400_000
"""Characters of all filled messages together, several times what a model reads. Otherwise a few
placeholder bytes times a long input could use all memory."""

_ROLES = {role.value: role for role in Role}
_INPUT_NAMES = ("input", "user")  # the person's input, in either notation


class Slot(Enum):
    """A placeholder in a message."""

    INPUT = "input"


Part = str | Slot


@dataclass(frozen=True, slots=True)
class Block:
    """One message: text and placeholders."""

    role: Role
    parts: tuple[Part, ...]

    def text(self, given: str) -> str:
        """The message with `given` as the input."""
        return "".join(given if isinstance(part, Slot) else part for part in self.parts)


@dataclass(frozen=True, slots=True)
class Template:
    """A conversation with placeholders for the input."""

    blocks: tuple[Block, ...]

    @property
    def takes_input(self) -> bool:
        """Whether a message has a placeholder."""
        return any(Slot.INPUT in block.parts for block in self.blocks)

    def render(self, given: str) -> Template:
        """The same conversation with the input filled in. Raises TemplateError if that is too
        long."""
        self._require_room(given)
        return template_of((block.role, block.text(given)) for block in self.blocks)

    def messages(self, given: str = "") -> Said:
        """Roles and texts with the input filled in. Raises TemplateError if that is too long."""
        self._require_room(given)
        return tuple((block.role, block.text(given)) for block in self.blocks)

    def _require_room(self, given: str) -> None:
        parts = [part for block in self.blocks for part in block.parts]
        slots = sum(isinstance(part, Slot) for part in parts)
        filled = sum(len(part) for part in parts if isinstance(part, str)) + slots * len(given)
        if filled > MOST_FILLED:
            problem = f"filled in, it has {filled:,} characters; {MOST_FILLED:,} is the most"
            raise TemplateError(problem, line=1, column=1)

    def opening(self) -> Said:
        """The messages before the first question, which replaces the last block's placeholder.

        Raises TemplateError if a placeholder stands anywhere else.
        """
        before = self.blocks[:-1] if self.blocks[-1].parts == (Slot.INPUT,) else self.blocks
        if any(Slot.INPUT in block.parts for block in before):
            raise TemplateError(
                "in an opening the input must stand alone, in the last message", line=1, column=1
            )
        return tuple((block.role, block.text("")) for block in before)


def template_of(messages: Iterable[tuple[Role, str]]) -> Template:
    """Messages as a template without placeholders."""
    return Template(tuple(Block(role, _joined([text.strip()])) for role, text in messages))


def parse(text: str) -> Template:
    """Parse a template in either notation. Raises TemplateError with the line."""
    notation = _notation(text)
    blocks: list[Block] = []
    opened, at = None, 0
    for token in notation.tokens(text):
        if opened is None:
            _require_blank(text, at, token.start)
            if token.kind is not _Kind.OPEN:
                raise _error(text, token.start, "this stands outside of every message")
            opened = token
        elif token.kind is _Kind.OPEN:
            raise _error(text, opened.start, "this message is never closed")
        elif token.kind is _Kind.CLOSE:
            raw = _dedented(text[opened.end : token.start])
            blocks.append(Block(_role(text, opened), _joined(notation.parts(raw))))
            opened = None
        at = token.end
    if opened is not None:
        raise _error(text, opened.start, "this message is never closed")
    _require_blank(text, at, len(text))
    return Template(tuple(blocks))


def write_handlebars(template: Template) -> str:
    """The template in the notation with {{#message}}."""
    return _written(template, _Handlebars())


def write_tags(template: Template) -> str:
    """The template in the notation with <message>."""
    return _written(template, _Tags())


# ── tokens ────────────────────────────────────────────────────────────────────────────────────
class _Kind(Enum):
    OPEN = "open"
    CLOSE = "close"
    INPUT = "input"


@dataclass(frozen=True, slots=True)
class _Token:
    """A markup token from `start` to `end`; `role` is set on opening tags."""

    kind: _Kind
    start: int
    end: int
    role: str = ""


class _Notation(Protocol):
    head: str
    foot: str

    def tokens(self, text: str) -> Iterator[_Token]: ...
    def parts(self, raw: str) -> list[Part]: ...
    def escaped(self, text: str, *, before_slot: bool) -> str: ...
    def slot(self) -> str: ...


class _Handlebars:
    """The last two braces of a run open a tag, unless an odd number of backslashes precedes
    them."""

    head, foot = '{{{{#message role="{}"}}}}', "{{/message}}"
    _BRACES = re.compile(r"\{{2,}")  # counts backslashes separately: `\\*` before it is quadratic
    _OPEN = re.compile(r"""#message\s+role=(?:"([^"]*)"|'([^']*)')""")

    def tokens(self, text: str) -> Iterator[_Token]:
        for braces in self._BRACES.finditer(text):
            if _slashes(text, braces.start()) % 2 == 0:
                yield self._token(text, braces.end() - 2)

    def _token(self, text: str, start: int) -> _Token:
        end = text.find("}}", start)
        if end < 0:
            raise _error(text, start, "these braces are never closed")
        inside = text[start + 2 : end].strip()
        if inside == "/message":
            return _Token(_Kind.CLOSE, start, end + 2)
        if inside in _INPUT_NAMES:
            return _Token(_Kind.INPUT, start, end + 2)
        if found := self._OPEN.fullmatch(inside):
            return _Token(_Kind.OPEN, start, end + 2, found[1] or found[2] or "")
        problem = f"“{inside}” is unknown: write "
        raise _error(text, start, problem + '{{#message role="user"}}, {{input}} or {{/message}}')

    def parts(self, raw: str) -> list[Part]:
        parts: list[Part] = []
        at, last = 0, raw.rfind("}}")
        for braces in self._BRACES.finditer(raw):
            slashes = _slashes(raw, braces.start())
            parts.append(raw[at : braces.start() - slashes + slashes // 2])
            # Text: an escaped run, or one directly before the closing tag's braces.
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
        end = len(text.rstrip("{"))  # the placeholder's own braces follow, so this run is not text
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
    """A run of braces as text: twice the backslashes before it, plus one."""
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

    def tokens(self, text: str) -> Iterator[_Token]:
        for found in self._TOKEN.finditer(text):
            kind, start, end = found.lastgroup, found.start(), found.end()
            if kind == "open":
                role = self._OPEN.fullmatch(found[0])
                if role is None:
                    raise _error(text, start, 'write <message role="user">')
                yield _Token(_Kind.OPEN, start, end, role[1] or role[2] or "")
            elif kind == "close":
                yield _Token(_Kind.CLOSE, start, end)
            elif kind == "slot" and found[0][1:-1].strip() in _INPUT_NAMES:
                yield _Token(_Kind.INPUT, start, end)
            elif kind != "brace":
                raise _error(text, start, "write {user} for the input, {{ and }} for braces")

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


def _notation(text: str) -> _Notation:
    """The notation whose message starts first."""
    found = re.search(r"\{\{\s*#message|<message\b", text)
    if found is None:
        problem = (
            'there is no message: begin with {{#message role="user"}} or <message role="user">'
        )
        raise _error(text, len(text) - len(text.lstrip()), problem)
    return _Handlebars() if found[0].startswith("{") else _Tags()


# ── reading ───────────────────────────────────────────────────────────────────────────────────
def _role(text: str, token: _Token) -> Role:
    role = _ROLES.get(token.role)
    if role is None:
        known = ", ".join(_ROLES)
        raise _error(text, token.start, f"the role “{token.role}” is unknown: it is one of {known}")
    return role


def _require_blank(text: str, start: int, end: int) -> None:
    between = text[start:end]
    if between.strip():
        place = start + len(between) - len(between.lstrip())
        raise _error(text, place, "this stands outside of every message")


def _error(text: str, place: int, problem: str) -> TemplateError:
    line_start = text.rfind("\n", 0, place) + 1
    line = text.count("\n", 0, place) + 1
    return TemplateError(problem, line=line, column=place - line_start + 1)


def _dedented(raw: str) -> str:
    """The text without the indentation of its first line, which belongs to the template."""
    lines = raw.split("\n")
    first = next((line for line in lines[1:] if line.strip()), "")
    indent = "" if lines[0].strip() else first[: len(first) - len(first.lstrip(" \t"))]
    return "\n".join(line.removeprefix(indent) for line in lines).strip()


def _joined(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts without empty ones, and with adjacent texts joined."""
    joined: list[Part] = []
    for _, run in groupby(parts, key=type):
        neighbours = list(run)
        texts = [part for part in neighbours if isinstance(part, str)]
        joined += ["".join(texts)] if any(texts) else [p for p in neighbours if p != ""]
    return tuple(joined)


# ── writing ───────────────────────────────────────────────────────────────────────────────────
def _written(template: Template, notation: _Notation) -> str:
    return "\n".join(_written_block(block, notation) for block in template.blocks)


def _written_block(block: Block, notation: _Notation) -> str:
    following = [*block.parts[1:], ""]
    text = "".join(
        notation.slot()
        if isinstance(part, Slot)
        else notation.escaped(part, before_slot=isinstance(after, Slot))
        for part, after in zip(block.parts, following, strict=False)
    )
    indented = "\n".join(INDENT + line if line else "" for line in text.split("\n"))
    return f"{notation.head.format(block.role.value)}\n{indented}\n{notation.foot}\n"
