"""The values that the rules give a conversation's requests, in place of the settings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bot.context.window import fixed_messages
from bot.domain.conversations import Conversation, Effort, Message
from bot.domain.policy import EffectivePolicy, Redaction
from bot.domain.prompts import Prompt, read_prompt, with_instructions
from bot.ports.model import ChatModel, ModelCatalog


@dataclass(frozen=True, slots=True)
class RequestProfile:
    """The prompt, the temperature and the effort of a conversation's requests.

    `assigned` is the model of the conversation's place; None means the default model. `redact`: see
    `ChatRequest`. `name` is the rules' profile; "" means none. `instructions` are the person's; in
    `prompt` they follow the operator's.
    """

    prompt: Prompt
    temperature: float | None = None
    effort: Effort | None = None
    assigned: str | None = None
    redact: frozenset[Redaction] = frozenset()
    name: str = ""
    instructions: str = ""

    @property
    def prompt_digest(self) -> str:
        """A short hash that distinguishes prompts without revealing their text."""
        return hashlib.blake2b(repr(self.prompt).encode(), digest_size=6).hexdigest()

    def fixed(self, date: str) -> list[Message]:
        """The messages that each request has in addition to the conversation."""
        return fixed_messages(self.prompt, date)

    def model(self, models: ModelCatalog, conversation: Conversation) -> ChatModel:
        """The model that answers: the chosen one, the one of the place, or the default."""
        return models.get(conversation.model, self.assigned)


def profile_of(
    conversation: Conversation,
    policy: EffectivePolicy | None,
    *,
    system_prompt: str,
    temperature: float | None,
) -> RequestProfile:
    """The profile of a conversation: what people chose, then the rules, then the settings."""
    own, degree = conversation.instructions, conversation.temperature
    if policy is None:
        return RequestProfile(
            with_instructions(read_prompt(system_prompt), own),
            temperature if degree is None else degree,
            conversation.effort,
            instructions=own,
        )
    if not policy.instructions.value:  # also hides what was chosen earlier
        own, degree = "", None
    usual = temperature if policy.temperature.value is None else policy.temperature.value
    prompt = policy.prompt.value
    return RequestProfile(
        prompt=with_instructions(read_prompt(system_prompt if prompt is None else prompt), own),
        temperature=usual if degree is None else degree,
        effort=conversation.effort or policy.effort.value,
        assigned=policy.model.value,
        redact=policy.redact.value,
        name=policy.profile,
        instructions=own,
    )
