"""System prompts: plain text, or a template with opening messages for each conversation. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from bot.domain.conversations import Message, Role
from bot.domain.errors import TemplateError
from bot.domain.templates import parse

INSTRUCTIONS_LABEL = (
    "The person wrote the following instructions for this conversation. Follow them unless they "
    "contradict what stands above:"
)
ONLY_INSTRUCTIONS_LABEL = "The person wrote the following instructions for this conversation:"

MAX_INSTRUCTIONS = 8_000
"""The most characters of a conversation's instructions, the same as for a prompt set by command."""

_TEMPLATE = re.compile(r"\s*+(?:\{\{\s*#message\b|<message\s+role=)")


@dataclass(frozen=True, slots=True)
class Prompt:
    """The system message ("" for none) and the messages that open every conversation."""

    system: str
    opening: tuple[Message, ...] = ()


@lru_cache(maxsize=1_000)
def read_prompt(text: str) -> Prompt:
    """Parse a prompt. Text that resembles a template but is not a valid one is used as it
    stands."""
    if not _TEMPLATE.match(text):
        return Prompt(text)
    try:
        return _from_template(text)
    except TemplateError:
        return Prompt(text)


def with_instructions(prompt: Prompt, text: str) -> Prompt:
    """Append a person's labeled instructions for one conversation to the operator's prompt.

    They never replace the operator's text, and are the same in every request, so that a provider's
    cache keeps the beginning.
    """
    if not text:
        return prompt
    label = INSTRUCTIONS_LABEL if prompt.system else ONLY_INSTRUCTIONS_LABEL
    return replace(prompt, system="\n\n".join(filter(None, (prompt.system, label, text))))


def check_prompt(text: str) -> str:
    """Describe the error in a template in one sentence; "" if there is none."""
    if not _TEMPLATE.match(text):
        return ""
    try:
        _from_template(text)
    except TemplateError as error:
        return str(error)
    return ""


def _from_template(text: str) -> Prompt:
    messages = parse(text).opening()
    system = "\n\n".join(said for role, said in messages if role is Role.SYSTEM and said)
    opening = [Message(role, said) for role, said in messages if role is not Role.SYSTEM and said]
    return Prompt(system, tuple(opening))
