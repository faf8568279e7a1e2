"""The messages that a model gets: pure, and within a token budget that is estimated offline.

The oldest messages are dropped first, the system prompt never. The newest questions that fit are
sent completely; the first that does not fit is shortened, and older questions are left out. The
result suits the strictest chat templates: one system message, then user and assistant in
alternation, the user first and last, and no empty message.
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
    count_up_to,
    image_tokens,
    message_tokens,
)

UNSAID = "…"
"""Stands for a user message that a strict template requires and the history lacks: before an answer
whose question was deleted or dropped, and for a mention without text. Its five tokens may exceed
the budget, which the estimates leave room for."""

MIN_QUESTION_TOKENS = 100
"""A shorter excerpt of a question would be useless. The newest question gets this much even if the
system prompt has used up the budget."""


def today(now: float, zone: tzinfo | None) -> str:
    """A sentence that tells the model the date at `now`; `zone` None is the machine's time zone.

    It leaves out the time of day, which would defeat the provider's prompt cache.
    """
    moment = datetime.fromtimestamp(now, UTC).astimezone(zone)
    day = f"{moment:%A, %B} {moment.day}, {moment.year}"
    return f"Today is {day} ({getattr(zone, 'key', None) or moment.tzname()})."


def shorten(text: str, tokens: int) -> str:
    """The beginning and end of `text` within `tokens`, with a note on the missing part."""
    keep = min(len(text), ASCII_CHARACTERS_PER_TOKEN * tokens)
    while True:
        head, tail = text[: keep - keep // 2], text[len(text) - keep // 2 :]
        short = f"{head}\n[{len(text) - keep:,} characters are left out here]\n{tail}"
        cost = count_tokens(short)
        if cost <= tokens or not keep:
            return short
        keep = max(0, min(keep - 1, keep * tokens // cost))


def _fits(message: Message, tokens: int) -> bool:
    """Whether `message` costs at most `tokens`; skips the count for a far longer message."""
    if count_up_to(message.content, tokens) > tokens:
        return False
    return message_tokens(message) <= tokens


class ContextWindow:
    """Takes messages newest first until the budget is used up.

    `budget` is in tokens and includes the system prompt. `questions` are the ids of the messages
    that may be shortened. `today` follows the system prompt, unless that is empty.
    """

    def __init__(
        self, *, budget: int, system_prompt: str, questions: frozenset[int], today: str = ""
    ) -> None:
        prompts = [text for text in (system_prompt, today if system_prompt else "") if text]
        self._system = [Message(role=Role.SYSTEM, content=text) for text in prompts]
        self._left = budget - sum(map(message_tokens, self._system))
        self._questions = questions
        self._newest_first: list[Message] = []
        self._missing = set(questions)
        self._history_full = False
        self._questions_full = False
        self._has_shortened = False

    def add(self, messages: Iterable[Message]) -> None:
        """Add older messages, newest first, until one does not fit."""
        for message in messages:
            if message.id in self._questions:
                self._add_question(message)
            elif not self._history_full and _fits(message, self._left):
                self._append(message)
            else:
                self._history_full = True

    def _add_question(self, message: Message) -> None:
        """Add a question, shortened if there is not enough room."""
        newest = self._missing == self._questions
        room = max(self._left, MIN_QUESTION_TOKENS) if newest else self._left
        if self._questions_full:
            return
        if _fits(message, room):
            self._missing.discard(message.id)
            self._append(message)
        elif room >= MIN_QUESTION_TOKENS:
            self._missing.discard(message.id)
            images = sum(map(image_tokens, message.parts))
            text = shorten(message.content, max(0, room - images - TOKENS_PER_MESSAGE))
            self._append(replace(message, content=text))
            self._questions_full = self._history_full = self._has_shortened = True
        else:
            self._questions_full = self._history_full = True

    def _append(self, message: Message) -> None:
        self._left -= message_tokens(message)
        self._newest_first.append(message)

    @property
    def full(self) -> bool:
        """Whether `add` would drop older messages."""
        return self._history_full and (self._questions_full or not self._missing)

    @property
    def shortened(self) -> bool:
        """Whether a question was shortened or left out."""
        return self._has_shortened or bool(self._missing)

    def messages(self) -> tuple[Message, ...]:
        """The system prompt, then the messages by index, with names if several people speak."""
        kept = add_names(self._newest_first[::-1])
        if self._missing:
            note = f"[Earlier messages left out, as they are too long: {len(self._missing)}]"
            kept = [Message(Role.USER, note), *kept]
        return alternate_roles((*self._system[:1], *kept, *self._system[1:]))


def add_names(messages: Sequence[Message]) -> Sequence[Message]:
    """Prefix each person's messages with their name if several people speak."""
    people = {message.author.id for message in messages if message.author is not None}
    if len(people) < 2:
        return messages
    return [_add_name(message) for message in messages]


def _add_name(message: Message) -> Message:
    if message.author is None or message.role is not Role.USER or not message.content:
        return message
    return replace(message, content=f"{one_line(message.author.name)}: {message.content}")


class ContextBudgets:
    """The token budgets that models were found to accept, by model name; kept in memory."""

    def __init__(self) -> None:
        self._budgets: dict[str, int] = {}

    def get(self, model: str, tokens: int) -> int:
        """The budget for a first request in estimated tokens; `tokens` is the setting's."""
        return min(tokens, self._budgets.get(model, tokens))

    def learn(self, model: str, tokens: int, max_tokens: int | None, error: ContextTooLong) -> int:
        """The budget to try after a request of `tokens` estimated tokens was too long.

        If the server names its window, the ratio of its token count to our estimate converts the
        window to a budget, which is remembered; a quarter is left for the answer. Otherwise the
        budget is half of `tokens`.
        """
        half = tokens // 2
        if error.window is None:
            return half
        counted = error.asked if error.asked and error.asked > error.window else None
        ratio = tokens / counted if counted else 1.0
        room = error.window - min(max_tokens or error.window // 4, error.window // 2)
        budget = int(room * min(max(ratio, 0.5), 4.0))
        if budget >= tokens:  # the estimate says that the request would have fit
            budget = half
        self._budgets[model] = min(budget, self._budgets.get(model, budget))
        return budget


# ── strict chat templates ─────────────────────────────────────────────────────────────────────
def alternate_roles(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same text with consecutive messages of one role merged into one.

    Gemma's and Mistral's templates refuse anything else; other models read it just as well.
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
    """The last message with the text and the images of all of them."""
    if len(messages) == 1:
        return messages[0]
    return replace(
        messages[-1],
        content="\n\n".join(message.content for message in messages),
        parts=tuple(part for message in messages for part in message.parts),
    )
