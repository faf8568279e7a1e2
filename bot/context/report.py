"""Describes what the model will receive with a conversation's next question: `/context`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.context.attachments import AttachmentContext
from bot.context.budgets import first_model
from bot.context.context_ports import ContextPorts
from bot.context.estimates import RequestEstimate
from bot.context.excerpts import excerpt_cache
from bot.context.positions import Positions, Sizes, Source, WindowReader
from bot.context.profile import RequestProfile
from bot.context.requests import summary_within
from bot.context.roles import add_names
from bot.context.turn_attachments import asks_again, may_ask_again
from bot.context.window import summary_message, today
from bot.domain.attachment_labels import CANNOT_SEE
from bot.domain.attachments import Attachment
from bot.domain.context import ContextPart, ContextPartKind, ContextReport, ContextState
from bot.domain.conversations import Conversation, ConversationKey, Message, Role
from bot.ports.attachments import AttachmentStore
from bot.ports.model import ChatModel, ModelCatalog

EVERYTHING = 2**62
"""Higher than every message index."""


class WindowReporter:
    """Implements `bot.ports.context.ContextReporter`. Changes nothing and waits for no file."""

    def __init__(
        self, *, ports: ContextPorts, models: ModelCatalog, attachments: AttachmentStore
    ) -> None:
        self._ports, self._models, self._attachments = ports, models, attachments
        self._cache = excerpt_cache()

    async def report(self, key: ConversationKey) -> ContextReport | None:
        """See the port. Raises StoreUnavailable."""
        conversation = await self._ports.store.find(key)
        if conversation is None:
            return None
        profile = await self._ports.profile(conversation)
        model = profile.model(self._models, conversation)
        name, contexts = first_model(model.name), self._ports.contexts
        state = await contexts.read_state(conversation.id, epoch=conversation.epoch, model=name)
        estimate = RequestEstimate(await self._ports.estimates.of(name), state.last)
        budget = self._ports.budgets.get(model)
        summary = summary_within(state, estimate, budget)
        parts = [*self._prompt(profile, estimate), *_summary(summary, estimate)]
        attached = self._attached(model, budget)
        fixed = sum(part.tokens for part in parts)
        window = await WindowReader(
            store=self._ports.store,
            source=Source(
                conversation.id, conversation.epoch, EVERYTHING, shared=conversation.shared
            ),
            sizes=Sizes(budget, budget, fixed),
            attached=attached,
            estimate=estimate,
        ).read(state)
        summarized, left_out = await self._outside(conversation, state, window.start, summary)
        return ContextReport(
            model=model.name,
            budget=budget,
            window=model.facts.window,
            parts=(*parts, *_messages(window, attached, estimate, conversation.shared)),
            cached_tokens=await contexts.read_cached_tokens(
                conversation.id, epoch=conversation.epoch
            ),
            summarized=summarized,
            left_out=left_out,
            summary=summary,
        )

    def _prompt(self, profile: RequestProfile, estimate: RequestEstimate) -> list[ContextPart]:
        """The operator's prompt and the person's instructions, which share one message."""
        date = today(self._ports.clock.time(), self._ports.options.zone)
        tokens = round(estimate.messages(profile.fixed(date)))
        if not profile.instructions:
            return [ContextPart(ContextPartKind.PROMPT, tokens)]
        own = Message(Role.SYSTEM, profile.instructions)
        added = min(tokens, round(estimate.message(own)))
        return [
            ContextPart(ContextPartKind.PROMPT, tokens - added),
            ContextPart(ContextPartKind.INSTRUCTIONS, added),
        ]

    def _attached(self, model: ChatModel, budget: int) -> AttachmentContext:
        return AttachmentContext(
            store=self._attachments,
            arrive_above=self._read_attachments,
            questions=frozenset(),
            usual_budget=budget,
            asks_again=asks_again,
            may_ask_again=may_ask_again,
            no_images=CANNOT_SEE if model.sees is False else "",
            max_images=self._ports.budgets.max_images(model),
            cache=self._cache,
        )

    async def _read_attachments(
        self, messages: Sequence[int]
    ) -> Mapping[int, Sequence[Attachment]]:
        return await self._attachments.of_messages(messages)

    async def _outside(
        self, conversation: Conversation, state: ContextState, start: int, summary: str
    ) -> tuple[int, int]:
        """How many messages the summary covers, and how many are neither covered nor sent."""
        covered = state.summary.before if summary and state.summary is not None else 0
        count = self._ports.contexts.count_messages
        summarized = await count(conversation.id, epoch=conversation.epoch, start=0, before=covered)
        left_out = await count(
            conversation.id, epoch=conversation.epoch, start=covered, before=start
        )
        return summarized, left_out


def _summary(text: str, estimate: RequestEstimate) -> list[ContextPart]:
    if not text:
        return []
    return [ContextPart(ContextPartKind.SUMMARY, round(estimate.message(summary_message(text))))]


def _messages(
    window: Positions, attached: AttachmentContext, estimate: RequestEstimate, shared: bool
) -> list[ContextPart]:
    """The parts for the messages' own words, and for what their attachments add."""
    rows = add_names(window.rows) if shared else window.rows
    words, everything = estimate.messages(rows), estimate.messages(window.messages)
    parts = [ContextPart(ContextPartKind.MESSAGES, round(words), len(rows))]
    if attached.file_count:
        tokens = max(0, round(everything - words))
        parts.append(ContextPart(ContextPartKind.FILES, tokens, attached.file_count))
    return parts
