"""Conversations with placeholders, independent of any notation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import groupby

from bot.domain.conversations import Role
from bot.domain.errors import TemplateError

Said = tuple[tuple[Role, str], ...]
MOST_FILLED = 400_000
"""The most characters of all filled messages together: several times what a model reads. Without a
limit, many placeholders and a long input could exhaust the memory."""


class Slot(Enum):
    """A placeholder in a message."""

    INPUT = "input"


Part = str | Slot


@dataclass(frozen=True, slots=True)
class Block:
    """One message of a template: text and placeholders."""

    role: Role
    parts: tuple[Part, ...]

    def text(self, given: str) -> str:
        """The message with `given` as the input."""
        return "".join(given if isinstance(part, Slot) else part for part in self.parts)


@dataclass(frozen=True, slots=True)
class Template:
    """A conversation with placeholders for the input."""

    blocks: tuple[Block, ...]

    def render(self, given: str) -> Template:
        """Fill in the input. Raises TemplateError if the result is too long."""
        self._require_room(given)
        return template_of((block.role, block.text(given)) for block in self.blocks)

    def messages(self, given: str = "") -> Said:
        """The roles and texts with the input filled in. Raises TemplateError if they are too
        long."""
        self._require_room(given)
        return tuple((block.role, block.text(given)) for block in self.blocks)

    def _require_room(self, given: str) -> None:
        parts = [part for block in self.blocks for part in block.parts]
        slots = sum(isinstance(part, Slot) for part in parts)
        filled = sum(len(part) for part in parts if isinstance(part, str)) + slots * len(given)
        if filled > MOST_FILLED:
            problem = f"filled in, it has {filled:,} characters; the limit is {MOST_FILLED:,}"
            raise TemplateError(problem, line=1, column=1)

    def opening(self) -> Said:
        """The messages before the first question, which takes the place of the last block's
        placeholder.

        Raises TemplateError if there is a placeholder anywhere else.
        """
        before = self.blocks[:-1] if self.blocks[-1].parts == (Slot.INPUT,) else self.blocks
        if any(Slot.INPUT in block.parts for block in before):
            raise TemplateError(
                "in an opening, the input must stand alone in the last message", line=1, column=1
            )
        return tuple((block.role, block.text("")) for block in before)


def template_of(messages: Iterable[tuple[Role, str]]) -> Template:
    """Turn messages into a template without placeholders."""
    return Template(tuple(Block(role, joined([text.strip()])) for role, text in messages))


def joined(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Merge adjacent texts and drop empty parts."""
    joined: list[Part] = []
    for _, run in groupby(parts, key=type):
        neighbours = list(run)
        texts = [part for part in neighbours if isinstance(part, str)]
        joined += ["".join(texts)] if any(texts) else [p for p in neighbours if p != ""]
    return tuple(joined)
