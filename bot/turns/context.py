"""What the model gets of a conversation: pure, within a token budget that is counted offline.

The oldest whole messages are dropped first, the system prompt never. Of the questions the newest
that fit are whole; the first that does not keeps its beginning and its end, and older ones are left
out. What is sent is what the strictest chat templates take: one system message, then people and the
assistant in turn, people first and last, nothing empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from itertools import groupby

from bot.domain.conversations import Message, Role
from bot.domain.errors import ContextTooLong
from bot.domain.names import one_line
from bot.domain.tokens import (
    ASCII_CHARACTERS_PER_TOKEN,
    TOKENS_PER_MESSAGE,
    count_tokens,
    message_tokens,
)

# Stands where a strict template wants words of a person and there are none: before an answer whose
# question was deleted or is no longer in the window, and for a bare mention. It costs five tokens,
# which may go beyond the budget: the estimates leave more room than that.
UNSAID = "…"
# A question is not cut to fewer tokens than this: so little says nothing. The newest one has as
# many even where the system prompt has used up the budget.
LEAST_TOKENS = 100


def today(now: float, zone: tzinfo | None) -> str:
    """Which day it is at `now`, for the model; `zone` None is the machine's own.

    The day is enough: with the time of day no provider could keep the prompt in its cache.
    """
    moment = datetime.fromtimestamp(now, UTC).astimezone(zone)
    day = f"{moment:%A, %B} {moment.day}, {moment.year}"
    return f"Today is {day} ({getattr(zone, 'key', None) or moment.tzname()})."


def shortened(text: str, tokens: int) -> str:
    """The beginning and the end of a text, within so many tokens, with what is missing said."""
    keep = min(len(text), ASCII_CHARACTERS_PER_TOKEN * tokens)
    while True:
        head, tail = text[: keep - keep // 2], text[len(text) - keep // 2 :]
        short = f"{head}\n[{len(text) - keep:,} characters are left out here]\n{tail}"
        cost = count_tokens(short)
        if cost <= tokens or not keep:
            return short
        keep = max(0, min(keep - 1, keep * tokens // cost))


def _fits(message: Message, tokens: int) -> bool:
    """Whether it costs no more; what is far too long is not counted."""
    if len(message.content) > ASCII_CHARACTERS_PER_TOKEN * max(0, tokens):
        return False
    return message_tokens(message) <= tokens


class ContextWindow:
    """Takes messages newest first and says when the budget is used up.

    `budget` is in tokens and includes the system prompt; a message whose id is in `questions` is
    cut where it does not fit. `today` ends what the system says, unless the prompt is switched off.
    """

    def __init__(
        self, *, budget: int, system_prompt: str, questions: frozenset[int], today: str = ""
    ) -> None:
        said = [text for text in (system_prompt, today if system_prompt else "") if text]
        self._system = [Message(role=Role.SYSTEM, content=text) for text in said]
        self._left = budget - sum(map(message_tokens, self._system))
        self._questions = questions
        self._newest_first: list[Message] = []
        self._missing = set(questions)
        self._closed = False  # for history
        self._full = False  # for questions
        self._cut = False

    def add(self, messages: Iterable[Message]) -> None:
        """Take older messages, newest first, until one does not fit."""
        for message in messages:
            if message.id in self._questions:
                self._ask(message)
            elif not self._closed and _fits(message, self._left):
                self._take(message)
            else:
                self._closed = True

    def _ask(self, message: Message) -> None:
        """Take a question, as far as there is room."""
        newest = self._missing == self._questions
        room = max(self._left, LEAST_TOKENS) if newest else self._left
        if self._full:
            return
        if _fits(message, room):
            self._missing.discard(message.id)
            self._take(message)
        elif room >= LEAST_TOKENS:
            self._missing.discard(message.id)
            text = shortened(message.content, room - TOKENS_PER_MESSAGE)
            self._take(replace(message, content=text))
            self._full = self._closed = self._cut = True
        else:
            self._full = self._closed = True

    def _take(self, message: Message) -> None:
        self._left -= message_tokens(message)
        self._newest_first.append(message)

    @property
    def full(self) -> bool:
        """Whether older messages would be dropped."""
        return self._closed and (self._full or not self._missing)

    @property
    def shortened(self) -> bool:
        """Whether a question was cut, or left out."""
        return self._cut or bool(self._missing)

    def messages(self) -> tuple[Message, ...]:
        """System prompt first, then by index; with names where several people speak."""
        kept = named(self._newest_first[::-1])
        if self._missing:
            said = f"[Earlier messages left out, as they are too long: {len(self._missing)}]"
            kept = [Message(Role.USER, said), *kept]
        return alternating((*self._system[:1], *kept, *self._system[1:]))


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


class Windows:
    """The history that each model was found to take, by its name; in memory."""

    def __init__(self) -> None:
        self._budgets: dict[str, int] = {}

    def budget(self, model: str, tokens: int) -> int:
        """The budget for a first request, in our estimate; `tokens` is the settings'."""
        return min(tokens, self._budgets.get(model, tokens))

    def learn(self, model: str, tokens: int, max_tokens: int | None, error: ContextTooLong) -> int:
        """The next budget after a request of `tokens`, in our estimate, was too long.

        A window that the server names is remembered, in our measure: what it counted in the request
        tells how ours compares. A quarter of it is left for the answer. Without one, half is tried.
        """
        half = tokens // 2
        if error.window is None:
            return half
        asked = error.asked if error.asked and error.asked > error.window else None
        measure = tokens / asked if asked else 1.0
        room = error.window - min(max_tokens or error.window // 4, error.window // 2)
        budget = int(room * min(max(measure, 0.5), 4.0))
        if budget >= tokens:  # by our measure it would have fitted
            budget = half
        self._budgets[model] = min(budget, self._budgets.get(model, budget))
        return budget


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
