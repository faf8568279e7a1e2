"""The models that may answer, built from the configured providers, which may change while running.

Invariant: a configuration change never cuts off an answer. Whatever did not change keeps its
connections, its circuit breakers and what was learned about its servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from bot.config.model_names import EVERY_MODEL, NO_SUMMARIES, is_pattern, split_name
from bot.config.providers import ModelsConfig
from bot.domain.errors import SettingsError
from bot.domain.health import Finding
from bot.domain.model import BUILT_IN, DEMO, ChatRequest, Delta, ModelFacts
from bot.domain.operation import BreakerState
from bot.llm.circuit_breaker import CircuitBreaker
from bot.llm.fallback_chain import FallbackChain
from bot.llm.model_facts import NO_FACTS, merge_facts
from bot.llm.model_server import FIRST_TOKEN_SECONDS, ModelOptions, ModelServer
from bot.llm.redaction import Redactor
from bot.ports.model import ChatModel


class ModelRegistry:
    """Implements `bot.ports.model.ModelCatalog`. Models are built when they are first used."""

    def __init__(self, config: ModelsConfig, options: ModelOptions) -> None:
        self._config, self._options = config, options
        self._servers: dict[str, ModelServer] = {}
        self._chains: dict[tuple[str, ...], FallbackChain] = {}
        self._removed: set[ModelServer] = set()  # until their last stream ends
        self._closing: set[asyncio.Task[None]] = set()
        self._built_in: dict[str, ChatModel] = {}
        self._redactor = Redactor()
        self._offered: tuple[tuple[int, ...], Mapping[str, None]] | None = None

    # ── the catalog ───────────────────────────────────────────────────────────────────────────
    @property
    def default(self) -> str:
        """The name of the model, or chain of models, that answers unless another one is chosen."""
        return ",".join(self._config.chain)

    @property
    def names(self) -> Sequence[str]:
        """The models that people may choose, as far as known without asking a server."""
        return tuple(self._names())

    async def list_names(self) -> Sequence[str]:
        """Like `names`, after asking the servers that offer all of their models."""
        servers = [self._server(name) for name in self._config.choices if is_pattern(name)]
        refreshes = (server.list.refresh() for server in servers if server is not None)
        await asyncio.gather(*refreshes)
        return self.names

    def get(self, name: str | None, assigned: str | None = None) -> ChatModel:
        """See the port."""
        return CatalogModel(partial(self.resolve, name, assigned), self._redactor)

    def summarizer(self, chosen: str | None, assigned: str | None = None) -> ChatModel | None:
        """The model that summarizes a conversation with the model `chosen`; None for no summaries.

        If the rules assign a model to the place, that model also summarizes, because the rule may
        exist to keep the place's messages away from other servers.
        """
        name = self._config.summaries
        if name == NO_SUMMARIES:
            return None
        if name is None or self._assigned_names(assigned):
            return self.get(chosen if name is None else None, assigned)
        return CatalogModel(self._resolve_summarizer, self._redactor)

    def _names(self) -> Mapping[str, None]:
        """The choices in order, with patterns expanded; rebuilt when a list changes."""
        lists = {
            choice: server.list
            for choice in self._config.choices
            if is_pattern(choice) and (server := self._server(choice)) is not None
        }
        versions = tuple(each.version for each in lists.values())
        if self._offered is None or self._offered[0] != versions:
            names: list[str] = []
            for choice in self._config.choices:
                listed = lists[choice].names if choice in lists else None
                prefix = choice.removesuffix(EVERY_MODEL)
                names += [choice] if listed is None else [prefix + model for model in listed]
            self._offered = versions, dict.fromkeys(names)
        return self._offered[1]

    def _is_offered(self, name: str) -> bool:
        """Whether people may choose `name`.

        After a restart, a model chosen from a list counts as offered until the list is known.
        """
        if name in self._names():
            return True
        return any(
            is_pattern(choice)
            and split_name(choice)[0] == split_name(name)[0]
            and (server := self._server(choice)) is not None
            and server.list.version == 0
            for choice in self._config.choices
        )

    # ── models ────────────────────────────────────────────────────────────────────────────────
    def prepare(self) -> None:
        """Build the default models, the choices, the models in rules, and the summarizing model.

        Raises SettingsError if a provider is unknown, its key is missing, or it lists no models.
        """
        single = (*self._config.choices, *self._config.assigned)
        for names in (self._config.chain, *((name,) for name in single)):
            if is_pattern(names[0]):
                self._require_list(names[0])
            else:
                self.chain(names)
        if self._config.summaries not in (None, NO_SUMMARIES):
            self.chain((self._config.summaries or "",))

    def chain(self, names: tuple[str, ...]) -> FallbackChain:
        """The chain of the models `names`, in order of preference. Raises SettingsError."""
        if names not in self._chains:
            self._chains[names] = self._build_chain(names)
        return self._chains[names]

    def resolve(self, name: str | None, assigned: str | None = None) -> FallbackChain:
        """The chain that answers now if `name` was chosen; see `ModelCatalog.get`."""
        if name is not None and self._is_offered(name):
            return self.chain((name,))
        return self.chain(self._assigned_names(assigned) or self._config.chain)

    def _assigned_names(self, assigned: str | None) -> tuple[str, ...]:
        """The models that the rules assign to a place; none if one of them is not configured."""
        names = tuple((assigned or "").split(",")) if assigned else ()
        configured = {*self._config.assigned, *self._config.chain}
        return names if all(n in configured or self._is_offered(n) for n in names) else ()

    def _resolve_summarizer(self) -> FallbackChain:
        """The chain that summarizes now, even if people may not choose it."""
        name = self._config.summaries
        return self.resolve(None) if name in (None, NO_SUMMARIES) else self.chain((name or "",))

    def server(self, name: str) -> ModelServer | None:
        """The server of the model or pattern `name`; None for a built-in model.

        Raises SettingsError.
        """
        return self._server(name)

    def facts_of(self, name: str) -> ModelFacts:
        """Facts about the single model `name`. Raises SettingsError for an unknown provider."""
        server = self._server(name)
        return NO_FACTS if server is None else self._facts(name, server)

    # ── for metrics ───────────────────────────────────────────────────────────────────────────
    @property
    def configured(self) -> frozenset[str]:
        """The models that the configuration names, not counting patterns."""
        named = (*self._config.chain, *self._config.choices, *self._config.assigned)
        names = {*named, self._config.summaries or NO_SUMMARIES} - {NO_SUMMARIES}
        return frozenset(name for name in names if not is_pattern(name))

    @property
    def breakers(self) -> Iterator[tuple[str, BreakerState]]:
        """The state of each circuit breaker, with its provider's name."""
        for name, server in self._servers.items():
            for breaker in server.breakers:
                yield name, breaker.state

    @property
    def breakers_by_model(self) -> Mapping[str, BreakerState]:
        """The state of each circuit breaker by the model's name."""
        return {
            breaker.name: breaker.state
            for server in self._servers.values()
            for breaker in server.breakers
        }

    async def aclose(self) -> None:
        """Close all clients."""
        await asyncio.gather(*self._closing)
        for server in (*self._servers.values(), *self._removed):
            await server.aclose()
        self._chains.clear()

    # ── changes ───────────────────────────────────────────────────────────────────────────────
    async def reload(self, config: ModelsConfig) -> None:
        """Use `config` from the next stream on; running streams continue undisturbed.

        If `config` has a model without a provider or a key, raises SettingsError and keeps the
        previous configuration.
        """
        earlier, servers = self._config, self._servers
        self._servers = {
            name: server
            for name, server in servers.items()
            if config.providers.get(name) == server.provider
        }
        self._config, self._chains, self._offered = config, {}, None
        try:
            self.prepare()
        except Exception:  # libraries reject addresses with various errors
            new = set(self._servers.values()) - set(servers.values())
            self._config, self._servers, self._chains, self._offered = earlier, servers, {}, None
            await self._remove(new)
            raise
        await self._remove(set(servers.values()) - set(self._servers.values()))

    async def _remove(self, servers: set[ModelServer]) -> None:
        """Close the servers; those in use are closed after their last stream."""
        self._removed |= servers
        self._close_removed()
        await asyncio.gather(*self._closing)

    @contextmanager
    def _using(self, names: tuple[str, ...]) -> Iterator[None]:
        """Keep the servers' clients open for a stream; the last stream closes a removed one."""
        servers = {name: server for name in names if (server := self._server(name)) is not None}
        try:
            with ExitStack() as stack:
                for server in servers.values():
                    stack.enter_context(server.stream())
                yield
        finally:
            self._close_removed()
            for name, server in servers.items():
                if server not in self._removed:
                    server.learn_facts(self._facts(name, server))

    def _close_removed(self) -> None:
        for server in [server for server in self._removed if not server.in_use]:
            self._removed.discard(server)
            task = asyncio.get_running_loop().create_task(server.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    # ── building ──────────────────────────────────────────────────────────────────────────────
    def _build_chain(self, names: tuple[str, ...]) -> FallbackChain:
        servers = [self._server(name) for name in names]
        limits = [server.first_token_seconds for server in servers if server is not None]
        first, server = names[0], servers[0]
        return FallbackChain(
            [self._model(name, server) for name, server in zip(names, servers, strict=True)],
            breakers=[self._breaker(n, server) for n, server in zip(names, servers, strict=True)],
            first_token_seconds=max(limits, default=FIRST_TOKEN_SECONDS),
            clock=self._options.clock,
            in_use=lambda: self._using(names),
            facts=None if server is None else lambda: self._facts(first, server),
        )

    def _facts(self, name: str, server: ModelServer) -> ModelFacts:
        """Facts about a model: the operator's, the server's, then the built-in ones."""
        return merge_facts(self._configured_facts(name), server.facts(split_name(name)[1]))

    def _configured_facts(self, name: str) -> ModelFacts:
        provider, model = split_name(name)
        names = (name, f"{provider}/{model}", f"{provider}:{model}")
        found = (self._config.facts[each] for each in names if each in self._config.facts)
        return next(found, NO_FACTS)

    def _server(self, name: str) -> ModelServer | None:
        """The server of a model; None for a built-in one. Raises SettingsError."""
        if name in BUILT_IN:
            return None
        provider, model = split_name(name)
        config = self._config.providers.get(provider)
        if config is None or not model:
            example = "openai/MODEL, huggingface/MODEL"
            raise SettingsError("LLM", f"{name!r} is not a model: write {example}")
        if provider not in self._servers:
            self._servers[provider] = ModelServer(config, self._options)
        return self._servers[provider]

    def _require_list(self, pattern: str) -> None:
        server = self._server(pattern)
        if server is None or not server.can_list:
            raise SettingsError("MODELS", f"{pattern!r} is too many models: name those to offer")
        server.prepare_list()

    def _model(self, name: str, server: ModelServer | None) -> ChatModel:
        if server is not None:
            return server.model(name, split_name(name)[1], self._configured_facts(name))
        if name not in self._built_in:
            self._built_in[name] = _make_built_in(name)
        return self._built_in[name]

    def _breaker(self, name: str, server: ModelServer | None) -> CircuitBreaker:
        if server is not None:
            return server.breaker(name, split_name(name)[1])
        return CircuitBreaker(name, now=self._options.clock.monotonic)


def _make_built_in(name: str) -> ChatModel:
    if name == DEMO:
        from bot.llm.demo import DemoModel

        return DemoModel()
    from bot.llm.echo import EchoModel

    return EchoModel()


class CatalogModel:
    """A model that each stream resolves again with the configuration of that moment.

    So a turn may keep the model while the configuration changes. Requests never contain keys or
    anything else that their place wants redacted: see `bot.llm.redaction`.
    """

    def __init__(self, resolve: Callable[[], FallbackChain], redactor: Redactor) -> None:
        self._resolve, self._redactor = resolve, redactor

    @property
    def name(self) -> str:
        """See `ChatModel.name`."""
        return self._resolve().name

    @property
    def facts(self) -> ModelFacts:
        """See `ChatModel.facts`."""
        return self._resolve().facts

    @property
    def sees(self) -> bool | None:
        """See `ChatModel.sees`."""
        return self._resolve().sees

    def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """See `ChatModel.stream`. Requests to a built-in model stay in this process, unredacted."""
        model = self._resolve()
        if model.name in BUILT_IN:
            return model.stream(request)
        return self._redactor.stream(model, request)

    async def check(self) -> Finding:
        """See `ChatModel.check`."""
        return await self._resolve().check()

    async def aclose(self) -> None:
        """Do nothing: the registry closes the clients, which models share."""
