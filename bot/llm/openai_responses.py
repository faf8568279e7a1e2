"""Models behind OpenAI's Responses API, using the openai client's raw streaming response.

The provider keeps nothing: see `bot.llm.responses_requests`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openai

from bot.config.providers import ProviderConfig
from bot.domain.model import ChatRequest, ModelFacts
from bot.llm.openai import OpenAIEndpoint, make_client
from bot.llm.response_events import ResponseEvents
from bot.llm.responses_requests import ResponsesRequests
from bot.llm.stream_timeout import StreamTimeouts
from bot.llm.streaming_model import StreamingModel

__all__ = ["OpenAIResponsesModel", "make_client"]


class OpenAIResponsesModel(StreamingModel):
    """One model of the server behind `client`; closing it closes the client."""

    def __init__(
        self,
        *,
        name: str,
        model: str,
        provider: ProviderConfig,
        client: openai.AsyncOpenAI,
        timeouts: StreamTimeouts,
        facts: ModelFacts,
        probe: ChatRequest | None = None,
    ) -> None:
        super().__init__(
            name=name,
            model=model,
            endpoint=ResponsesEndpoint(client, provider),
            builder=ResponsesRequests(reasons=facts.effort is not False),
            make_parser=ResponseEvents,
            timeouts=timeouts,
            probe=probe,
            facts=facts,
        )


class ResponsesEndpoint(OpenAIEndpoint):
    """The Responses API of a server behind the openai client."""

    @staticmethod
    def streaming_resource(client: openai.AsyncOpenAI) -> Any:
        """See `OpenAIEndpoint`; its import takes 130 ms."""
        return client.responses.with_streaming_response

    @staticmethod
    def _fields(parameters: Mapping[str, Any]) -> dict[str, Any]:
        """See `OpenAIEndpoint`."""
        fields = dict(parameters)
        return {"extra_body": {"input": fields.pop("input")}, **fields}
