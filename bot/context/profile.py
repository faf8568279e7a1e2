"""What the rules say about the requests of a conversation, in place of the settings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bot.context.window import fixed_messages
from bot.domain.conversations import Conversation, Effort, Message
from bot.domain.policy import EffectivePolicy, Redaction
from bot.domain.prompts import Prompt, read_prompt
from bot.ports.model import ChatModel, ModelCatalog


@dataclass(frozen=True, slots=True)
class RequestProfile:
    """The prompt, the temperature and the effort of a conversation's requests.

    `assigned` is the model of the conversation's place; None is the default one. `redact`: see
    `ChatRequest`. `name` is the rules' profile; "" is none.
    """

    prompt: Prompt
    temperature: float | None = None
    effort: Effort | None = None
    assigned: str | None = None
    redact: frozenset[Redaction] = frozenset()
    name: str = ""

    @property
    def prompt_digest(self) -> str:
        """Tells one prompt from another, without its text."""
        return hashlib.blake2b(repr(self.prompt).encode(), digest_size=6).hexdigest()

    def fixed(self, date: str) -> list[Message]:
        """What each request has beside the conversation."""
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
    """What applies to a conversation: what people chose, the rules, then the settings."""
    if policy is None:
        return RequestProfile(read_prompt(system_prompt), temperature, conversation.effort)
    prompt = policy.prompt.value
    degree = policy.temperature.value
    return RequestProfile(
        prompt=read_prompt(system_prompt if prompt is None else prompt),
        temperature=temperature if degree is None else degree,
        effort=conversation.effort or policy.effort.value,
        assigned=policy.model.value,
        redact=policy.redact.value,
        name=policy.profile,
    )
