"""The configured models, from the settings of the first two providers."""

from __future__ import annotations

from bot.config.providers import ModelsConfig, ProviderConfig, ProviderKind
from bot.config.settings import Settings


def config_from(settings: Settings) -> ModelsConfig:
    """The models of `LLM` and `MODELS`, and the servers of `OPENAI_*` and `HF_*`."""
    openai = ProviderConfig(
        name="openai",
        kind=ProviderKind.OPENAI,
        base_url=settings.openai_base_url,
        key=settings.openai_api_key,
        key_setting="OPENAI_API_KEY",
        address_setting="OPENAI_BASE_URL",
    )
    huggingface = ProviderConfig(
        name="huggingface",
        kind=ProviderKind.HUGGINGFACE,
        base_url=settings.hf_base_url,
        key=settings.hf_token,
        key_setting="HF_TOKEN",
        address_setting="HF_BASE_URL",
    )
    return ModelsConfig(
        chain=settings.llm_chain,
        choices=settings.model_choices,
        summaries=settings.summary_model or None,
        providers={provider.name: provider for provider in (openai, huggingface)},
    )
