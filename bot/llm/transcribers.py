"""Builds the speech model; imports only its provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bot.config.model_names import split_name
from bot.config.providers import ProviderConfig, ProviderKind
from bot.domain.errors import SettingsError

if TYPE_CHECKING:
    from bot.llm.speech import RemoteTranscriber

SETTING = "TRANSCRIPTION_MODEL"


def build_transcriber(
    name: str, providers: Mapping[str, ProviderConfig]
) -> RemoteTranscriber | None:
    """Build the model of `TRANSCRIPTION_MODEL`; None if the setting is empty.

    Raises SettingsError for an unknown provider, one without a speech API, or a missing key.
    """
    if not name.strip():
        return None
    name = name.strip()
    provider_name, model = split_name(name)
    provider = providers.get(provider_name)
    if provider is None or not model or provider.kind is ProviderKind.ANTHROPIC:
        example = "openai/MODEL or huggingface/MODEL"
        raise SettingsError(SETTING, f"{name!r} is not a model for speech: write {example}")
    if provider.key is None and provider.base_url is None:
        raise SettingsError(provider.key_setting or SETTING, "set the key of the model for speech")
    if provider.kind is ProviderKind.HUGGINGFACE:
        from bot.llm.huggingface_speech import HuggingFaceTranscriber

        return HuggingFaceTranscriber(name=name, model=model, provider=provider)
    from bot.llm.transcription import OpenAITranscriber

    return OpenAITranscriber(name=name, model=model, provider=provider)
