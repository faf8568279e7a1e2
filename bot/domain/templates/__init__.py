"""Conversation templates: parsed from two notations, filled with input, written back.

Handlebars:  {{#message role="user"}} … {{input}} … {{/message}}   (a backslash: \\{{ is text)
Tags:  <message role="user"> … {user} … </message>   (as in Python: {{ is a brace)
"""

from __future__ import annotations

from bot.domain.templates.text import parse, write_handlebars, write_tags
from bot.domain.templates.values import (
    MOST_FILLED,
    Block,
    Part,
    Said,
    Slot,
    Template,
    template_of,
)

__all__ = [
    "MOST_FILLED",
    "Block",
    "Part",
    "Said",
    "Slot",
    "Template",
    "parse",
    "template_of",
    "write_handlebars",
    "write_tags",
]
