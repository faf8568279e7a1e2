"""`threadline config check`: reports what is in effect and its source, without any key; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.config.model_names import NO_SUMMARIES, is_pattern, split_name
from bot.config.models import address, used_names
from bot.config.providers import ModelsConfig, ProviderConfig
from bot.config.settings import Settings
from bot.domain.model import BUILT_IN, DEMO, ModelFacts

FactsOf = Callable[[str, str], ModelFacts]
"""Looks up the built-in facts about a model, given its name and the server's address."""

# The lists of models, each with its setting in `.env`, which wins over its key in the file.
_LISTS = (("answers", "LLM", "llm"), ("offered", "MODELS", "choices"))


def describe(settings: Settings, config: ModelsConfig, facts_of: FactsOf) -> Iterator[str]:
    """The lines of the report."""
    return _Report(settings, config, facts_of).lines()


@dataclass(frozen=True, slots=True)
class _Report:
    settings: Settings
    config: ModelsConfig
    facts_of: FactsOf

    def lines(self) -> Iterator[str]:
        yield from self._sources()
        for title, setting, key in _LISTS:
            yield from self._models(title, setting, key)
        yield f"summaries: {_summaries(self.config)}"
        if self.settings.transcription_model:
            yield f"speech: {self.settings.transcription_model}"
        if unused := sorted(self.settings.file.mentioned - self.config.providers.keys()):
            yield f"providers that no model uses: {', '.join(unused)}"

    def _sources(self) -> Iterator[str]:
        file = self.settings.file
        for path in self.settings.files:
            yield f"{path}: {'read' if path.exists() else 'there is no such file'}"
        for _, setting, key in _LISTS:
            origin = self.settings.variables.origin(setting)
            if origin and file.sets(key):
                _, sentence = file.problem((key,), f"{key} is not used: {setting} in {origin} wins")
                yield f"{file.path}: {sentence}"

    def _models(self, title: str, setting: str, key: str) -> Iterator[str]:
        used = used_names(self.settings)
        names = dict.fromkeys(each.name for each in used if each.setting in (setting, key))
        yield f"{title} ({setting}, from {self._origin(setting, key)}):{'' if names else ' none'}"
        for name in names:
            yield f"  {name}: {self._model(name)}"

    def _origin(self, setting: str, key: str) -> str:
        origin = self.settings.variables.origin(setting)
        in_file = str(self.settings.file.path) if self.settings.file.sets(key) else "the default"
        return origin or in_file

    def _key(self, server: ProviderConfig) -> str:
        """The variables of the key, including keys in headers and parameters."""
        table = self.settings.file.contents.providers.get(server.name)
        names = [server.key_setting] if server.key is not None else []
        names += table.variables() if table is not None else []
        used = list(dict.fromkeys(names))
        return f"{' and '.join(used)} {'is' if len(used) == 1 else 'are'} set" if used else "no key"

    def _model(self, name: str) -> str:
        if name in BUILT_IN:
            does = "answers with scripted text" if name == DEMO else "repeats the question"
            return f"{does}, without a server"
        provider, model = split_name(name)
        server = self.config.providers[provider]
        parts = [f"{server.kind} API at {_host(address(server))}", self._key(server)]
        if is_pattern(name):
            return ", ".join([*parts, "all models that the server lists"])
        facts = _describe_facts(self.config.facts.get(name), self.facts_of(model, address(server)))
        return ", ".join([*parts, *facts])


def _describe_facts(own: ModelFacts | None, known: ModelFacts) -> Iterator[str]:
    own = own or ModelFacts()
    window = own.window or known.window
    if window is None:
        yield "window unknown"
    else:
        yield f"window {window:,} ({'threadline.toml' if own.window else 'built in'})"
    if own.context_tokens is not None:
        yield f"requests up to {own.context_tokens:,}"


def _summaries(config: ModelsConfig) -> str:
    if config.summaries is None:
        return "by the model that answers"
    return "none" if config.summaries == NO_SUMMARIES else f"by {config.summaries}"


def _host(url: str) -> str:
    """The host alone, without user, password, path and query, which may be secret."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2]
