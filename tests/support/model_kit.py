"""Models of one server, and registries, as the settings would build them."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from bot.common.clock import SystemClock
from bot.config.models import resolve
from bot.config.providers import ProviderConfig, ProviderKind
from bot.config.settings import Settings
from bot.domain.model import ChatRequest, ModelFacts
from bot.llm import huggingface, openai
from bot.llm.model_server import ModelOptions
from bot.llm.registry import ModelRegistry
from bot.llm.stream_timeout import StreamTimeouts


def openai_provider(url: str | None, key: str | None = "k", **more: Any) -> ProviderConfig:
    """A server of the kind `openai`; OpenAI's own if `url` is None."""
    return ProviderConfig(
        name="openai",
        kind=ProviderKind.OPENAI,
        base_url=url,
        key=SecretStr(key) if key else None,
        key_setting="OPENAI_API_KEY",
        address_setting="OPENAI_BASE_URL",
        **more,
    )


def huggingface_provider(url: str | None, token: str | None = "hf", **more: Any) -> ProviderConfig:
    """A server of the kind `huggingface`; the router if `url` is None."""
    return ProviderConfig(
        name="huggingface",
        kind=ProviderKind.HUGGINGFACE,
        base_url=url,
        key=SecretStr(token) if token else None,
        key_setting="HF_TOKEN",
        address_setting="HF_BASE_URL",
        **more,
    )


def openai_model(
    model: str,
    url: str | None,
    *,
    key: str | None = "k",
    timeouts: StreamTimeouts | None = None,
    client: Any = None,
) -> openai.OpenAIModel:
    """A model of the server at `url`; closing it closes its client."""
    provider = openai_provider(url, key)
    return openai.OpenAIModel(
        name=f"openai:{model}",
        model=model,
        provider=provider,
        client=client or openai.make_client(provider),
        timeouts=timeouts or StreamTimeouts(),
        facts=ModelFacts(),
    )


def huggingface_model(
    model: str,
    url: str | None,
    *,
    token: str | None = "hf",
    timeouts: StreamTimeouts | None = None,
) -> huggingface.HuggingFaceModel:
    """A model of the server at `url`."""
    provider = huggingface_provider(url, token)
    return huggingface.HuggingFaceModel(
        name=f"huggingface:{model}",
        model=model,
        provider=provider,
        client=huggingface.make_client(provider),
        timeouts=timeouts or StreamTimeouts(),
        facts=ModelFacts(),
    )


def registry(settings: Settings, *, probe: ChatRequest | None = None) -> ModelRegistry:
    """The registry for these settings; raises SettingsError as the start does."""
    options = ModelOptions(
        SystemClock(), settings.first_token_seconds, settings.between_tokens_seconds, probe
    )
    models = ModelRegistry(resolve(settings), options)
    models.prepare()
    return models
