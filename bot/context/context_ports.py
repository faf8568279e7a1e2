"""What all turns share for building requests: settings, the stored context, and the rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import tzinfo

from bot.context.budgets import ContextBudgets
from bot.context.estimates import TokenEstimates
from bot.context.profile import RequestProfile, profile_of
from bot.domain.conversations import Conversation
from bot.domain.model import ReasoningDisplay
from bot.ports.clock import Clock
from bot.ports.context import ContextStore
from bot.ports.policy import Policy
from bot.ports.store import Store


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """The settings for turns; see `.env.example`."""

    system_prompt: str
    context_tokens: int | None = None
    zone: tzinfo | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    max_concurrent: int = 200
    max_queued: int = 2_000
    reasoning: ReasoningDisplay = ReasoningDisplay.HIDDEN


@dataclass(frozen=True, slots=True)
class ContextPorts:
    """What all turns share for building requests. `wait` waits for a conversation's summary, if one
    is being written. If `policy` is None, the settings apply everywhere."""

    store: Store
    contexts: ContextStore
    budgets: ContextBudgets
    estimates: TokenEstimates
    clock: Clock
    options: TurnOptions
    wait: Callable[[int], Awaitable[None]] | None = None
    policy: Policy | None = None

    async def profile(self, conversation: Conversation) -> RequestProfile:
        """The profile that applies to a conversation's requests right now."""
        return profile_of(
            conversation,
            None if self.policy is None else await self.policy.effective(conversation.key),
            system_prompt=self.options.system_prompt,
            temperature=self.options.temperature,
        )
