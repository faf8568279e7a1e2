"""Selects the part of a conversation to summarize next.

Invariant: a segment follows the messages that are already covered, ends before the newest turn's
questions, and costs at most one request to the summarizing model.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from bot.context.excerpts import lasting_tokens
from bot.context.positions import ROOMY_SHARE
from bot.context.summary_prompt import quote_message
from bot.context.window import shorten
from bot.domain.attachment_labels import shown_name
from bot.domain.attachments import Attachment
from bot.domain.context import ContextState
from bot.domain.conversations import Message, Role
from bot.domain.policy import Redaction
from bot.domain.tokens import count_tokens, count_up_to
from bot.domain.turns import Claim
from bot.ports.attachments import AttachmentStore
from bot.ports.store import Store

FULL = 0.85
"""The share of the budget at which the oldest messages are summarized. The rest is room for turns
that pass until the summary is ready."""

KEPT = 0.55
"""The share of the budget that stays in the window then. The window moves as far as a cut moves it
(from the whole budget to 70 %), so that requests change their beginning just as rarely."""

CATCH_UP_MESSAGES = 2_000
"""How far below the window the summary begins, so that its cost does not grow with the history:
after an upgrade or an erasure, a turn reads about a hundred messages."""

SPOKEN_TOKENS = 500
"""The tokens of a voice message or a long paste that are summarized."""

ROWS = 100
"""Messages per read of the history."""


@dataclass(frozen=True, slots=True)
class WindowUse:
    """How full a turn left the window: `tokens` counts its newest request and its answer.

    `tokens` and `budget` are estimates of `bot.domain.tokens`. `prompt_tokens` counts the system
    prompt. `assigned` is the model that the rules give the place. `redact`: see `ChatRequest`.
    """

    budget: int
    tokens: int
    start: int
    prompt_tokens: int = 0
    assigned: str | None = None
    redact: frozenset[Redaction] = frozenset()

    @property
    def is_full(self) -> bool:
        """Whether the oldest messages will soon leave the window."""
        return self.tokens >= FULL * self.budget


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """A message to summarize: `text` contains its content and the names of its attachments.

    `tokens` counts the message as it is quoted in a request.
    """

    row: Message
    text: str
    tokens: int

    @classmethod
    def of(cls, row: Message, text: str) -> SourceMessage:
        """Create a source message and count its tokens."""
        return cls(row, text, count_tokens(f"{quote_message(row, text)}\n\n"))

    def quoted(self) -> str:
        """The message as the summarizing model receives it."""
        return quote_message(self.row, self.text)

    def shortened(self, tokens: int) -> SourceMessage:
        """Keep the beginning and the end of the message within `tokens`, if there is any room."""
        room = tokens
        while True:
            short = self.of(self.row, shorten(self.text, room))
            if short.tokens <= tokens or not room:
                return short
            room //= 2


@dataclass(frozen=True, slots=True)
class Segment:
    """Messages to summarize. Afterwards the summary covers all messages below index `before`."""

    messages: Sequence[SourceMessage]
    before: int

    @property
    def tokens(self) -> int:
        """The estimated tokens of the messages."""
        return sum(message.tokens for message in self.messages)

    def half(self) -> Segment | None:
        """The older half of the segment; None if it has a single message."""
        if len(self.messages) < 2:
            return None
        kept = self.messages[: len(self.messages) // 2]
        return Segment(kept, before=kept[-1].row.index + 1)


class SegmentReader:
    """Reads the messages of one turn's conversation, up to that turn's questions."""

    def __init__(self, *, store: Store, attachments: AttachmentStore, claim: Claim) -> None:
        self._store, self._attachments, self._claim = store, attachments, claim
        self._questions = frozenset(question.id for question in claim.questions)

    async def next_segment(self, state: ContextState, use: WindowUse, room: int) -> Segment | None:
        """The next messages to summarize, within `room` tokens; None if nothing is due."""
        covered = state.summary.before if state.summary is not None else 0
        until = state.start
        if use.is_full:
            until = max(until, await self._end_of_cut(max(state.start, covered), state, use))
        covered = max(covered, state.start - CATCH_UP_MESSAGES)
        messages: list[SourceMessage] = []
        async for message in self._read(covered, until):
            if messages and message.tokens > room:
                break
            fitting = message if message.tokens <= room else message.shortened(room)
            messages.append(fitting)
            room -= fitting.tokens
        if not messages:
            return None
        return Segment(messages, before=messages[-1].row.index + 1)

    async def _end_of_cut(self, start: int, state: ContextState, use: WindowUse) -> int:
        """The first index that stays if the window keeps `KEPT` of its budget."""
        summary = count_tokens(state.summary.text) if state.summary is not None else 0
        messages = [message async for message in self._read(start, self._claim.reply_index)]
        # The window shortens huge messages before it drops any.
        costs = [lasting_tokens(message.tokens, use.budget) for message in messages]
        left = use.prompt_tokens + summary + sum(costs) + await self._newest_tokens(use.budget)
        if left <= ROOMY_SHARE * use.budget:
            return start
        for message, cost in zip(messages, costs, strict=True):
            # An answer never begins the window: its question would be missing.
            if left <= KEPT * use.budget and message.row.role is Role.USER:
                return message.row.index
            left -= cost
        return messages[-1].row.index + 1 if messages else start

    async def _newest_tokens(self, budget: int) -> float:
        """The tokens that the newest turn's questions and answer will need, without attachments."""
        rows = await self._store.history(
            self._claim.conversation.id,
            epoch=self._claim.epoch,
            before=self._claim.reply_index + 1,
            limit=len(self._questions) + 1,
        )
        return sum(lasting_tokens(count_up_to(row.content, budget), budget) for row in rows)

    async def _read(self, start: int, before: int) -> AsyncIterator[SourceMessage]:
        """Yield the messages from index `start` on, oldest first, up to the turn's questions."""
        claim = self._claim
        while True:
            rows = await self._store.history_from(
                claim.conversation.id, epoch=claim.epoch, start=start, before=before, limit=ROWS
            )
            ids = [row.id for row in rows if row.has_attachments]
            attached = await self._attachments.of_messages(ids) if ids else {}
            for row in rows:
                if row.id in self._questions:
                    return
                yield await self._quote(row, attached.get(row.id, ()))
            if len(rows) < ROWS:
                return
            start = rows[-1].index + 1

    async def _quote(self, row: Message, attachments: Sequence[Attachment]) -> SourceMessage:
        texts = [row.content, *[await self._describe(each) for each in attachments]]
        return SourceMessage.of(row, "\n\n".join(text for text in texts if text))

    async def _describe(self, attachment: Attachment) -> str:
        """An attachment's name; or its words, if the attachment is the author's message."""
        if attachment.digest and (attachment.is_paste or attachment.is_voice):
            extract = await self._attachments.read_extract(attachment.digest)
            if extract is not None and extract.text:
                return _beginning_and_end(extract.text, SPOKEN_TOKENS)
        if attachment.is_link:
            return f"[Link: {attachment.locator.get('url') or shown_name(attachment)}]"
        return f'[File "{shown_name(attachment)}"]'


def _beginning_and_end(text: str, tokens: int) -> str:
    return text if count_up_to(text, tokens) <= tokens else shorten(text, tokens)
