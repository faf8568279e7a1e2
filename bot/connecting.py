"""Connects a model: lists the choices, tries the chosen one as `doctor` does, and writes `.env`.

Invariant: nothing is written unless the model has answered. A key goes only to its provider and
into `.env`, never into a result or the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence

from bot.config import env_writer
from bot.config.env_file import unquote
from bot.config.loader import load
from bot.config.models import resolve
from bot.config.presets import KEY_VARIABLES, OTHER_NAMES, PRESETS
from bot.config.settings import DEFAULT_HTTP_PORT, Settings
from bot.doctor import check_model, model_options
from bot.domain import connecting_texts as texts
from bot.domain.connecting import Connected, ModelChoice, Offers, ProviderOffer
from bot.domain.errors import SettingsError
from bot.domain.health import Finding, Verdict
from bot.llm.local_servers import LOCAL_SERVERS, LocalServer, LocalServerSearch
from bot.llm.registry import ModelRegistry
from bot.ports.clock import Clock

TRY_SECONDS = 120.0
"""Seconds for the whole attempt: a local server may have to load the model first."""

OTHER_PORT = "8081"
"""The port to suggest for the page when llama.cpp occupies the usual one."""


class EnvModelConnector:
    """Implements `bot.ports.connecting.ModelConnector` on the `.env` that `settings` came from.

    `redact` registers values that must not appear in the log.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        servers: Sequence[LocalServer] = LOCAL_SERVERS,
        *,
        redact: Callable[[Iterable[str]], None],
    ) -> None:
        self._variables, self._clock, self._servers = settings.variables, clock, servers
        self._redact = redact
        self._one_at_a_time = asyncio.Lock()

    async def offers(self) -> Offers:
        """See the port."""
        found = await asyncio.to_thread(lambda: LocalServerSearch(self._servers).found())
        variables = self._read().variables
        return Offers(
            local=[
                ProviderOffer(server.provider, server.title, models) for server, models in found
            ],
            services=[
                ProviderOffer(
                    name,
                    preset.title,
                    tuple(filter(None, [preset.example])),
                    preset.key,
                    bool(variables.get(preset.key)),
                )
                for name, preset in PRESETS.items()
                if preset.title
            ],
        )

    async def connect(self, choice: ModelChoice) -> Connected:
        """See the port."""
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(TRY_SECONDS):
                    return await self._connect(choice)
            except SettingsError as error:
                return Connected(error=f"{error.setting}: {error.problem}.")
            except TimeoutError:
                return Connected(error=texts.no_answer(choice.name, TRY_SECONDS))

    async def _connect(self, choice: ModelChoice) -> Connected:
        path = self._variables.path
        if path is None:
            return Connected(error=texts.NO_FILE)
        values = self._values(choice)
        self._redact(value for name, value in values.items() if name in KEY_VARIABLES)
        self._require_effect(values)
        finding = await self._try(self._read(values), values["LLM"])
        if finding.verdict is Verdict.FAILED:
            return Connected(error=finding.advice or finding.detail)
        await asyncio.to_thread(env_writer.write, path, values)
        note = texts.OTHER_PORT.format(port=OTHER_PORT) if "HTTP_PORT" in values else ""
        return Connected(answer=finding.answer, note=note or finding.advice)

    def _read(self, values: Mapping[str, str] | None = None) -> Settings:
        """The settings as they are now, or as they would be with `values`."""
        return load({**self._variables.environ, **(values or {})}, self._variables.path)

    def _values(self, choice: ModelChoice) -> dict[str, str]:
        provider = OTHER_NAMES.get(choice.provider.lower(), choice.provider)
        model = choice.model.strip()
        if provider != "openrouter":  # OpenRouter names its models openrouter/NAME
            model = model.removeprefix(f"{provider}/")
        if not model:
            raise SettingsError("LLM", texts.NO_MODEL)
        values = {"LLM": f"{provider}/{model}"}
        preset, key = PRESETS.get(provider), unquote(choice.key)
        if preset is not None and preset.key and key:
            values[preset.key] = key
        page = self._read()
        if provider == "llamacpp" and page.serves_web and page.web_port == DEFAULT_HTTP_PORT:
            values["HTTP_PORT"] = OTHER_PORT
        return values

    def _require_effect(self, values: Mapping[str, str]) -> None:
        """Raise SettingsError if the environment has another value, which would win over `.env`."""
        for name, value in values.items():
            if unquote(self._variables.environ.get(name, "")) not in ("", value):
                raise SettingsError(name, texts.IN_ENVIRONMENT)

    async def _try(self, settings: Settings, name: str) -> Finding:
        """Check the model; if that fails, suggest the name that the server uses instead."""
        options = model_options(settings, self._clock)
        registry = ModelRegistry(resolve(settings), options)
        async with contextlib.aclosing(registry) as models:
            finding = await check_model(models, name)
            if finding.verdict is not Verdict.FAILED:
                return finding
            return await _with_suggestion(models, name, finding)


async def _with_suggestion(models: ModelRegistry, name: str, finding: Finding) -> Finding:
    server = models.server(name)
    if server is None or not server.can_list:
        return finding
    await server.list.refresh()
    names, model = server.list.names, name.partition("/")[2]
    if not names or model in names or f"{model}:latest" in names:
        return finding
    near = difflib.get_close_matches(model, names, n=1, cutoff=0.5)
    advice = texts.not_listed(model, near or names[:3], is_near=bool(near))
    return Finding(finding.subject, Verdict.FAILED, finding.detail, advice)
