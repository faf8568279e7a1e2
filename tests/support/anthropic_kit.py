"""Models of Anthropic's API, separate from `model_kit` because importing the client is slow."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from bot.config.providers import ProviderConfig, ProviderKind
from bot.domain.model import ModelFacts
from bot.llm import anthropic
from bot.llm.stream_timeout import StreamTimeouts


def anthropic_provider(url: str | None, key: str | None = "k", **more: Any) -> ProviderConfig:
    """A server of the kind `anthropic`; Anthropic's own if `url` is None."""
    return ProviderConfig(
        name="anthropic",
        kind=ProviderKind.ANTHROPIC,
        base_url=url,
        key=SecretStr(key) if key else None,
        key_setting="ANTHROPIC_API_KEY",
        address_setting="ANTHROPIC_BASE_URL",
        **more,
    )


def anthropic_model(
    model: str,
    provider: ProviderConfig,
    *,
    timeouts: StreamTimeouts | None = None,
    client: Any = None,
    facts: ModelFacts | None = None,
) -> anthropic.AnthropicModel:
    """A model of `provider`; closing it closes its client."""
    return anthropic.AnthropicModel(
        name=f"anthropic/{model}",
        model=model,
        provider=provider,
        client=client or anthropic.make_client(provider),
        timeouts=timeouts or StreamTimeouts(),
        facts=facts or ModelFacts(),
    )
