"""The models that the settings name. Only the providers among them are imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bot.common.clock import SystemClock
from bot.domain.errors import SettingsError
from bot.domain.model import ChatRequest
from bot.llm.addresses import is_local
from bot.llm.chain import Chain
from bot.llm.circuit_breaker import Breaker
from bot.llm.stream_timeout import LOADING_NOTE_SECONDS, LOADING_SECONDS, StreamTimeouts
from bot.ports.model import ChatModel

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from bot.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Models:
    """`default` answers unless a conversation chose one of `choices` (by their names)."""

    default: ChatModel
    choices: Mapping[str, ChatModel]

    async def aclose(self) -> None:
        """Close all of them."""
        for model in (self.default, *self.choices.values()):
            await model.aclose()


def build_models(settings: Settings, *, probe: ChatRequest | None = None) -> Models:
    """Make the models of `LLM` and `MODELS`; raises SettingsError when a key is missing."""
    factory = _Factory(settings, probe)
    return Models(
        default=factory.chain(settings.llm_chain),
        choices={name: factory.chain((name,)) for name in settings.model_choices},
    )


FIRST_TOKEN_SECONDS = 60.0
"""For a server far away: the slowest models think so long before they stream anything."""


class _Factory:
    """Makes models by name; those of one server share its client."""

    def __init__(self, settings: Settings, probe: ChatRequest | None) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._probe = probe
        self._breakers: dict[str, Breaker] = {}
        self._models: dict[str, ChatModel] = {}

    def chain(self, names: tuple[str, ...]) -> Chain:
        """The models with these names, first choice first."""
        return Chain(
            [self.model(name) for name in names],
            breakers=[self._breaker(name) for name in names],
            first_token_seconds=self._settings.first_token_seconds or FIRST_TOKEN_SECONDS,
            clock=self._clock,
        )

    def _limits(self, address: str | None) -> StreamTimeouts:
        """A server of one's own may load a model first, and aborting the request aborts that."""
        local = address is not None and is_local(address)
        given = self._settings.first_token_seconds
        return StreamTimeouts(
            first_token=given or (LOADING_SECONDS if local else FIRST_TOKEN_SECONDS),
            between_tokens=self._settings.between_tokens_seconds,
            loading_note=LOADING_NOTE_SECONDS if local else None,
        )

    def _breaker(self, name: str) -> Breaker:
        """One for each name: what one chain learned of a model, another knows."""
        return self._breakers.setdefault(name, Breaker(name, now=self._clock.monotonic))

    def model(self, name: str) -> ChatModel:
        """The one with this name: what it learned in one chain, it knows in another."""
        if name not in self._models:
            self._models[name] = self._make(name)
        return self._models[name]

    def _make(self, name: str) -> ChatModel:
        """One model, such as `openai:gpt-5`; raises SettingsError for an unknown kind."""
        kind, _, model = name.partition(":")
        if kind == "openai":
            return self._openai(model)
        if kind == "huggingface":
            return self._huggingface(model)
        if kind == "echo":
            from bot.llm.echo import EchoModel

            return EchoModel()
        raise SettingsError("LLM", f"{name!r} is no model: write openai:MODEL, huggingface:MODEL")

    def _openai(self, model: str) -> ChatModel:
        from bot.llm.openai import OpenAIModel

        return OpenAIModel(
            model=model,
            client=self._openai_client,
            limits=self._limits(self._settings.openai_base_url),
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

        token, address = self._settings.hf_token, self._settings.hf_base_url
        if token is None and address is None:
            raise SettingsError("HF_TOKEN", "set it, or HF_BASE_URL for a server of your own")
        return HuggingFaceModel(
            model=model,
            token=token.get_secret_value() if token else None,
            base_url=address,
            limits=self._limits(address),
            probe=self._probe,
        )
