"""Builds a turn's requests from the history and the attachments, within the model's limits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import structlog

from bot.context.attachments import AttachmentContext
from bot.context.budgets import first_model
from bot.context.context_ports import ContextPorts
from bot.context.estimates import RequestEstimate, request_tokens
from bot.context.positions import Positions, Sizes, Source, WindowReader
from bot.context.profile import RequestProfile
from bot.context.segments import WindowUse
from bot.context.turn_attachments import TurnAttachments
from bot.context.window import ContextWindow, summary_message, today
from bot.domain.attachment_labels import CANNOT_SEE, IMAGE_REFUSED
from bot.domain.attachments import Attachment
from bot.domain.context import ContextState, RequestTokens
from bot.domain.conversations import Conversation
from bot.domain.errors import CannotSee, ContextTooLong, ImageRefused, StoreUnavailable
from bot.domain.feedback import MadeWith
from bot.domain.model import ChatRequest, Usage
from bot.domain.tokens import count_tokens, message_tokens
from bot.domain.turns import Claim
from bot.ports.model import ChatModel

log = structlog.stdlib.get_logger(__name__)

SUMMARY_SHARE = 0.25
"""A summary above this share of the budget is left out: the newest messages are more useful."""


class RequestBuilder:
    """Builds the requests of one attempt to answer a turn; each replaces the previous one.

    `shortened`: the questions were too long to be sent completely. `omissions` are the sentences
    about attachments that the newest request leaves out. `tokens` is its token estimate; None if it
    has images, because models differ too much in how they count these.
    """

    def __init__(
        self,
        *,
        ports: ContextPorts,
        claim: Claim,
        attachments: TurnAttachments,
        profile: RequestProfile,
    ) -> None:
        self._ports, self._claim, self._attachments = ports, claim, attachments
        self._profile = profile
        self._budget = 0
        self._is_kept = True  # whether the newest request's window is the stored one
        self._request = ChatRequest(messages=())
        self._expected = 0.0  # tokens of the newest request
        self._use = WindowUse(budget=0, tokens=0, start=0)
        self._state = ContextState()
        self._sent: AttachmentContext | None = None
        self._refused: Sequence[Attachment] = ()
        self.shortened = False
        self.has_new_summary = False  # there is a summary that no reply has mentioned
        self.omissions: Sequence[str] = ()
        self.tokens: RequestTokens | None = None

    async def first(self, model: ChatModel) -> ChatRequest:
        """The first request to `model`, within the model's known budget."""
        self._attachments.no_images = CANNOT_SEE if model.sees is False else ""
        self._attachments.max_images = self._ports.budgets.max_images(model)
        return await self._build(model, self._ports.budgets.get(model))

    async def with_less(
        self,
        model: ChatModel,
        request: ChatRequest,
        error: ContextTooLong | CannotSee | ImageRefused,
    ) -> ChatRequest | None:
        """Leave out what `request` was refused for; None if nothing is left to leave out."""
        if isinstance(error, ContextTooLong):
            return await self._shorter(model, request, error)
        return await self._without_images(model, error)

    async def _shorter(
        self, model: ChatModel, request: ChatRequest, error: ContextTooLong
    ) -> ChatRequest | None:
        """Build a request with less history; None if no history is left to drop.

        Only this turn gets less history if a smaller, later model of the chain refused the request,
        or if the question itself may be what makes it too long.
        """
        self._is_kept = self._ports.budgets.is_of_first(model, error.model)
        if error.window is None and self._is_mostly_new():
            self._is_kept = False
        tokens = self._expected
        budget = self._ports.budgets.learn(model, tokens, error)
        while budget > 0:
            shorter = await self._build(model, budget)
            if shorter.messages != request.messages:
                log.info(
                    "request too long: asking with less history", tokens=int(tokens), budget=budget
                )
                return shorter
            budget //= 2
        return None

    def _is_mostly_new(self) -> bool:
        """Whether the last message, with the questions, is at least half of the request."""
        costs = list(map(message_tokens, self._request.messages))
        return 2 * costs[-1] > sum(costs)

    async def _without_images(
        self, model: ChatModel, error: CannotSee | ImageRefused
    ) -> ChatRequest | None:
        """Rebuild the newest request with fewer or no images; None if it had none."""
        if self._sent is None or not self._sent.image_count:
            return None
        if isinstance(error, CannotSee):
            self._attachments.no_images = CANNOT_SEE
        elif error.limit and self._sent.image_count > error.limit:
            self._ports.budgets.learn_images(model, error)
            self._attachments.max_images = error.limit
        else:
            self._attachments.no_images = IMAGE_REFUSED
            self._refused = self._sent.sent_images
        return await self._build(model, self._budget)

    async def record_answer(self, model: str | None, usage: Usage | None) -> None:
        """Record that `model` answered: if the previous request failed, its images were to blame.

        If the database fails, what could be learned is lost, but never the answer, which is already
        shown.
        """
        try:
            if model is not None and usage is not None:
                await self._ports.estimates.learn(model, self._request.messages, usage.input_tokens)
            await self._attachments.refuse_images(self._refused)
        except StoreUnavailable as error:
            log.warning("nothing learned from an answer: the database failed", error=str(error))

    @property
    def made_with(self) -> MadeWith:
        """The profile, prompt and window position of the newest request."""
        return MadeWith(self._profile.name, self._profile.prompt_digest, self._state.start)

    @property
    def expected_tokens(self) -> float:
        """The tokens of the newest request, as its provider should count them."""
        return self._expected

    def use(self, answer: str) -> WindowUse:
        """How full the stored window is with its newest request and the `answer`.

        A request that was reduced only for this turn is ignored.
        """
        return replace(self._use, tokens=self._use.tokens + count_tokens(answer))

    # ── one request ───────────────────────────────────────────────────────────────────────────
    async def _build(self, model: ChatModel, budget: int) -> ChatRequest:
        self._budget = budget
        estimate, window = await self._find_window(model, budget)
        summary = summary_within(self._state, estimate, budget)
        options = self._ports.options
        fitting = ContextWindow(
            budget=budget,
            prompt=self._profile.prompt,
            today=self._today(),
            questions=self._source().questions,
            summary=summary,
            estimate=estimate.message,
        )
        fitting.add(reversed(window.messages))
        self.has_new_summary = bool(summary) and not self._state.told
        self.shortened = fitting.shortened
        self.omissions = self._sent.sentences() if self._sent is not None else ()
        self._request = ChatRequest(
            messages=fitting.messages(),
            max_tokens=options.max_output_tokens,
            temperature=self._profile.temperature,
            effort=self._profile.effort,
            cache_key=cache_key(self._claim.conversation),
            redact=self._profile.redact,
        )
        self.tokens = request_tokens(self._request.messages)
        self._expected = estimate.messages(self._request.messages)
        if self._is_kept:
            self._use = self._measure_use()
        return self._request

    def _measure_use(self) -> WindowUse:
        """Measure in the tokens of `bot.domain.tokens`; the budget is converted to them."""
        tokens = sum(map(message_tokens, self._request.messages))
        prompts = self._profile.fixed(self._today())
        return WindowUse(
            budget=int(self._budget * tokens / max(self._expected, 1.0)),
            tokens=tokens,
            start=self._state.start,
            prompt_tokens=sum(map(message_tokens, prompts)),
            assigned=self._profile.assigned,
            redact=self._profile.redact,
        )

    async def _find_window(
        self, model: ChatModel, budget: int
    ) -> tuple[RequestEstimate, Positions]:
        """Find the window within `budget`; if it moves, store its positions first.

        So another attempt after a crash sends the same request.
        """
        estimate, window = await self._read(model, budget)
        wait = self._ports.wait
        if self._has_moved(window) and wait is not None:
            before = self._state
            await wait(self._claim.conversation.id)
            self._state = await self._read_state(model)
            if self._state != before:
                estimate, window = await self._read(model, budget)
        if self._has_moved(window) and self._is_kept:
            await self._ports.contexts.move_window(
                self._claim.conversation.id,
                epoch=self._claim.epoch,
                start=window.start,
                stubs_before=window.stubs_before,
            )
            self._state = replace(self._state, start=window.start, stubs_before=window.stubs_before)
        return estimate, window

    def _has_moved(self, window: Positions) -> bool:
        stored = self._state.start, self._state.stubs_before
        return stored != (window.start, window.stubs_before)

    async def _read_state(self, model: ChatModel) -> ContextState:
        return await self._ports.contexts.read_state(
            self._claim.conversation.id, epoch=self._claim.epoch, model=first_model(model.name)
        )

    async def _read(self, model: ChatModel, budget: int) -> tuple[RequestEstimate, Positions]:
        self._state = await self._read_state(model)
        usual = min(budget, self._ports.budgets.get(model))
        weights = await self._ports.estimates.of(first_model(model.name))
        estimate = RequestEstimate(weights, self._state.last)
        fixed = estimate.messages(self._profile.fixed(self._today()))
        if summary := summary_within(self._state, estimate, budget):
            fixed += estimate.message(summary_message(summary))
        self._sent = self._attachments.context(usual)
        reader = WindowReader(
            store=self._ports.store,
            source=self._source(),
            sizes=Sizes(budget, usual, fixed),
            attached=self._sent,
            estimate=estimate,
        )
        return estimate, await reader.read(self._state)

    def _source(self) -> Source:
        claim = self._claim
        return Source(
            conversation=claim.conversation.id,
            epoch=claim.epoch,
            before=claim.reply_index,
            questions=frozenset(question.id for question in claim.asked if not question.late),
            shared=claim.conversation.shared,
        )

    def _today(self) -> str:
        return today(self._ports.clock.time(), self._ports.options.zone)


def summary_within(state: ContextState, estimate: RequestEstimate, budget: int) -> str:
    """The summary's text; "" if there is none, or if it takes too much of the budget."""
    if state.summary is None:
        return ""
    tokens = estimate.message(summary_message(state.summary.text))
    return state.summary.text if tokens <= SUMMARY_SHARE * budget else ""


def cache_key(conversation: Conversation) -> str:
    """Identify the conversation to a provider's prompt cache without revealing its place."""
    source = f"{conversation.key} {conversation.created_at!r}"
    return hashlib.blake2b(source.encode(), digest_size=16).hexdigest()
