"""Templates as text: parsed from either notation, written in both.

Invariant: a template written in either notation parses back to the same messages.
"""

from __future__ import annotations

from bot.domain.conversations import Role
from bot.domain.templates.notations import (
    HANDLEBARS,
    TAGS,
    Kind,
    Notation,
    Token,
    error_at,
    notation_of,
)
from bot.domain.templates.values import Block, Slot, Template, joined

INDENT = "    "
_ROLES = {role.value: role for role in Role}


def parse(text: str) -> Template:
    """Parse a template in either notation. Raises TemplateError with the line."""
    notation = notation_of(text)
    blocks: list[Block] = []
    opened, at = None, 0
    for token in notation.tokens(text):
        if opened is None:
            _require_blank(text, at, token.start)
            if token.kind is not Kind.OPEN:
                raise error_at(text, token.start, "this is outside of every message")
            opened = token
        elif token.kind is Kind.OPEN:
            raise error_at(text, opened.start, "this message is never closed")
        elif token.kind is Kind.CLOSE:
            raw = _dedented(text[opened.end : token.start])
            blocks.append(Block(_role(text, opened), joined(notation.parts(raw))))
            opened = None
        at = token.end
    if opened is not None:
        raise error_at(text, opened.start, "this message is never closed")
    _require_blank(text, at, len(text))
    return Template(tuple(blocks))


def write_handlebars(template: Template) -> str:
    """Write the template in the notation with {{#message}}."""
    return _written(template, HANDLEBARS)


def write_tags(template: Template) -> str:
    """Write the template in the notation with <message>."""
    return _written(template, TAGS)


def _role(text: str, token: Token) -> Role:
    role = _ROLES.get(token.role)
    if role is None:
        known = ", ".join(_ROLES)
        raise error_at(
            text, token.start, f"the role “{token.role}” is unknown: it is one of {known}"
        )
    return role


def _require_blank(text: str, start: int, end: int) -> None:
    between = text[start:end]
    if between.strip():
        place = start + len(between) - len(between.lstrip())
        raise error_at(text, place, "this is outside of every message")


def _dedented(raw: str) -> str:
    """Remove the indentation of the first line, which belongs to the template, from all lines."""
    lines = raw.split("\n")
    first = next((line for line in lines[1:] if line.strip()), "")
    indent = "" if lines[0].strip() else first[: len(first) - len(first.lstrip(" \t"))]
    return "\n".join(line.removeprefix(indent) for line in lines).strip()


def _written(template: Template, notation: Notation) -> str:
    return "\n".join(_written_block(block, notation) for block in template.blocks)


def _written_block(block: Block, notation: Notation) -> str:
    following = [*block.parts[1:], ""]
    text = "".join(
        notation.slot()
        if isinstance(part, Slot)
        else notation.escaped(part, before_slot=isinstance(after, Slot))
        for part, after in zip(block.parts, following, strict=False)
    )
    indented = "\n".join(INDENT + line if line else "" for line in text.split("\n"))
    return f"{notation.head.format(block.role.value)}\n{indented}\n{notation.foot}\n"
