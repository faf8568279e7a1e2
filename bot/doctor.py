"""The checks behind `threadline doctor`: settings, database, models, then each platform.

Read only, because the bot may be running on the same database.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from bot.common import proxies
from bot.config.consistency import require_consistent
from bot.config.model_names import NO_SUMMARIES, is_pattern, split_name
from bot.config.models import address, examine
from bot.config.policy_rules import examine_policy
from bot.config.providers import ModelsConfig
from bot.config.settings import Settings
from bot.context.budgets import UNKNOWN_WINDOW_TOKENS
from bot.context.window import ContextWindow, today
from bot.domain.errors import PlatformError, SettingsError, StoreError
from bot.domain.health import Finding, Verdict
from bot.domain.model import ChatRequest
from bot.domain.policy import PersonRef, PlaceRef, PolicyConfig, PolicyValues, Rule
from bot.domain.prompts import read_prompt
from bot.llm.check import QUESTION
from bot.llm.model_server import ModelOptions
from bot.llm.registry import ModelRegistry
from bot.llm.transcribers import build_transcriber
from bot.ports.clock import Clock
from bot.ports.platform import Adapter
from bot.store.open_store import migration_status, name_of

SMALL_WINDOW = 8_192
"""Tokens: with a smaller window, a local model forgets a conversation after a few long messages."""

FIRST_NAMES = 5

DIRECTORY_SECONDS = 30.0
"""The limit for resolving all names in rules: Slack lists groups and channels page by page."""

_LARGER_WINDOW = (
    "The server loaded the model with a small window, and may cut longer requests without a word; "
    "Ollama's is set by OLLAMA_CONTEXT_LENGTH."
)
_FIX_NAME = (
    "Correct it in threadline.toml: until then it lets no one in, and in a block list it keeps "
    "everyone out."
)
_NAME_MODELS = "Name the models to offer in place of the asterisk."


async def check_all(
    settings: Settings, adapters: Iterable[Adapter], clock: Clock
) -> AsyncIterator[Finding]:
    """Try everything that the settings name with real requests; yield one finding per check."""
    yield check_settings(settings)
    yield await check_database(settings)
    async for finding in check_models(settings, clock):
        yield finding
    if settings.transcription_model:
        yield await check_transcription(settings)
    any_platform = False
    for adapter in adapters:
        any_platform = True
        for finding in await adapter.check():
            yield finding
        async for finding in check_names(settings, adapter):
            yield finding
    if not any_platform:
        yield Finding("platforms", Verdict.WARNING, "none is set", "see “Connecting” in the README")


async def check_names(settings: Settings, adapter: Adapter) -> AsyncIterator[Finding]:
    """Find references in rules that match no person or place on a platform.

    A wrong reference never lets anyone in: it leaves a list of allowed people empty, and makes a
    list of blocked people block everyone.
    """
    refs = references(examine_policy(settings)[0], adapter.name)
    if not refs:
        return
    subject = f"{adapter.name}: names in rules"
    try:
        async with asyncio.timeout(DIRECTORY_SECONDS):
            unknown = await adapter.directory.unknown(refs)
    except (PlatformError, TimeoutError) as error:
        yield Finding(subject, Verdict.FAILED, f"they cannot be looked up: {error!r}")
        return
    for name in dict.fromkeys(unknown):
        yield Finding(subject, Verdict.WARNING, f"{name!r} names no one and nothing", _FIX_NAME)
    if not unknown:
        yield Finding(subject, Verdict.OK, f"all {len(refs)} are known")


def references(config: PolicyConfig, platform: str) -> Sequence[PlaceRef | PersonRef]:
    """The references in a policy that may concern a platform, each once, as written in the file.

    In a rule about a single workspace, references to people belong to that workspace.
    """
    found: dict[PlaceRef | PersonRef, None] = {}
    for rule in (Rule((), config.default, ""), *config.rules):
        here = [place for place in rule.where if place.platform == platform]
        found.update(dict.fromkeys(here))
        workspaces = {place.workspace for place in here}
        only = workspaces.pop() if len(workspaces) == 1 else ""
        if rule.where and not here:
            continue
        for ref in _people_of(rule.values):
            workspace = ref.workspace or only
            if ref.platform in ("", platform):
                found[replace(ref, platform=platform, workspace=workspace)] = None
    return tuple(found)


def _people_of(values: PolicyValues) -> Iterator[PersonRef]:
    yield from (*(values.allow or ()), *values.block, *values.admins)
    for budget in values.budgets:
        yield from budget.who


def check_settings(settings: Settings) -> Finding:
    """Whether the settings contradict each other."""
    try:
        require_consistent(settings)
    except SettingsError as error:
        return Finding(error.setting, Verdict.FAILED, error.problem)
    return Finding("settings", Verdict.OK, "consistent")


async def check_database(settings: Settings) -> Finding:
    """Whether the database can be read, and which migrations the next start applies."""
    path = settings.database_path
    if not settings.uses_postgres and not path.exists():
        return Finding("database", Verdict.OK, f"{path} will be created by the first start")
    try:
        name = name_of(settings)
        found = await asyncio.to_thread(migration_status, settings)
    except SettingsError as error:
        return Finding("database", Verdict.FAILED, error.problem, "look at DATABASE_URL")
    except StoreError as error:
        return Finding("database", Verdict.FAILED, str(error), f"look at {name}")
    pending = ", ".join(found.pending)
    note = f"; the next start applies {pending}" if pending else ""
    return Finding("database", Verdict.OK, f"{name}{note}")


async def check_models(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    """Check each model separately; through the chain, the first model would hide the others."""
    config, problems = examine(settings)
    for setting, problem in problems:
        yield Finding(setting, Verdict.FAILED, problem)
    options = model_options(settings, clock)
    summarizer = () if config.summaries in (None, NO_SUMMARIES) else (config.summaries or "",)
    names = dict.fromkeys((*config.chain, *config.choices, *config.assigned, *summarizer))
    for provider, url in _addresses(config, names).items():
        yield proxies.check_route(provider, url)
    async with contextlib.aclosing(ModelRegistry(config, options)) as models:
        for name in names:
            try:
                yield await (_check_list if is_pattern(name) else check_model)(models, name)
            except SettingsError as error:
                yield Finding(error.setting, Verdict.FAILED, error.problem)


def model_options(settings: Settings, clock: Clock) -> ModelOptions:
    """The options for checking models with the same request that a turn sends."""
    return ModelOptions(
        clock,
        settings.first_token_seconds,
        settings.between_tokens_seconds,
        probe_request(settings, clock.time()),
    )


async def check_model(models: ModelRegistry, name: str) -> Finding:
    """Check a model, then its window: a local server reports the window only after an answer."""
    model, server = models.chain((name,)), models.server(name)
    finding = await model.check()
    if server is None or finding.verdict is not Verdict.OK:
        return finding
    await server.refresh_facts(model.facts)
    window = model.facts.window
    if window is None:
        return finding
    small = server.is_local and window < SMALL_WINDOW
    detail = f"{finding.detail}; its window has {window:,} tokens"
    return replace(finding, detail=detail, advice=_LARGER_WINDOW if small else finding.advice)


async def _check_list(models: ModelRegistry, pattern: str) -> Finding:
    """Check that a server can list its models; report their number and the first names."""
    server = models.server(pattern)
    if server is None or not server.can_list:
        return Finding(pattern, Verdict.FAILED, "its models cannot be listed", _NAME_MODELS)
    await server.list.refresh()
    names = server.list.names
    if not server.list.version:
        settings = (server.provider.key_setting, server.provider.address_setting)
        advice = f"Check {' and '.join(filter(None, settings))}, and whether the server runs."
        return Finding(pattern, Verdict.FAILED, "the server does not list models", advice)
    if not names:
        return Finding(pattern, Verdict.WARNING, "the server lists no model that chats")
    more = ", …" if len(names) > FIRST_NAMES else ""
    detail = f"offers {len(names)}: {', '.join(names[:FIRST_NAMES])}{more}"
    return Finding(pattern, Verdict.OK, detail)


async def check_transcription(settings: Settings) -> Finding:
    """Send a second of silence to the model for speech."""
    try:
        transcriber = build_transcriber(
            settings.transcription_model, examine(settings)[0].providers
        )
    except SettingsError as error:
        return Finding(error.setting, Verdict.FAILED, error.problem)
    if transcriber is None:
        return Finding("TRANSCRIPTION_MODEL", Verdict.OK, "not set")
    async with contextlib.aclosing(transcriber):
        return await transcriber.check()


def probe_request(settings: Settings, now: float) -> ChatRequest:
    """Build the request that a turn would send for a short question; `now` is in Unix seconds."""
    window = ContextWindow(
        budget=settings.context_tokens or UNKNOWN_WINDOW_TOKENS,
        prompt=read_prompt(settings.prompt),
        questions=frozenset({QUESTION.id}),
        today=today(now, settings.zone),
    )
    window.add([QUESTION])
    return ChatRequest(
        messages=window.messages(),
        max_tokens=settings.max_output_tokens,
        temperature=settings.temperature,
    )


def _addresses(config: ModelsConfig, names: Iterable[str]) -> Mapping[str, str]:
    """The base URL of each provider that the models in `names` use."""
    used = dict.fromkeys(split_name(name)[0] for name in names)
    providers = [config.providers[name] for name in used if name in config.providers]
    return {each.name: address(each) for each in providers}
