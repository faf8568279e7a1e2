"""Builds requests to OpenAI's Responses API without server state: always the whole conversation.

Invariant: `store` is false in every request, and no request refers to an earlier one, so the
provider keeps no conversation that people could not delete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from bot.domain.conversations import ImagePart, Message, Role
from bot.domain.model import ChatRequest
from bot.llm.images import ImageUploads
from bot.llm.server_quirks import ServerQuirks

LIMIT_NAME = "max_output_tokens"
MIN_OUTPUT_TOKENS = 16
"""According to users, OpenAI rejects a lower limit."""


class ResponsesRequests(ServerQuirks):
    """Builds the requests, with the workarounds that one model's server needs.

    Requests ask for a summary of the reasoning, because a model that thinks silently shows no
    activity until its first word. OpenAI denies it to organizations that are not verified.
    """

    optional: ClassVar[tuple[str, ...]] = (
        "temperature",
        "reasoning.summary",
        "reasoning.effort",
        "prompt_cache_key",
    )
    effort: ClassVar[str] = "reasoning.effort"

    def __init__(self, *, reasons: bool = True) -> None:
        super().__init__((LIMIT_NAME,), takes_cache_key=True)
        self._reasons = reasons

    def parameters(self, request: ChatRequest, images: ImageUploads) -> dict[str, Any]:
        """See `RequestBuilder.parameters`."""
        instructions, messages = _split_system(self._messages(request.messages))
        nested = {"effort": self._effort(request), "summary": "auto" if self._reasons else None}
        accepted = self._accepted(**{f"reasoning.{name}": nested[name] for name in nested})
        reasoning = {name.partition(".")[2]: value for name, value in accepted.items()}
        return {
            "input": [_item(message, images) for message in messages],
            "store": False,
            "stream": self._streams,
            **({"instructions": instructions} if instructions else {}),
            **{name: max(n, MIN_OUTPUT_TOKENS) for name, n in self._output_limit(request).items()},
            **({"reasoning": reasoning} if reasoning else {}),
            **self._accepted(
                temperature=request.temperature, prompt_cache_key=self._cache_key(request)
            ),
        }

    def _sent_system(self, sent: Mapping[str, Any]) -> bool:
        return "instructions" in sent

    def _sent_parameters(self, sent: Mapping[str, Any]) -> Mapping[str, Any]:
        nested = sent.get("reasoning", {})
        return {**sent, **{f"reasoning.{name}": value for name, value in nested.items()}}


def _split_system(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """The system prompt and the other messages; the API requires at least one of these."""
    if len(messages) > 1 and messages[0].role is Role.SYSTEM:
        return messages[0].content, messages[1:]
    return "", messages


def _item(message: Message, images: ImageUploads) -> dict[str, Any]:
    """A message as an input item: a string, or an array if it has images."""
    role = message.role.value
    if not message.parts or message.role is not Role.USER:
        return {"role": role, "content": message.content}

    def image(part: ImagePart) -> dict[str, Any]:
        return {"type": "input_image", "image_url": images.data_url(part), "detail": "auto"}

    return {"role": role, "content": images.blocks(message, text=_text, image=image)}


def _text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}
