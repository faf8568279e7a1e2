"""Traces one request to a model as a span, in the terms of OpenTelemetry's conventions for models.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ names the attributes. The span
contains no text of messages, which is also the conventions' default.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from bot.config.model_names import split_name
from bot.domain.model import ChatRequest, Delta, Usage
from bot.ports import tracing
from bot.ports.model import ChatModel
from bot.ports.tracing import Attributes, Span, SpanKind

_PROVIDERS = {
    "openai-responses": "openai",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
"""The conventions' names for providers, where they differ from ours."""


def trace_stream(model: ChatModel, request: ChatRequest) -> AsyncGenerator[Delta, None]:
    """The model's stream, with a span if the turn is traced; otherwise it costs nothing."""
    stream = cast("AsyncGenerator[Delta, None]", model.stream(request))  # all can be closed
    if tracing.current().is_recording:
        return _trace(stream, model.name, request)
    return stream


async def _trace(
    stream: AsyncGenerator[Delta, None], name: str, request: ChatRequest
) -> AsyncGenerator[Delta, None]:
    provider, model = split_name(name)
    model = model or name
    attributes = _describe(provider, model, request)
    trace = tracing.current()
    usage: Usage | None = None
    finish_reason: str | None = None
    is_begun = False
    with trace.leaf(f"chat {model}", attributes, SpanKind.CLIENT) as span:
        try:
            async with aclosing(stream) as deltas:
                async for delta in deltas:
                    if not is_begun and (delta.text or delta.reasoning):
                        is_begun = True
                        span.mark("first token")
                    usage = delta.usage or usage
                    finish_reason = delta.finish_reason or finish_reason
                    yield delta
        finally:
            _add_result(span, usage, finish_reason)


def _describe(provider: str, model: str, request: ChatRequest) -> Attributes:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.output.type": "text",
    }


def _add_result(span: Span, usage: Usage | None, finish_reason: str | None) -> None:
    if finish_reason is not None:
        span.set({"gen_ai.response.finish_reasons": (finish_reason,)})
    if usage is not None:
        span.set(
            {
                "gen_ai.usage.input_tokens": usage.input_tokens,
                "gen_ai.usage.output_tokens": usage.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
                "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
            }
        )
