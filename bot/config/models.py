"""Builds a `ModelsConfig` from the settings: which models answer, on which servers, with which
keys.

The environment and `.env` win over `threadline.toml`; the presets provide everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import SecretStr

from bot.config import file_problems
from bot.config.file import Problem
from bot.config.file_schema import Provider, is_sendable
from bot.config.model_names import NO_SUMMARIES, other_spelling, split_name
from bot.config.policy_schema import Values
from bot.config.presets import OTHER_NAMES, PRESETS, SERVICE_URLS, Preset
from bot.config.problems import quote, raise_any
from bot.config.providers import ModelsConfig, ProviderConfig, ProviderKind
from bot.config.settings import Settings
from bot.config.toml_document import Location
from bot.config.variables import referenced_name
from bot.domain.model import BUILT_IN, ModelFacts

MAX_NAMES = 40
"""The most providers that a sentence names: all presets, and some from the file."""


def resolve(settings: Settings) -> ModelsConfig:
    """Build the models' configuration.

    Raises one SettingsError for all problems: those in `threadline.toml`, unknown providers and
    missing keys.
    """
    config, problems = examine(settings)
    raise_any(problems)
    return config


def examine(settings: Settings) -> tuple[ModelsConfig, Sequence[Problem]]:
    """Build the models' configuration without unusable models, and collect all problems."""
    resolver = _Resolver(settings)
    config = resolver.config()
    return config, (*settings.file.problems, *resolver.problems)


def address(provider: ProviderConfig) -> str:
    """The address of a provider's server."""
    return provider.base_url or SERVICE_URLS[provider.kind]


class Named(NamedTuple):
    """A model name and its source: a setting, or a location in the file."""

    name: str
    setting: str
    location: Location = ()


def used_names(settings: Settings) -> Iterator[Named]:
    """The models and choices in effect, each with its source."""
    contents = settings.file.contents
    if settings.llm is None and contents.llm:
        yield from (Named(name, "llm", settings.file.locate("llm", name)) for name in contents.llm)
    else:
        yield from (Named(name, "LLM") for name in settings.llm_chain)
    if not settings.models:
        for name in contents.choices:
            yield Named(name, "choices", settings.file.locate("choices", name))
    else:
        yield from (Named(name, "MODELS") for name in settings.model_choices)
    yield from _summarizer(settings)
    yield from assigned_names(settings)
    if name := settings.transcription_model.strip():
        yield Named(name, "TRANSCRIPTION_MODEL")


def assigned_names(settings: Settings) -> Iterator[Named]:
    """The models named in profiles, rules and budgets."""
    contents = settings.file.contents
    tables: list[tuple[Location, Values]] = [((), contents)]
    tables += [(("profiles", name), table) for name, table in contents.profiles.items()]
    tables += [(("rules", k), table) for k, table in settings.file.numbered_rules()]
    for location, table in tables:
        top = str(location[0]) if location else "budgets"
        for name in table.model_names:
            yield Named(name, top, (*location, "model"))
        for k, budget in enumerate(table.budgets):
            if budget.then is not None:
                yield Named(budget.then, top, (*location, "budgets", k, "then"))


def _summarizer(settings: Settings) -> Iterator[Named]:
    """The model that writes summaries, unless no model does, or the answering one does."""
    in_file = settings.file.contents.summaries
    if settings.summary_model:
        if settings.summary_model != NO_SUMMARIES:
            yield Named(settings.summary_model, "SUMMARY_MODEL")
    elif in_file not in (None, NO_SUMMARIES):
        yield Named(in_file or "", "summaries", ("summaries",))


class _Resolver:
    """Builds the configuration and collects problems on the way."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._file = settings, settings.file
        self._providers: dict[str, ProviderConfig | None] = {}
        self.problems: list[Problem] = []

    def config(self) -> ModelsConfig:
        """Build the configuration from the valid parts."""
        settings, contents = self._settings, self._file.contents
        for named in used_names(settings):
            self._use(named)
        for name in contents.models:
            self._require_provider(Named(name, "models", ("models", name)))
        return ModelsConfig(
            chain=self._usable(settings.llm_chain),
            choices=self._usable(settings.model_choices),
            providers={name: each for name, each in self._providers.items() if each is not None},
            facts=_facts((name, model.facts()) for name, model in contents.models.items()),
            summaries=self._summaries(settings.summary_model or contents.summaries),
            assigned=self._usable(named.name for named in assigned_names(settings)),
        )

    # ── names ─────────────────────────────────────────────────────────────────────────────────
    def _use(self, named: Named) -> None:
        """Add the model's provider, with its key."""
        provider = split_name(named.name)[0]
        if (
            named.name in BUILT_IN
            or not self._require_provider(named)
            or provider in self._providers
        ):
            return
        if provider in self._file.mentioned and provider not in self._file.contents.providers:
            return  # its table is invalid, which is already reported
        count = len(self.problems)
        config = self._provider(provider, named)
        self._providers[provider] = config if len(self.problems) == count else None

    def _usable(self, names: Iterable[str]) -> tuple[str, ...]:
        """The distinct names whose provider is complete."""
        return tuple(
            name
            for name in dict.fromkeys(names)
            if name in BUILT_IN or self._providers.get(split_name(name)[0]) is not None
        )

    def _summaries(self, name: str | None) -> str | None:
        """The model for summaries; None if it cannot be used, which is already reported."""
        if name is None or name == NO_SUMMARIES:
            return name
        return next(iter(self._usable((name,))), None)

    def _require_provider(self, named: Named) -> bool:
        provider = split_name(named.name)[0]
        if named.name in BUILT_IN or provider in PRESETS or provider in self._file.mentioned:
            return True
        known = sorted({*PRESETS, *self._file.mentioned})
        near = OTHER_NAMES.get(provider.lower()) or file_problems.suggestion(provider, known)
        self._add(
            named,
            f"{quote(named.name)} has an unknown provider: "
            + (f"did you mean {near}? " if near else "")
            + f"Known are {_enumerate(known)}; threadline.toml can add others",
        )
        return False

    def _add(self, named: Named, sentence: str) -> None:
        if named.location:
            where = file_problems.dotted(named.location)
            self._add_in_file(named.location, f"{where}: {sentence}")
        else:
            self.problems.append((named.setting, sentence))

    def _add_in_file(self, location: Location, sentence: str) -> None:
        self.problems.append(self._file.problem(location, sentence))

    # ── providers ─────────────────────────────────────────────────────────────────────────────
    def _provider(self, name: str, named: Named) -> ProviderConfig | None:
        table = self._file.contents.providers.get(name) or Provider.model_construct()
        preset = PRESETS.get(name)
        kind = table.kind or (preset.kind if preset is not None else None)
        if kind is None:
            kinds = ", ".join(ProviderKind)
            self._add_in_file(("providers", name), f"providers.{name} needs kind: one of {kinds}")
            return None
        preset = preset or Preset(ProviderKind(kind))
        own_address = self._settings.variables.get(preset.address) or table.base_url
        location: Location = ("providers", name)
        config = ProviderConfig(
            name=name,
            kind=ProviderKind(kind),
            base_url=own_address or preset.base_url,
            key=self._key(name, table, preset),
            headers=self._values((*location, "headers"), table.headers),
            query=self._values((*location, "query"), table.query),
            first_token_seconds=table.first_token_seconds,
            key_setting=self._key_setting(name, table, preset),
            address_setting=preset.address or f"base_url of {name} in threadline.toml",
        )
        if config.key is None and not own_address and not table.headers and preset.needs_key:
            self._ask_for_key(config, table, preset, named)
        return config

    def _key(self, name: str, table: Provider, preset: Preset) -> SecretStr | None:
        if table.key is not None:
            value = self._value(("providers", name, "key"), table.key)
        else:
            value = self._settings.variables.get(preset.key)
            if not is_sendable(value):
                self.problems.append((preset.key, f"the value {_UNSENDABLE}"))
        return SecretStr(value) if value else None

    def _key_setting(self, name: str, table: Provider, preset: Preset) -> str:
        referenced = referenced_name(table.key) if table.key is not None else preset.key
        return referenced or f"key of {name} in threadline.toml"

    def _ask_for_key(
        self, config: ProviderConfig, table: Provider, preset: Preset, named: Named
    ) -> None:
        if table.key is not None:
            return  # its variable is not set, which is already reported
        if not preset.key:
            where = file_problems.dotted(("providers", config.name))
            sentence = f"{where} needs base_url, or a key for {address(config)}"
            self._add_in_file(("providers", config.name), sentence)
        elif preset.address:
            another = f"set it, or {preset.address} for another server"
            self.problems.append((preset.key, another))
        else:
            self.problems.append((preset.key, f"set it to your key for {named.name}"))

    # ── variables ─────────────────────────────────────────────────────────────────────────────
    def _values(self, location: Location, values: Mapping[str, str]) -> Mapping[str, str]:
        return {name: self._value((*location, name), value) for name, value in values.items()}

    def _value(self, location: Location, written: str) -> str:
        """The value of the variable that `written` refers to, or `written` if it is plain text; ""
        if the variable is not set."""
        variable = referenced_name(written)
        if variable is None:
            return written
        value, where = self._settings.variables.get(variable), file_problems.dotted(location)
        if not value:
            sentence = f"{where}: {variable} is not set, neither in the environment nor in .env"
            self._add_in_file(location, sentence)
        elif not is_sendable(value):
            self._add_in_file(location, f"{where}: the value of {variable} {_UNSENDABLE}")
        return value


_UNSENDABLE = "contains a line break or a character outside ASCII: copy it again"


def _enumerate(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _facts(facts: Iterable[tuple[str, ModelFacts]]) -> dict[str, ModelFacts]:
    """The facts under every spelling of the model's name; facts in the file win."""
    written = dict(facts)
    spellings = ((other_spelling(name), each) for name, each in written.items())
    return {name: each for name, each in spellings if name is not None} | written
