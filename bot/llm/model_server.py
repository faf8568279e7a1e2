"""One provider's server: its client, and its models with their circuit breakers, each created once.

Invariant: the client is closed once, and never while a stream uses it.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from bot.config.presets import SERVICE_URLS
from bot.config.providers import ProviderConfig, ProviderKind
from bot.domain.errors import SettingsError
from bot.domain.model import ChatRequest, ModelFacts
from bot.llm.addresses import is_local
from bot.llm.circuit_breaker import CircuitBreaker
from bot.llm.list_entries import Listing
from bot.llm.model_facts import known_facts, merge_facts
from bot.llm.model_list import ModelList
from bot.llm.stream_timeout import LOADING_NOTE_SECONDS, LOADING_SECONDS, StreamTimeouts
from bot.ports.clock import Clock
from bot.ports.model import ChatModel

log = structlog.stdlib.get_logger(__name__)

FIRST_TOKEN_SECONDS = 60.0
"""The default for remote servers: the slowest models think this long before they stream."""

# Modules are imported when a server's first model is used: each costs half a second of startup.
_MODULES = {
    ProviderKind.OPENAI: ("bot.llm.openai", "OpenAIModel"),
    ProviderKind.OPENAI_RESPONSES: ("bot.llm.openai_responses", "OpenAIResponsesModel"),
    ProviderKind.ANTHROPIC: ("bot.llm.anthropic", "AnthropicModel"),
    ProviderKind.HUGGINGFACE: ("bot.llm.huggingface", "HuggingFaceModel"),
}


class Client(Protocol):
    """A provider library's client."""

    async def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """The options that all models share.

    If `first_token_seconds` is None, the default applies, which is longer for local servers.
    `probe` is the request that `check` sends.
    """

    clock: Clock
    first_token_seconds: float | None = None
    between_tokens_seconds: float = 30.0
    probe: ChatRequest | None = None


class ModelServer:
    """The client and the models of one provider."""

    def __init__(self, provider: ProviderConfig, options: ModelOptions) -> None:
        self.provider, self._options = provider, options
        self._client: Client | None = None
        self._models: dict[str, tuple[ModelFacts, ChatModel]] = {}
        self._breakers: dict[str, CircuitBreaker] = {}
        self._streams = 0
        self.list = ModelList(provider.name, self._request_listing, clock=options.clock)

    @property
    def address(self) -> str:
        """The server's URL."""
        return self.provider.base_url or SERVICE_URLS[self.provider.kind]

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine or its network."""
        return is_local(self.address)

    @property
    def client(self) -> Client:
        """The library's client, shared by all models. Raises SettingsError without a key."""
        if self._client is None:
            self.require_access()
            self._client = self._module.make_client(self.provider)
        return self._client

    def model(self, name: str, model: str, facts: ModelFacts) -> ChatModel:
        """The model `model`, called `name` in the settings; created once, along with its quirks.

        `facts` are the operator's; if they change, a new model is created.
        """
        known = self._models.get(name)
        if known is None or known[0] != facts:
            known = self._models[name] = facts, self._make_model(name, model, facts)
        return known[1]

    def made(self, name: str) -> ChatModel | None:
        """The model with this name in the settings; None if it was not created yet."""
        return known[1] if (known := self._models.get(name)) is not None else None

    def facts(self, model: str) -> ModelFacts:
        """Facts about a model: those in the server's list, then the built-in ones."""
        return merge_facts(self.list.facts(model), known_facts(model, self.address))

    def learn_facts(self, facts: ModelFacts) -> None:
        """Ask the server in the background for facts that are missing from `facts`.

        `facts` are all known facts. Remote servers are asked once; local ones may reload a model
        with another window.
        """
        if self._lacks(facts):
            self.list.start_refresh()

    async def refresh_facts(self, facts: ModelFacts) -> None:
        """Like `learn_facts`, but wait for the answer."""
        if self._lacks(facts):
            await self.list.refresh()

    def _lacks(self, facts: ModelFacts) -> bool:
        if not self.can_list or facts.is_configured:
            return False
        return self.is_local or (facts.window is None and self.list.version == 0)

    @property
    def can_list(self) -> bool:
        """Whether the server can be asked for its models; Hugging Face has thousands."""
        return self.provider.kind is not ProviderKind.HUGGINGFACE

    def prepare_list(self) -> None:
        """Import what list requests need, which takes up to a second. Raises SettingsError."""
        getattr(self.client, "models")  # noqa: B009 - a property that imports

    async def _request_listing(self) -> Listing:
        from bot.llm.list_requests import request_listing

        return await request_listing(self.client, self.provider.kind, local=self.is_local)

    def breaker(self, name: str, model: str) -> CircuitBreaker:
        """The circuit breaker of the model `model`, shared by all chains and spellings."""
        now = self._options.clock.monotonic
        return self._breakers.setdefault(model, CircuitBreaker(name, now=now))

    @property
    def breakers(self) -> Collection[CircuitBreaker]:
        """The circuit breakers of the models built so far."""
        return self._breakers.values()

    @property
    def first_token_seconds(self) -> float:
        """The limit to the first token in seconds, for all retries together."""
        return self._first_token_setting or FIRST_TOKEN_SECONDS

    # ── in use ────────────────────────────────────────────────────────────────────────────────
    @contextmanager
    def stream(self) -> Iterator[None]:
        """Inside this context, the server counts as in use."""
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    @property
    def in_use(self) -> bool:
        """Whether a stream is running."""
        return self._streams > 0

    async def aclose(self) -> None:
        """Close the client."""
        await self.list.aclose()
        client, self._client = self._client, None
        self._models.clear()
        if client is not None:
            await client.close()

    # ── building ──────────────────────────────────────────────────────────────────────────────
    def _make_model(self, name: str, model: str, facts: ModelFacts) -> ChatModel:
        kind = getattr(self._module, _MODULES[self.provider.kind][1])
        made: ChatModel = kind(
            name=name,
            model=model,
            provider=self.provider,
            client=self.client,
            timeouts=self._timeouts(),
            facts=merge_facts(facts, self.facts(model)),
            probe=self._options.probe,
        )
        return made

    @property
    def _module(self) -> Any:
        return importlib.import_module(_MODULES[self.provider.kind][0])

    @property
    def _first_token_setting(self) -> float | None:
        return self.provider.first_token_seconds or self._options.first_token_seconds

    def require_access(self) -> None:
        """Raise SettingsError if there is neither a key nor an address."""
        provider = self.provider
        if provider.key is not None or provider.base_url is not None:
            return
        key = provider.key_setting or f"the key of {provider.name}"
        other = f", or {provider.address_setting} for another server"
        raise SettingsError(key, "set it" + (other if provider.address_setting else ""))

    def _timeouts(self) -> StreamTimeouts:
        """The model's time limits. Local servers get time to load a model, because ending the
        request would abort the loading."""
        default = LOADING_SECONDS if self.is_local else FIRST_TOKEN_SECONDS
        return StreamTimeouts(
            first_token=self._first_token_setting or default,
            between_tokens=self._options.between_tokens_seconds,
            loading_note=LOADING_NOTE_SECONDS if self.is_local else None,
        )
