"""What the model gets of a conversation: pure, within a token budget that is counted offline.

The oldest whole messages are dropped first; the system prompt and the questions never are. What is
sent is what the strictest chat templates take: one system message, then people and the assistant in
turn, people first and last, nothing empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from bot.domain import Message, Role
from bot.names import one_line

# The chat format adds a few tokens to every message (role, separators); 4 is OpenAI's figure.
TOKENS_PER_MESSAGE = 4
# English prose has about 4 characters to a token, code about 3: 3 keeps the estimate on the safe
# side for both. Other scripts come to about a token for a character, and emoji to two or three.
ASCII_CHARACTERS_PER_TOKEN = 3
ASTRAL_TOKENS = 3
# Stands where a strict template wants words of a person and there are none: before an answer whose
# question was deleted or is no longer in the window, and for a bare mention. It costs five tokens,
# which may go beyond the budget: the estimates leave more room than that.
UNSAID = "…"


def count_tokens(text: str) -> int:
    """An estimate that is rather too high: real tokenizers need tables from the internet."""
    ascii_count = len(text.encode("ascii", "ignore"))
    astral = sum(character > "\uffff" for character in text) if ascii_count < len(text) else 0
    others = len(text) - ascii_count - astral
    return -(-ascii_count // ASCII_CHARACTERS_PER_TOKEN) + others + ASTRAL_TOKENS * astral


def message_tokens(message: Message) -> int:
    """What one message costs of the budget."""
    return count_tokens(message.content) + TOKENS_PER_MESSAGE


class ContextWindow:
    """Takes messages newest first and says when the budget is used up.

    `budget` is in tokens and includes the system prompt; messages whose id is in `questions` are
    kept even beyond it.
    """

    def __init__(self, *, budget: int, system_prompt: str, questions: frozenset[int]) -> None:
        self._system = Message(role=Role.SYSTEM, content=system_prompt) if system_prompt else None
        self._left = budget - (message_tokens(self._system) if self._system else 0)
        self._questions = questions
        self._newest_first: list[Message] = []
        self._missing = set(questions)
        self._closed = False

    def add(self, messages: Iterable[Message]) -> None:
        """Take older messages, newest first, until one does not fit."""
        for message in messages:
            if message.id in self._questions:
                self._missing.discard(message.id)
            elif self._left < message_tokens(message):
                self._closed = True
            if message.id in self._questions or not self._closed:
                self._left -= message_tokens(message)
                self._newest_first.append(message)

    @property
    def full(self) -> bool:
        """Whether older messages would be dropped."""
        return self._closed and not self._missing

    def messages(self) -> tuple[Message, ...]:
        """System prompt first, then by index; with names where several people speak."""
        kept = named(self._newest_first[::-1])
        return alternating((self._system, *kept) if self._system else kept)


def named(messages: Sequence[Message]) -> Sequence[Message]:
    """In a thread that people share, each person's message carries their name."""
    people = {message.author.id for message in messages if message.author is not None}
    if len(people) < 2:
        return messages
    return [_with_name(message) for message in messages]


def _with_name(message: Message) -> Message:
    if message.author is None or message.role is not Role.USER or not message.content:
        return message
    return replace(message, content=f"{one_line(message.author.name)}: {message.content}")


# ── what strict templates take ────────────────────────────────────────────────────────────────
def alternating(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same words, one message for each time that somebody speaks.

    Gemma's and Mistral's templates refuse anything else, and no model reads less in it. What the
    system says later (programs may add that) joins what it says first.
    """
    told = [message for message in messages if message.content]
    system = [message for message in told if message.role is Role.SYSTEM]
    said = [message for message in told if message.role is not Role.SYSTEM]
    turns = [_joined(list(group)) for _, group in groupby(said, key=lambda message: message.role)]
    if not turns or turns[0].role is not Role.USER:
        turns.insert(0, Message(Role.USER, UNSAID))
    if turns[-1].role is not Role.USER:  # a bare mention: what is asked is what was said
        turns.append(Message(Role.USER, UNSAID))
    return (_joined(system), *turns) if system else tuple(turns)


def _joined(messages: Sequence[Message]) -> Message:
    """As the last of them, with the words of all."""
    if len(messages) == 1:
        return messages[0]
    return replace(messages[-1], content="\n\n".join(message.content for message in messages))
