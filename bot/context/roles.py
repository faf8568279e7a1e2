"""Adds people's names, and alternates roles as the strictest chat templates require."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from bot.domain.conversations import Message, Role
from bot.domain.names import one_line

UNSAID = "…"
"""Placeholder for a user message that a strict template requires and the history lacks: before an
answer whose question was deleted or dropped, and for a mention without text. It has five tokens,
for which the estimates leave room."""


def add_names(messages: Sequence[Message]) -> Sequence[Message]:
    """Prefix each person's messages with the person's name."""
    names = {message.author.name for message in messages if message.author is not None}
    shown = {name: one_line(name) for name in names}
    return [_add_name(message, shown) for message in messages]


def _add_name(message: Message, shown: Mapping[str, str]) -> Message:
    if message.author is None or message.role is not Role.USER or not message.content:
        return message
    return replace(message, content=f"{shown[message.author.name]}: {message.content}")


def alternate_roles(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Merge consecutive messages of one role into one.

    Gemma's and Mistral's templates refuse anything else; other models read the result just as well.
    System messages from the middle (programs may add them) are merged into the first.
    """
    present = [message for message in messages if message.content or message.parts]
    system = [message for message in present if message.role is Role.SYSTEM]
    others = [message for message in present if message.role is not Role.SYSTEM]
    turns = [_merge(list(group)) for _, group in groupby(others, key=lambda message: message.role)]
    if not turns or turns[0].role is not Role.USER:
        turns.insert(0, Message(Role.USER, UNSAID))
    if turns[-1].role is not Role.USER:  # a mention without text asks about the history
        turns.append(Message(Role.USER, UNSAID))
    return (_merge(system), *turns) if system else tuple(turns)


def _merge(messages: Sequence[Message]) -> Message:
    """Add the text and the images of all messages to the last one."""
    if len(messages) == 1:
        return messages[0]
    return replace(
        messages[-1],
        content="\n\n".join(message.content for message in messages),
        parts=tuple(part for message in messages for part in message.parts),
    )
