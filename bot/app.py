"""The composition root: the only module that imports adapters and gives them to the core.

Only configured platforms are imported, because imports take most of the startup time.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import SecretStr

from bot.common import descriptors, gc_tuning
from bot.common.clock import SystemClock
from bot.common.lifecycle import on_signal, run_until, stop_signals
from bot.common.supervisor import Component, Supervisor
from bot.config.models import examine
from bot.config.reload import ConfigSource, ConfigWatcher
from bot.config.settings import Settings, SlackMode
from bot.core import (
    Core,
    Resources,
    build_core,
    build_models,
    build_reporter,
    build_usage_reports,
    open_resources,
)
from bot.doctor import check_all
from bot.domain import texts
from bot.domain.conversations import Role
from bot.domain.errors import AnswerFailed, InUse, SettingsError, TemplateError
from bot.domain.health import Finding, Health
from bot.domain.model_names import DEFAULT
from bot.domain.turns import Outcome
from bot.inbox import commands
from bot.inbox.model_commands import EFFORTS
from bot.ports.clock import Clock
from bot.ports.context import ContextReporter
from bot.ports.http import HttpRoutes
from bot.ports.model import ModelCatalog
from bot.ports.platform import Adapter
from bot.turns.display import sentence_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from adapters.console.adapter import ConsoleAdapter
    from adapters.console.attachments import Attachments
    from adapters.console.lines import LineReader, ListWords

    MakeLines = Callable[[ListWords], LineReader]
    from adapters.web.adapter import WebAdapter
    from adapters.web.limits import UploadLimits
    from adapters.web.server import HttpServer

log = structlog.stdlib.get_logger(__name__)

MAIN = "main"
"""The name of the terminal's conversation, unless another one is given."""

HISTORY_FILE = ".threadline_history"


# ── run ───────────────────────────────────────────────────────────────────────────────────────
async def run(
    settings: Settings,
    *,
    listening: Callable[[str], None] | None = None,
    source: ConfigSource | None = None,
) -> None:
    """Serve every configured platform until SIGTERM or SIGINT, then drain.

    `listening` is called with the web adapter's address once it accepts requests. `source` gives
    the settings again when their files change; without it, the models stay the same. Raises
    SettingsError before anything starts; CannotStart if every platform refuses its token, or the
    HTTP port is not available.
    """
    settings.require_consistent()
    clock = SystemClock()
    supervisor = Supervisor(clock)
    async with open_resources(settings, clock) as resources:
        platforms = build_platforms(settings, resources.models, clock)
        web = build_web(settings, resources, clock) if settings.serves_web else None
        adapters = {**platforms, **({web.name: web} if web is not None else {})}
        core = build_core(settings, resources, adapters, clock, supervisor.is_down)
        for component in _components(core, adapters):
            supervisor.add(component)
        if source is not None:
            supervisor.add(_config_component(settings, source, resources, clock))
        if web is not None:

            def health() -> Mapping[str, Health]:
                return {**core.health(), **supervisor.health()}

            supervisor.add(_http_component(settings, web, platforms, health, listening))
        log.info("running", platforms=sorted(adapters), model=",".join(settings.llm_chain))
        async with gc_tuning.collect_when_idle(lambda: core.scheduler.busy > 0, clock):
            with stop_signals(signal.SIGTERM, signal.SIGINT) as stop:
                await run_until(
                    stop, supervisor.run(), drain=partial(core.drain, settings.drain_seconds)
                )


def _components(core: Core, adapters: Mapping[str, Adapter]) -> Iterator[Component]:
    """Every adapter as a supervised component."""
    for name, adapter in adapters.items():
        yield Component(
            name,
            run=partial(adapter.run, core.inbox),
            has_served=partial(core.inbox.has_connected, name),
            health=adapter.health,
            is_platform=name != "web",
        )


def _config_component(
    settings: Settings, source: ConfigSource, resources: Resources, clock: Clock
) -> Component:
    """The watcher of the configuration files as a supervised component."""
    watcher = ConfigWatcher(
        settings=settings,
        source=source,
        target=resources.models,
        policy=resources.policy,
        clock=clock,
    )

    async def run() -> None:
        with contextlib.ExitStack() as stack:
            # A terminal sends SIGHUP when it is closed, which should end the bot.
            if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
                stack.enter_context(on_signal(signal.SIGHUP, watcher.ask))
            await watcher.run()

    return Component(
        "configuration",
        run=run,
        has_served=lambda: True,
        health=watcher.health,
        is_platform=False,
    )


def _http_component(
    settings: Settings,
    web: WebAdapter,
    platforms: Mapping[str, Adapter],
    health: Callable[[], Mapping[str, Health]],
    listening: Callable[[str], None] | None,
) -> Component:
    """The HTTP server as a supervised component; `listening` is called by its first start only."""
    started = asyncio.Event()

    def report(address: str) -> None:
        if listening is not None and not started.is_set():
            listening(address)
        started.set()

    server = build_http_server(settings, web, platforms, health, report)
    return Component(
        "http", run=server.run, has_served=started.is_set, is_platform=False, required=True
    )


# ── chat ──────────────────────────────────────────────────────────────────────────────────────
async def chat(settings: Settings, word: str | None, conversation: str | None = None) -> None:
    """One conversation in the terminal, until the end of input.

    `word` is the conversation's name at a keyboard. In a pipe it is a question, and the input is
    the file that it is about. If another process already has the database open, the terminal talks
    to that one over HTTP.
    """
    from adapters.console.attachments import Attachments, FileLimits

    limits = FileLimits(settings.attachments_per_message, settings.attachment_bytes)
    attachments = Attachments(limits)
    piped = not sys.stdin.isatty()
    lines: MakeLines = partial(_piped_lines, word, attachments) if piped else _keyboard_lines
    if not piped:
        conversation = conversation or word
    terminal = Terminal(conversation or MAIN, lines, attachments, piped=piped)
    try:
        await _chat_here(settings, terminal)
    except InUse:
        await _chat_remotely(settings, terminal)


def _piped_lines(
    question: str | None, attachments: Attachments, _list_models: ListWords
) -> LineReader:
    """The input as a question, or as the file that `question` is about."""
    from adapters.console.lines import PipedLines, QuestionAboutInput

    if question is None:
        return PipedLines()
    return QuestionAboutInput(question, attachments=attachments)


def _keyboard_lines(list_models: ListWords) -> LineReader:
    """Lines from the keyboard; `list_models` completes /model."""
    from adapters.console.lines import KeyboardLines

    async def list_names() -> Sequence[str]:
        return [*await list_models(), DEFAULT]

    async def list_efforts() -> Sequence[str]:
        return EFFORTS

    return KeyboardLines(
        history=Path(HISTORY_FILE),
        words=[f"/{name}" for name in commands.NAMES],
        arguments={f"/{commands.MODEL}": list_names, f"/{commands.EFFORT}": list_efforts},
    )


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a chat in the terminal needs, here or with a running bot.

    `lines` makes the reader of the person's lines; its argument lists models, for completion.
    """

    conversation: str
    lines: MakeLines
    attachments: Attachments
    piped: bool


async def _chat_here(settings: Settings, terminal: Terminal) -> None:
    from adapters.console.adapter import ConsoleAdapter

    clock = SystemClock()
    async with open_resources(settings, clock) as resources:
        console = ConsoleAdapter(
            conversation=terminal.conversation,
            lines=terminal.lines(resources.models.list_names),
            clock=clock,
            piped=terminal.piped,
            attachments=terminal.attachments,
            models=resources.models,
        )
        core = build_core(settings, resources, {console.name: console}, clock)
        drain = partial(core.drain, settings.drain_seconds)
        if terminal.piped:  # the process ends with the answer, and a summary would, too
            core.compactor.stop()
        with stop_signals(signal.SIGTERM) as stop:
            await run_until(stop, console.run(core.inbox), drain=drain)
        if terminal.piped:
            await _finish_pipe(console, resources)


async def _finish_pipe(console: ConsoleAdapter, resources: Resources) -> None:
    """Write the rest of the last answer. Raises AnswerFailed unless it is a complete answer."""
    if console.turn is None:
        return
    reply = await resources.store.library().reply(console.turn)
    if reply is None:
        return
    console.finish(reply.content)
    if reply.outcome is not Outcome.ANSWERED:
        raise AnswerFailed(sentence_of(reply.display, reply.content) or texts.INTERNAL)


async def _chat_remotely(settings: Settings, terminal: Terminal) -> None:
    from adapters.console.remote import RemoteChat, RemoteModels

    listens_everywhere = settings.http_host in ("0.0.0.0", "::")  # noqa: S104 - compared only
    host = "127.0.0.1" if listens_everywhere else settings.http_host
    origin = f"http://{f'[{host}]' if ':' in host else host}:{settings.web_port}"
    token = next(iter(settings.web_tokens.values()), None)
    await RemoteChat(
        origin=origin,
        token=token,
        name=terminal.conversation,
        lines=terminal.lines(RemoteModels(origin=origin, token=token).list_names),
        piped=terminal.piped,
        attachments=terminal.attachments,
    ).run()


# ── doctor ────────────────────────────────────────────────────────────────────────────────────
def doctor(settings: Settings) -> AsyncIterator[Finding]:
    """Check everything that the settings configure; see `bot.doctor`."""
    clock = SystemClock()
    config, _ = examine(settings)  # `check_all` reports the problems
    platforms = build_platforms(settings, build_models(settings, config, clock), clock)
    return check_all(settings, platforms.values(), clock)


# ── adapters ──────────────────────────────────────────────────────────────────────────────────
def build_platforms(settings: Settings, models: ModelCatalog, clock: Clock) -> dict[str, Adapter]:
    """The adapter of every platform whose token is set."""
    adapters: dict[str, Adapter] = {}
    if settings.discord_token is not None:
        from adapters.discord.adapter import DiscordAdapter

        adapters["discord"] = DiscordAdapter(
            token=settings.discord_token.get_secret_value(),
            api_url=settings.discord_api_url,
            gateway_url=settings.discord_gateway_url,
            models=models,
            clock=clock,
            file_from_messages=settings.file_from_messages,
            guilds=settings.discord_servers,
        )
    if settings.slack_bot_token is not None:
        from adapters.slack.adapter import SlackAdapter

        socket = settings.slack_mode is SlackMode.SOCKET
        adapters["slack"] = SlackAdapter(
            bot_token=settings.slack_bot_token.get_secret_value(),
            app_token=_secret(settings.slack_app_token) if socket else None,
            signing_secret=None if socket else _secret(settings.slack_signing_secret),
            api_url=settings.slack_api_url,
            command_prefix=settings.slack_command_prefix,
            models=models,
            clock=clock,
            file_from_messages=settings.file_from_messages,
        )
    return adapters


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None


def build_web(
    settings: Settings,
    resources: Resources,
    clock: Clock,
    *,
    reporter: ContextReporter | None = None,
    models: ModelCatalog | None = None,
) -> WebAdapter:
    """The adapter behind the page and the API."""
    from adapters.web.adapter import WebAdapter
    from adapters.web.auth import Access, is_wildcard

    if not settings.serves_site:
        log.info("the page and the API are closed: HTTP_TOKENS opens them")
    return WebAdapter(
        library=resources.store.library(),
        clock=clock,
        access=Access(settings.web_tokens, settings.web_admins),
        models=models or resources.models,
        reporter=reporter or build_reporter(resources),
        hosts=settings.web_hosts,
        any_address=is_wildcard(settings.http_host),
        most_streams=settings.http_max_streams,
        opening=_read_opening(settings.web_opening),
        uploads=_upload_limits(settings),
        usage=build_usage_reports(settings, resources, clock),
    )


def _upload_limits(settings: Settings) -> UploadLimits:
    from adapters.web.limits import UploadLimits

    if not settings.attachment_bytes:
        return UploadLimits()
    return UploadLimits(settings.attachments_per_message, settings.attachment_bytes)


def _read_opening(path: Path | None) -> tuple[tuple[Role, str], ...]:
    """The messages that open each thread of the page. Raises SettingsError for an invalid file."""
    from bot.domain.templates import parse

    if path is None:
        return ()
    try:
        return parse(path.read_text(encoding="utf-8")).opening()
    except (OSError, UnicodeDecodeError, TemplateError) as error:
        raise SettingsError("WEB_OPENING", f"{path}: {error}") from error


def build_http_server(
    settings: Settings,
    web: WebAdapter,
    platforms: Mapping[str, Adapter],
    health: Callable[[], Mapping[str, Health]],
    listening: Callable[[str], None],
) -> HttpServer:
    """The only HTTP server: /healthz, the platforms' routes, and the page and API of `web`."""
    from adapters.web.auth import refuse_all
    from adapters.web.connections import ConnectionLimits
    from adapters.web.server import HttpServer

    apps: dict[str, ASGIApp] = {}
    for adapter in platforms.values():
        if isinstance(adapter, HttpRoutes):
            apps.update(adapter.http_apps)
    return HttpServer(
        host=settings.http_host,
        port=settings.web_port,
        health=health,
        apps=apps,
        site=web.site if settings.serves_site else refuse_all,
        listening=listening,
        hosts=settings.web_hosts,
        limits=ConnectionLimits.within(
            descriptors.raise_limit(),
            models=settings.max_concurrent_turns,
            uploads=_upload_limits(settings),
        ),
    )
