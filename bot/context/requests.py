"""Builds a turn's requests: from the history and the attachments, within what the model accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

import structlog

from bot.context.attachments import AttachmentContext
from bot.context.budgets import ContextBudgets
from bot.context.turn_attachments import TurnAttachments
from bot.context.window import ContextWindow, today
from bot.domain.attachment_labels import CANNOT_SEE, IMAGE_REFUSED
from bot.domain.attachments import Attachment
from bot.domain.errors import CannotSee, ContextTooLong, ImageRefused
from bot.domain.model import ChatRequest, ReasoningDisplay
from bot.domain.tokens import message_tokens
from bot.domain.turns import Claim
from bot.ports.clock import Clock
from bot.ports.model import ChatModel
from bot.ports.store import Store

log = structlog.stdlib.get_logger(__name__)

HISTORY_ROWS = 50
"""Messages per read of the history: most contexts need one read, long ones a few."""


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """The settings that concern turns; see `.env.example`."""

    system_prompt: str
    context_tokens: int
    zone: tzinfo | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    max_concurrent: int = 200
    max_queued: int = 2_000
    reasoning: ReasoningDisplay = ReasoningDisplay.HIDDEN


class RequestBuilder:
    """The requests of one attempt at a turn, each of which replaces the one before.

    `shortened`: the questions were too long to be sent completely. `omissions` are the sentences
    about attachments that the newest request leaves out.
    """

    def __init__(
        self,
        *,
        store: Store,
        claim: Claim,
        options: TurnOptions,
        budgets: ContextBudgets,
        attachments: TurnAttachments,
        clock: Clock,
    ) -> None:
        self._store, self._claim, self._options = store, claim, options
        self._budgets, self._attachments, self._clock = budgets, attachments, clock
        self._budget = options.context_tokens
        self._sent: AttachmentContext | None = None
        self._refused: Sequence[Attachment] = ()
        self.shortened = False
        self.omissions: Sequence[str] = ()

    async def first(self, model: ChatModel) -> ChatRequest:
        """The first request to `model`, within the budget that is known for it."""
        self._attachments.no_images = CANNOT_SEE if model.sees is False else ""
        return await self._build(self._budgets.get(model.name, self._options.context_tokens))

    async def with_less(
        self,
        model: ChatModel,
        request: ChatRequest,
        error: ContextTooLong | CannotSee | ImageRefused,
    ) -> ChatRequest | None:
        """`request` without what it was refused for; None if nothing is left to leave out."""
        if isinstance(error, ContextTooLong):
            return await self._shorter(model, request, error)
        return await self._without_images(error)

    async def _shorter(
        self, model: ChatModel, request: ChatRequest, error: ContextTooLong
    ) -> ChatRequest | None:
        """With less history; None if no history is left to drop."""
        tokens = request_tokens(request)
        budget = self._budgets.learn(model.name, tokens, request.max_tokens, error)
        while budget > 0:
            shorter = await self._build(budget)
            if shorter.messages != request.messages:
                log.info("request too long: asking with less history", tokens=tokens, budget=budget)
                return shorter
            budget //= 2
        return None

    async def _without_images(self, error: CannotSee | ImageRefused) -> ChatRequest | None:
        """The newest request without images, or with fewer; None if it had none."""
        if self._sent is None or not self._sent.image_count:
            return None
        if isinstance(error, CannotSee):
            self._attachments.no_images = CANNOT_SEE
        elif error.limit and self._sent.image_count > error.limit:
            self._attachments.max_images = error.limit
        else:
            self._attachments.no_images = IMAGE_REFUSED
            self._refused = self._sent.sent_images
        return await self._build(self._budget)

    async def record_answer(self) -> None:
        """The newest request was answered: images that failed the one before are to blame."""
        await self._attachments.refuse_images(self._refused)

    async def _build(self, budget: int) -> ChatRequest:
        self._budget = budget
        self._sent = attached = self._attachments.context(budget)
        window = await self._read(budget, attached)
        self.shortened, self.omissions = window.shortened, attached.sentences()
        return ChatRequest(
            messages=window.messages(),
            max_tokens=self._options.max_output_tokens,
            temperature=self._options.temperature,
            effort=self._claim.conversation.effort,
        )

    async def _read(self, budget: int, attached: AttachmentContext) -> ContextWindow:
        """The model's context, read newest first until the budget is used up (invariant 9)."""
        claim, before = self._claim, self._claim.reply_index
        options = replace(self._options, context_tokens=budget)
        window = ContextWindow(
            budget=options.context_tokens,
            system_prompt=options.system_prompt,
            today=today(self._clock.time(), options.zone),
            questions=frozenset(question.id for question in claim.asked if not question.late),
        )
        while not window.full:
            rows = await self._store.history(
                claim.conversation.id, epoch=claim.epoch, before=before, limit=HISTORY_ROWS
            )
            window.add(await attached.expand(rows))
            if len(rows) < HISTORY_ROWS:
                break
            before = rows[-1].index
        return window


def request_tokens(request: ChatRequest) -> int:
    """A request's estimated tokens."""
    return sum(map(message_tokens, request.messages))
