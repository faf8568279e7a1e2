"""Builds the models that the settings name; imports only the providers among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bot.common.clock import SystemClock
from bot.domain.errors import SettingsError
from bot.domain.model import ChatRequest
from bot.llm.addresses import is_local
from bot.llm.circuit_breaker import CircuitBreaker
from bot.llm.fallback_chain import FallbackChain
from bot.llm.stream_timeout import LOADING_NOTE_SECONDS, LOADING_SECONDS, StreamTimeouts
from bot.ports.model import ChatModel

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from bot.config.settings import Settings
    from bot.llm.speech import RemoteTranscriber


@dataclass(frozen=True, slots=True)
class Models:
    """`default` answers unless a conversation chose one of `choices`, keyed by name."""

    default: ChatModel
    choices: Mapping[str, ChatModel]

    async def aclose(self) -> None:
        """Close all models."""
        for model in (self.default, *self.choices.values()):
            await model.aclose()


def build_models(settings: Settings, *, probe: ChatRequest | None = None) -> Models:
    """Build the models of `LLM` and `MODELS`; raises SettingsError if a key is missing.

    `probe` is the request that `check` sends.
    """
    factory = _Factory(settings, probe)
    return Models(
        default=factory.chain(settings.llm_chain),
        choices={name: factory.chain((name,)) for name in settings.model_choices},
    )


def build_transcriber(settings: Settings) -> RemoteTranscriber | None:
    """Build the model of `TRANSCRIPTION_MODEL`, None if it is empty.

    Raises SettingsError for an unknown provider or a missing key.
    """
    name = settings.transcription_model.strip()
    return _Factory(settings, None).transcriber(name) if name else None


FIRST_TOKEN_SECONDS = 60.0
"""The default for remote servers: the slowest models think this long before they stream."""


class _Factory:
    """Builds models by name; each model, its circuit breaker and its server's client once."""

    def __init__(self, settings: Settings, probe: ChatRequest | None) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._probe = probe
        self._breakers: dict[str, CircuitBreaker] = {}
        self._models: dict[str, ChatModel] = {}

    def chain(self, names: tuple[str, ...]) -> FallbackChain:
        """A chain of the models with these names, in order of preference."""
        return FallbackChain(
            [self.model(name) for name in names],
            breakers=[self._breaker(name) for name in names],
            first_token_seconds=self._settings.first_token_seconds or FIRST_TOKEN_SECONDS,
            clock=self._clock,
        )

    def _timeouts(self, address: str | None) -> StreamTimeouts:
        """Local servers get time to load a model, because ending the request aborts the loading."""
        local = address is not None and is_local(address)
        configured = self._settings.first_token_seconds
        return StreamTimeouts(
            first_token=configured or (LOADING_SECONDS if local else FIRST_TOKEN_SECONDS),
            between_tokens=self._settings.between_tokens_seconds,
            loading_note=LOADING_NOTE_SECONDS if local else None,
        )

    def _breaker(self, name: str) -> CircuitBreaker:
        return self._breakers.setdefault(name, CircuitBreaker(name, now=self._clock.monotonic))

    def model(self, name: str) -> ChatModel:
        """The model with this name, shared by all chains along with its quirks."""
        if name not in self._models:
            self._models[name] = self._build(name)
        return self._models[name]

    def _build(self, name: str) -> ChatModel:
        """One model, such as `openai:gpt-5`; raises SettingsError for an unknown provider."""
        provider, _, model = name.partition(":")
        if provider == "openai":
            return self._openai(model)
        if provider == "huggingface":
            return self._huggingface(model)
        if provider == "echo":
            from bot.llm.echo import EchoModel

            return EchoModel()
        raise SettingsError(
            "LLM", f"{name!r} is not a model: write openai:MODEL, huggingface:MODEL"
        )

    def transcriber(self, name: str) -> RemoteTranscriber:
        """The model for speech with this name; SettingsError if there is no such provider."""
        provider, _, model = name.partition(":")
        if provider == "openai" and model:
            from bot.llm.transcription import OpenAITranscriber

            return OpenAITranscriber(model=model, client=self._openai_client)
        if provider == "huggingface" and model:
            from bot.llm.huggingface_speech import HuggingFaceTranscriber

            token, address = self._huggingface_access
            return HuggingFaceTranscriber(model=model, token=token, base_url=address)
        raise SettingsError(
            "TRANSCRIPTION_MODEL",
            f"{name!r} is not a model for speech: write openai:MODEL or huggingface:MODEL",
        )

    def _openai(self, model: str) -> ChatModel:
        from bot.llm.openai import OpenAIModel

        return OpenAIModel(
            model=model,
            client=self._openai_client,
            timeouts=self._timeouts(self._settings.openai_base_url),
            probe=self._probe,
        )

    @cached_property
    def _openai_client(self) -> AsyncOpenAI:
        from bot.llm.openai import make_client

        key, address = self._settings.openai_api_key, self._settings.openai_base_url
        if key is None and address is None:
            raise SettingsError("OPENAI_API_KEY", "set it, or OPENAI_BASE_URL for another server")
        return make_client(api_key=key.get_secret_value() if key else None, base_url=address)

    def _huggingface(self, model: str) -> ChatModel:
        from bot.llm.huggingface import HuggingFaceModel

        token, address = self._huggingface_access
        return HuggingFaceModel(
            model=model,
            token=token,
            base_url=address,
            timeouts=self._timeouts(address),
            probe=self._probe,
        )

    @property
    def _huggingface_access(self) -> tuple[str | None, str | None]:
        """The token and the address, one of which is set."""
        token, address = self._settings.hf_token, self._settings.hf_base_url
        if token is None and address is None:
            raise SettingsError("HF_TOKEN", "set it, or HF_BASE_URL for a server of your own")
        return token.get_secret_value() if token else None, address
