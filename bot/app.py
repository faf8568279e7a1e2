"""The composition root: starts, supervises and stops what `threadline run` and `doctor` need.

`bot.wiring` builds the adapters; this module passes them to the core.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial

import structlog

from bot.common import gc_tuning
from bot.common.clock import SystemClock
from bot.common.lifecycle import on_signal, run_until, stop_signals
from bot.common.supervisor import Component, Supervisor
from bot.config.consistency import require_consistent
from bot.config.models import examine
from bot.config.reload import ConfigSource, ConfigWatcher
from bot.config.settings import Settings
from bot.connecting import EnvModelConnector
from bot.core import Core, build_core
from bot.doctor import check_all
from bot.domain.health import Finding
from bot.operation.monitoring import Monitoring
from bot.operation.service_manager import ServiceManager
from bot.ports.clock import Clock
from bot.ports.platform import Adapter
from bot.resources import Resources, build_models, open_resources
from bot.store.open_store import installations_beside
from bot.tracing.setup import open_tracer
from bot.wiring.platforms import build_platforms
from bot.wiring.web import build_http_components, build_served_web

log = structlog.stdlib.get_logger(__name__)


async def run(
    settings: Settings,
    *,
    listening: Callable[[str], None] | None = None,
    source: ConfigSource | None = None,
) -> None:
    """Serve every configured platform until SIGTERM or SIGINT, then drain.

    `listening` is called with the web adapter's address once it accepts requests. `source` reloads
    the settings when their files change; without it, the models stay the same. Raises SettingsError
    before anything starts; CannotStart if every platform refuses its token, or the HTTP port is not
    available.
    """
    require_consistent(settings)
    clock = SystemClock()
    supervisor = Supervisor(clock)
    monitoring = Monitoring(settings, clock, ServiceManager.from_environ(os.environ, os.getpid()))
    async with (
        open_tracer(os.environ) as tracer,
        open_resources(settings, clock, monitoring.observer) as resources,
    ):
        platforms = _platforms(settings, resources, clock)
        web = build_served_web(settings, resources, clock, _connector(settings, clock, source))
        adapters = {**platforms, **({web.name: web} if web is not None else {})}
        core = build_core(settings, resources, adapters, clock, supervisor.is_down, tracer=tracer)
        monitoring.connect(core, resources, adapters, supervisor, resources.cluster.load)
        changed = web.models_changed if web is not None else lambda: None
        for component in (
            *_components(core, adapters),
            *monitoring.components(),
            *_config_components(settings, source, resources, clock, changed),
            *build_http_components(settings, web, platforms, monitoring, clock, listening),
        ):
            supervisor.add(component)
        log.info("running", platforms=sorted(adapters), model=",".join(settings.llm_chain))
        async with (
            gc_tuning.collect_when_idle(lambda: core.scheduler.busy > 0, clock),
            core.meter.loading_prices(resources.models.default.split(",")),
        ):
            await _serve(supervisor, monitoring, core, settings.drain_seconds)


def _platforms(settings: Settings, resources: Resources, clock: Clock) -> dict[str, Adapter]:
    """The chat platforms' adapters on the open database."""
    installations = resources.store.installations()
    return build_platforms(
        settings,
        resources.models,
        clock,
        resources.cluster,
        reader=installations,
        store=installations,
    )


async def _serve(
    supervisor: Supervisor, monitoring: Monitoring, core: Core, drain_seconds: float
) -> None:
    """Run the components until SIGTERM or SIGINT, then drain."""
    drain = partial(_drain, core, monitoring, drain_seconds)
    with monitoring.problems.listening(), stop_signals(signal.SIGTERM, signal.SIGINT) as stop:
        await run_until(stop, supervisor.run(), drain=drain)


def _connector(
    settings: Settings, clock: Clock, source: ConfigSource | None
) -> EnvModelConnector | None:
    """The page's model connector; None unless this process follows its settings files."""
    if source is None or settings.variables.path is None:
        return None
    return EnvModelConnector(settings, clock, redact=source.redact)


async def _drain(core: Core, monitoring: Monitoring, seconds: float) -> None:
    """Stop accepting work from outside, then drain the core."""
    monitoring.begin_draining()
    await core.drain(seconds)


def _components(core: Core, adapters: Mapping[str, Adapter]) -> Iterator[Component]:
    """The adapters and the background tasks of the core, as supervised components."""
    for name, adapter in adapters.items():
        yield Component(
            name,
            run=partial(adapter.run, core.inbox),
            has_served=partial(core.inbox.has_connected, name),
            health=adapter.health,
            is_platform=name != "web",
        )
    if core.reaper is not None:
        reap = core.reaper.run
        yield Component("leases", run=reap, has_served=lambda: True, is_platform=False)
    for name, run in (("retention", core.retention.run), ("deletions", core.deletions.run)):
        yield Component(name, run=run, has_served=lambda: True, is_platform=False)


def _config_components(
    settings: Settings,
    source: ConfigSource | None,
    resources: Resources,
    clock: Clock,
    changed: Callable[[], None],
) -> Iterator[Component]:
    """The watcher of the configuration files as a supervised component.

    It calls `changed` after the models have changed.
    """
    if source is None:
        return
    watcher = ConfigWatcher(
        settings=settings,
        source=source,
        target=resources.models,
        policy=resources.policy,
        clock=clock,
        changed=changed,
    )

    async def run() -> None:
        with contextlib.ExitStack() as stack:
            # A terminal sends SIGHUP when it is closed; that should end the bot, not reload its
            # files.
            if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
                stack.enter_context(on_signal(signal.SIGHUP, watcher.ask))
            await watcher.run()

    yield Component(
        "configuration",
        run=run,
        has_served=lambda: True,
        health=watcher.health,
        is_platform=False,
    )


def doctor(settings: Settings) -> AsyncIterator[Finding]:
    """Check everything that the settings configure; see `bot.doctor`."""
    clock = SystemClock()
    config, _ = examine(settings)  # `check_all` reports the problems
    platforms = build_platforms(
        settings,
        build_models(settings, config, clock),
        clock,
        reader=installations_beside(settings),
    )
    return check_all(settings, platforms.values(), clock)
