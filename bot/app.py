"""The composition root: settings → parts → run until a signal. Only this module knows adapters.

A platform or a provider that is not configured is not imported: imports take most of a start.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import SecretStr

from bot.common import descriptors, gc_tuning, logs, proxies
from bot.common.clock import SystemClock
from bot.common.supervisor import Part, Supervisor
from bot.config.settings import Settings, SlackMode
from bot.domain import texts
from bot.domain.conversations import Role
from bot.domain.errors import (
    AnswerFailed,
    Down,
    InUse,
    SettingsError,
    StoreError,
    StoreUnavailable,
    TemplateError,
)
from bot.domain.health import Finding, Health, Verdict
from bot.domain.records import ReplyRecord
from bot.domain.turns import Claim, Outcome, Suspect
from bot.inbox import commands
from bot.inbox.edits import EditHandler
from bot.inbox.inbox import DurableInbox
from bot.llm.registry import Models, build_models
from bot.ports.clock import Clock
from bot.ports.library import Library
from bot.ports.platform import Adapter, Surface
from bot.store.migrate import status
from bot.store.sqlite import SqliteStore
from bot.turns.probe import probe_request
from bot.turns.runner import TurnOptions, TurnRunner
from bot.turns.scheduler import Scheduler

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from adapters.console.lines import LineReader
    from adapters.web.adapter import WebAdapter
    from adapters.web.server import HttpServer

log = structlog.stdlib.get_logger(__name__)

HISTORY_FILE = ".threadline_history"


@dataclass(frozen=True, slots=True)
class Core:
    """The running core that adapters are given to."""

    intake: DurableInbox
    scheduler: Scheduler
    library: Library
    database: Callable[[], Health]
    leave: Callable[[], Awaitable[None]]
    default_model: str


# ── running ───────────────────────────────────────────────────────────────────────────────────
async def run(settings: Settings, *, listening: Callable[[str], None] | None = None) -> None:
    """Serve every configured platform until SIGTERM or SIGINT, then drain.

    `listening` is called with the address of the web adapter once it answers there. Raises
    SettingsError before anything starts, CannotStart when every platform refuses us, or the HTTP
    port cannot be had.
    """
    settings.require_consistent()
    clock = SystemClock()
    adapters = platforms(settings, clock)
    supervisor = Supervisor(clock)
    async with open_core(settings, adapters, clock, is_down=supervisor.is_down) as core:
        if settings.serves_web:
            adapters["web"] = web_adapter(settings, core, clock)
        if settings.serves_web and not settings.serves_site:
            log.info("the page and the API are refuse_all: HTTP_TOKENS opens them")
        for part in parts(settings, core, adapters, supervisor, listening):
            supervisor.add(part)
        log.info("running", platforms=sorted(adapters), model=",".join(settings.llm_chain))
        async with gc_tuning.collecting(lambda: core.scheduler.busy > 0, clock):
            with _signals(signal.SIGTERM, signal.SIGINT) as stop:
                await _serve(settings, core, supervisor.run(), stop)


async def chat(settings: Settings, conversation: str) -> None:
    """One conversation in the terminal, until the end of input.

    With a bot that runs already where there is one: the database is that process's.
    """
    from adapters.console.lines import KeyboardLines, PipedLines

    words = tuple(f"/{name}" for name in commands.NAMES)
    piped = not sys.stdin.isatty()
    lines = PipedLines() if piped else KeyboardLines(history=Path(HISTORY_FILE), words=words)
    try:
        await _chat_here(settings, conversation, lines, piped)
    except InUse:
        from adapters.console.remote import RemoteChat

        host = "127.0.0.1" if settings.http_host in ("0.0.0.0", "::") else settings.http_host  # noqa: S104 - compared
        await RemoteChat(
            origin=f"http://{f'[{host}]' if ':' in host else host}:{settings.web_port}",
            token=next(iter(settings.web_tokens.values()), None),
            name=conversation,
            lines=lines,
            piped=piped,
        ).run()


async def _chat_here(settings: Settings, conversation: str, lines: LineReader, piped: bool) -> None:
    from adapters.console.adapter import ConsoleAdapter

    clock = SystemClock()
    console = ConsoleAdapter(conversation=conversation, lines=lines, clock=clock, piped=piped)
    adapters: dict[str, Adapter] = {console.name: console}
    async with open_core(settings, adapters, clock) as core:
        with _signals(signal.SIGTERM) as stop:
            await _serve(settings, core, console.run(core.intake), stop)
        if piped and console.turn is not None:
            reply = await core.library.reply(console.turn)
            if reply is not None:
                console.finish(reply.content)
                _require_answer(reply)


def _require_answer(reply: ReplyRecord) -> None:
    """Raise AnswerFailed, with the sentence that people see, where a reply is no whole answer."""
    if reply.outcome is not Outcome.ANSWERED:
        raise AnswerFailed(texts.last_sentence(reply.display) or texts.INTERNAL)


async def _serve(
    settings: Settings,
    core: Core,
    work: Coroutine[Any, Any, None],
    stop: asyncio.Event,
) -> None:
    """Until `stop`, or until `work` ends or fails; running turns are given their time."""
    serving = asyncio.create_task(work, name="serving")
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        await _drain(settings, core)  # on surfaces that still work
    finally:
        for task in (serving, waiting):
            task.cancel()
        results = await asyncio.gather(serving, waiting, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _drain(settings: Settings, core: Core) -> None:
    with contextlib.suppress(StoreUnavailable):
        await core.leave()  # whatever ends the process from now on is no turn's doing
    if core.scheduler.busy:
        log.info("draining", turns=core.scheduler.busy, seconds=settings.drain_seconds)
    left = await core.scheduler.drain(settings.drain_seconds)
    if left:
        log.warning("turns left for the next start", turns=left)
    await core.intake.aclose()


@contextlib.contextmanager
def _signals(*numbers: signal.Signals) -> Iterator[asyncio.Event]:
    """An event that these signals set; the second one, whichever, ends the process as usual."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def received() -> None:
        stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, received)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


# ── parts ─────────────────────────────────────────────────────────────────────────────────────
@contextlib.asynccontextmanager
async def open_core(
    settings: Settings,
    adapters: Mapping[str, Adapter],
    clock: Clock,
    is_down: Callable[[str], bool] = lambda _platform: False,
) -> AsyncIterator[Core]:
    """The core around the database and the models, refuse_all in the right order."""
    async with (
        contextlib.aclosing(build_models(settings)) as models,
        SqliteStore.open(settings.database_path, clock=clock) as store,
    ):
        suspects: Sequence[Suspect] = ()
        with contextlib.suppress(StoreUnavailable):  # each says so itself when it is claimed
            suspects = await store.suspects()
        if store.death is not None:
            log.error(
                "the process before this one died",
                turns=store.death.running,
                suspects=len(suspects),
            )
        yield _core(settings, adapters, clock, store, models, suspects, is_down)


def _core(
    settings: Settings,
    adapters: Mapping[str, Adapter],
    clock: Clock,
    store: SqliteStore,
    models: Models,
    suspects: Sequence[Suspect],
    is_down: Callable[[str], bool],
) -> Core:
    def surface(claim: Claim) -> Surface:
        platform = claim.conversation.key.platform
        if is_down(platform):
            raise Down(platform)
        return adapters[platform].surface(claim)

    runner = TurnRunner(
        store=store,
        surface=surface,
        default_model=models.default,
        models=models.choices,
        options=TurnOptions(
            system_prompt=settings.prompt,
            zone=settings.zone,
            context_tokens=settings.context_tokens,
            max_output_tokens=settings.max_output_tokens,
            temperature=settings.temperature,
            max_concurrent=settings.max_concurrent_turns,
            max_queued=settings.max_queued_turns,
            reasoning=settings.reasoning,
        ),
        clock=clock,
    )
    scheduler = Scheduler(store=store, work=runner.run, clock=clock, suspects=suspects)
    offered = settings.model_choices
    intake = DurableInbox(
        store=store,
        scheduler=scheduler,
        commands=commands.Commands(
            store=store,
            scheduler=scheduler,
            models=offered,
            default=models.default.name,
            help_texts={"web": texts.HELP_PAGE, "console": texts.HELP_TERMINAL},
        ),
        models=offered,
        adapters=adapters,
        changes=EditHandler(
            store=store,
            scheduler=scheduler,
            clock=clock,
            with_reply=settings.delete_reply_with_question,
        ),
        clock=clock,
        missed_seconds=settings.missed_question_hours * 3_600,
    )
    return Core(
        intake=intake,
        scheduler=scheduler,
        library=store.library(interrupt=scheduler.interrupt),
        database=store.health,
        leave=store.leave,
        default_model=models.default.name,
    )


def platforms(settings: Settings, clock: Clock) -> dict[str, Adapter]:
    """The adapters of every platform whose token is set."""
    adapters: dict[str, Adapter] = {}
    if settings.discord_token is not None:
        from adapters.discord.adapter import DiscordAdapter

        adapters["discord"] = DiscordAdapter(
            token=settings.discord_token.get_secret_value(),
            api_url=settings.discord_api_url,
            gateway_url=settings.discord_gateway_url,
            models=settings.model_choices,
            clock=clock,
            file_from_messages=settings.file_from_messages,
            servers=settings.discord_servers,
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
            models=settings.model_choices,
            clock=clock,
            file_from_messages=settings.file_from_messages,
        )
    return adapters


def web_adapter(settings: Settings, core: Core, clock: Clock) -> WebAdapter:
    """The page and the API."""
    from adapters.web.adapter import WebAdapter
    from adapters.web.auth import Access, is_wildcard

    return WebAdapter(
        library=core.library,
        clock=clock,
        access=Access(settings.web_tokens, settings.web_admins),
        models=settings.model_choices,
        default_model=core.default_model,
        hosts=settings.web_hosts,
        any_address=is_wildcard(settings.http_host),
        most_streams=settings.http_max_streams,
        opening=_opening(settings.web_opening),
    )


def _opening(path: Path | None) -> tuple[tuple[Role, str], ...]:
    """What is said where a thread of the page begins; SettingsError when it cannot be read."""
    from adapters.web.templates import parse

    if path is None:
        return ()
    try:
        return parse(path.read_text(encoding="utf-8")).opening()
    except (OSError, UnicodeDecodeError, TemplateError) as error:
        raise SettingsError("WEB_OPENING", f"{path}: {error}") from error


def parts(
    settings: Settings,
    core: Core,
    adapters: Mapping[str, Adapter],
    supervisor: Supervisor,
    listening: Callable[[str], None] | None,
) -> Iterator[Part]:
    """What runs: every adapter, and the HTTP port where there is one."""
    for name, adapter in adapters.items():
        yield Part(
            name,
            run=partial(adapter.run, core.intake),
            reached=partial(core.intake.has_connected, name),
            health=adapter.health,
            platform=name != "web",
        )
    if "web" in adapters:
        listens = asyncio.Event()

        def tell(address: str) -> None:
            if listening is not None and not listens.is_set():
                listening(address)
            listens.set()

        server = http_server(settings, core, adapters, tell, supervisor.health)
        yield Part("http", run=server.run, reached=listens.is_set, platform=False, needed=True)


def http_server(
    settings: Settings,
    core: Core,
    adapters: Mapping[str, Adapter],
    listening: Callable[[str], None] | None,
    healths: Callable[[], Mapping[str, Health]] | None = None,
) -> HttpServer:
    """The one HTTP port: the site of the web adapter, and the routes that others lend it."""
    from adapters.web.auth import refuse_all
    from adapters.web.connections import ConnectionLimits
    from adapters.web.server import HttpServer

    site = getattr(adapters.get("web"), "site", None)
    apps: dict[str, ASGIApp] = {}
    for adapter in adapters.values():
        apps.update(getattr(adapter, "http_apps", {}))
    return HttpServer(
        host=settings.http_host,
        port=settings.web_port,
        health=lambda: {
            "core": Health(ok=True, details={"turns": str(core.scheduler.busy)}),
            "database": core.database(),
            **(healths() if healths else {n: each.health() for n, each in adapters.items()}),
        },
        apps=apps,
        site=site if settings.serves_site else refuse_all,
        listening=listening,
        hosts=settings.web_hosts,
        limits=ConnectionLimits.within(
            descriptors.raise_limit(), models=settings.max_concurrent_turns
        ),
    )


def configure_logs(settings: Settings) -> None:
    """Send the log to stderr, without a secret of the settings in it."""
    logs.configure(level=settings.log_level, form=settings.log_format, secrets=settings.secrets())


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None


# ── doctor ────────────────────────────────────────────────────────────────────────────────────
async def doctor(settings: Settings) -> AsyncIterator[Finding]:
    """Try everything that the settings name with a real call, one finding a point."""
    clock = SystemClock()
    try:
        settings.require_consistent()
        yield Finding("settings", Verdict.OK, "consistent")
    except SettingsError as error:
        yield Finding(error.setting, Verdict.FAILED, error.problem)
    yield await _database(settings)
    async for finding in _models(settings):
        yield finding
    adapters = platforms(settings, clock)
    if not adapters:
        yield Finding("platforms", Verdict.WARNING, "none is set", "see “Connecting” in the README")
    for adapter in adapters.values():
        for finding in await adapter.check():
            yield finding


async def _models(settings: Settings) -> AsyncIterator[Finding]:
    """Every model by itself: in a chain the first would hide the others."""
    probe = probe_request(settings, SystemClock().time())
    names = dict.fromkeys((*settings.llm_chain, *settings.model_choices))
    for provider, address in _providers(settings, names).items():
        yield proxies.finding(provider, address)
    for name in names:
        try:
            single = settings.model_copy(update={"llm": name, "models": ""})
            alone = build_models(single, probe=probe)
        except SettingsError as error:
            yield Finding(error.setting, Verdict.FAILED, error.problem)
            continue
        async with contextlib.aclosing(alone):
            yield await alone.default.check()


def _providers(settings: Settings, names: Iterable[str]) -> Mapping[str, str]:
    """The address of each provider among `names` that is asked over the network."""
    from bot.llm.huggingface import ROUTER_URL
    from bot.llm.openai import OPENAI_URL

    addresses = {
        "openai": settings.openai_base_url or OPENAI_URL,
        "huggingface": settings.hf_base_url or ROUTER_URL,
    }
    asked = {name.partition(":")[0] for name in names}
    return {name: address for name, address in addresses.items() if name in asked}


async def _database(settings: Settings) -> Finding:
    """Read only: the bot may be running on it at this moment."""
    path = settings.database_path
    if not path.exists():
        return Finding("database", Verdict.OK, f"{path} will be made at the first start")
    try:
        found = await asyncio.to_thread(status, path)
    except StoreError as error:
        return Finding("database", Verdict.FAILED, str(error), f"look at {path}")
    pending = ", ".join(found.pending)
    note = f", to be migrated at the next start: {pending}" if pending else ""
    return Finding("database", Verdict.OK, f"{path}{note}")


def connect_hint(settings: Settings) -> str:
    """One line: how to go on from the page to a platform and a model."""
    return (
        f"No platform is connected, and {','.join(settings.llm_chain)} answers. Set LLM, and "
        "DISCORD_TOKEN or SLACK_BOT_TOKEN with SLACK_APP_TOKEN, in .env (.env.example explains "
        "them); `make chat` talks in the terminal, also while this runs."
    )
