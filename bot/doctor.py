"""The checks behind `threadline doctor`: settings, database, models, then each platform.

Read only, because the bot may be running on the same database.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping

from bot.common import proxies
from bot.config.bridge import config_from
from bot.config.providers import ModelsConfig
from bot.config.settings import Settings
from bot.context.budgets import UNKNOWN_WINDOW_TOKENS
from bot.context.window import ContextWindow, today
from bot.domain.errors import SettingsError, StoreError
from bot.domain.health import Finding, Verdict
from bot.domain.model import ChatRequest
from bot.llm.check import QUESTION
from bot.llm.model_server import OWN_ADDRESSES, ModelOptions
from bot.llm.names import split_name
from bot.llm.registry import ModelRegistry
from bot.llm.transcribers import build_transcriber
from bot.ports.clock import Clock
from bot.ports.platform import Adapter
from bot.store.migrate import status


async def check_all(
    settings: Settings, adapters: Iterable[Adapter], clock: Clock
) -> AsyncIterator[Finding]:
    """Try everything that the settings name with real requests; one finding per point."""
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
    if not any_platform:
        yield Finding("platforms", Verdict.WARNING, "none is set", "see “Connecting” in the README")


def check_settings(settings: Settings) -> Finding:
    """Whether the settings contradict each other."""
    try:
        settings.require_consistent()
    except SettingsError as error:
        return Finding(error.setting, Verdict.FAILED, error.problem)
    return Finding("settings", Verdict.OK, "consistent")


async def check_database(settings: Settings) -> Finding:
    """Whether the database can be read, and which migrations the next start applies."""
    path = settings.database_path
    if not path.exists():
        return Finding("database", Verdict.OK, f"{path} will be created by the first start")
    try:
        found = await asyncio.to_thread(status, path)
    except StoreError as error:
        return Finding("database", Verdict.FAILED, str(error), f"look at {path}")
    pending = ", ".join(found.pending)
    note = f"; the next start applies {pending}" if pending else ""
    return Finding("database", Verdict.OK, f"{path}{note}")


async def check_models(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    """Check each model separately, because a chain's first model would hide the others."""
    config = config_from(settings)
    options = ModelOptions(
        clock,
        settings.first_token_seconds,
        settings.between_tokens_seconds,
        probe_request(settings, clock.time()),
    )
    names = dict.fromkeys((*config.chain, *config.choices))
    for provider, address in _addresses(config, names).items():
        yield proxies.check_route(provider, address)
    async with contextlib.aclosing(ModelRegistry(config, options)) as models:
        for name in names:
            try:
                model = models.chain((name,))
            except SettingsError as error:
                yield Finding(error.setting, Verdict.FAILED, error.problem)
            else:
                yield await model.check()


async def check_transcription(settings: Settings) -> Finding:
    """Send a second of silence to the model for speech."""
    try:
        transcriber = build_transcriber(
            settings.transcription_model, config_from(settings).providers
        )
    except SettingsError as error:
        return Finding(error.setting, Verdict.FAILED, error.problem)
    if transcriber is None:
        return Finding("TRANSCRIPTION_MODEL", Verdict.OK, "not set")
    async with contextlib.aclosing(transcriber):
        return await transcriber.check()


def probe_request(settings: Settings, now: float) -> ChatRequest:
    """The request that a turn would send for a short question; `now` is in Unix seconds."""
    window = ContextWindow(
        budget=settings.context_tokens or UNKNOWN_WINDOW_TOKENS,
        system_prompt=settings.prompt,
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
    """The base URL of each provider among the models `names`."""
    used = dict.fromkeys(split_name(name)[0] for name in names)
    providers = [config.providers[name] for name in used if name in config.providers]
    return {each.name: each.base_url or OWN_ADDRESSES[each.kind] for each in providers}
