"""The three APIs for answers, as one interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from tests.sims.model import anthropic, responses
from tests.sims.model.anthropic_encoder import AnthropicEncoder
from tests.sims.model.anthropic_validate import validate_message
from tests.sims.model.encoder import Encoder
from tests.sims.model.response_encoder import ResponseEncoder
from tests.sims.model.validate import validate

AnswerEncoder: TypeAlias = Encoder | ResponseEncoder | AnthropicEncoder


class Api(NamedTuple):
    """One of the APIs for answers.

    `as_chat` translates a valid request into a chat completion request, so that scripts, limits,
    counts and caches are the same for all APIs.
    """

    name: str
    validate: Callable[..., dict[str, Any]]
    as_chat: Callable[[dict[str, Any]], dict[str, Any]]
    encoder: Callable[..., AnswerEncoder]


CHAT = Api("chat", validate, lambda body: body, Encoder)
RESPONSES = Api("responses", responses.validate_response, responses.as_chat, ResponseEncoder)
MESSAGES = Api("messages", validate_message, anthropic.as_chat, AnthropicEncoder)
