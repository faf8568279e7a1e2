"""Builds the page, the API and the HTTP servers from settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from bot.common import descriptors
from bot.common.supervisor import Component
from bot.config.settings import Settings
from bot.domain.conversations import Role
from bot.domain.errors import SettingsError, TemplateError
from bot.domain.model import DEMO
from bot.llm.descriptions import ModelDescriptions
from bot.llm.prices import ModelPrices
from bot.operation.monitoring import Monitoring
from bot.ports.clock import Clock
from bot.ports.connecting import ModelConnector
from bot.ports.context import ContextReporter
from bot.ports.http import HttpRoutes
from bot.ports.model import ModelCatalog
from bot.ports.platform import Adapter
from bot.resources import Resources, build_reporter, build_usage_reports

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from adapters.web.adapter import WebAdapter
    from adapters.web.choices import ChoicePorts
    from adapters.web.limits import UploadLimits
    from adapters.web.ports import WebOptions
    from adapters.web.server import HttpServer

log = structlog.stdlib.get_logger(__name__)


def build_web(
    settings: Settings,
    resources: Resources,
    clock: Clock,
    *,
    reporter: ContextReporter | None = None,
    models: ModelCatalog | None = None,
    sample: bool = False,
    connector: ModelConnector | None = None,
) -> WebAdapter:
    """Build the adapter for the page and the API.

    `sample`: on a new installation, the demo model has a thread to show. `connector` is for the
    page's owner.
    """
    from adapters.web.adapter import WebAdapter
    from adapters.web.feedback import FeedbackPorts
    from adapters.web.ports import WebPorts
    from adapters.web.privacy import PrivacyRoutes

    if not settings.serves_site:
        log.info("the page and the API are closed: HTTP_TOKENS opens them")
    store = resources.store
    ports = WebPorts(
        library=store.library(),
        clock=clock,
        cluster=resources.cluster,
        models=models or resources.models,
        assigned=resources.policy.assigned,
        reporter=reporter or build_reporter(resources),
        usage=build_usage_reports(settings, resources, clock),
        privacy=PrivacyRoutes(
            forgetter=resources.forgetter, exports=resources.exports, audit=store.audit()
        ),
        feedback=FeedbackPorts(store.feedback(), resources.policy),
        choices=_build_choices(resources, clock),
        search=store.search(),
        sessions=store.sessions(),
        connector=connector,
    )
    adapter = WebAdapter(ports, _web_options(settings, sample=sample))
    resources.forgetter.connect_pages(adapter.erased)
    return adapter


def _web_options(settings: Settings, *, sample: bool) -> WebOptions:
    from adapters.web.auth import Access, is_wildcard
    from adapters.web.ports import WebOptions

    return WebOptions(
        access=Access(settings.web_tokens, settings.web_admins),
        hosts=settings.web_hosts,
        any_address=is_wildcard(settings.http_host),
        most_streams=settings.http_max_streams,
        opening=_read_opening(settings.web_opening),
        uploads=_upload_limits(settings),
        shared=settings.web_channels,
        sample=sample and settings.serves_site and settings.llm_chain == (DEMO,),
    )


def build_served_web(
    settings: Settings, resources: Resources, clock: Clock, connector: ModelConnector | None
) -> WebAdapter | None:
    """Like `build_web`, for `threadline run`; None if the HTTP port is closed."""
    if not settings.serves_web:
        return None
    return build_web(settings, resources, clock, sample=True, connector=connector)


def _build_choices(resources: Resources, clock: Clock) -> ChoicePorts:
    from adapters.web.choices import ChoicePorts

    registry = resources.models
    return ChoicePorts(
        policy=resources.policy,
        models=ModelDescriptions(
            registry, ModelPrices(registry, now=clock.time), now=clock.monotonic
        ),
        defaults=resources.store.default_models(),
        shares=resources.store.shares(),
        audit=resources.store.audit(),
    )


def _upload_limits(settings: Settings) -> UploadLimits:
    from adapters.web.limits import UploadLimits

    if not settings.attachment_bytes:
        return UploadLimits()
    return UploadLimits(settings.attachments_per_message, settings.attachment_bytes)


def _read_opening(path: Path | None) -> tuple[tuple[Role, str], ...]:
    """Read the messages that open each thread of the page. Raises SettingsError."""
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
    monitoring: Monitoring,
    clock: Clock,
    listening: Callable[[str], None],
) -> HttpServer:
    """Build the HTTP server for everything except METRICS_PORT.

    Serves /healthz, /readyz, the platforms' routes, and the page and API of `web`; also /metrics if
    it has a token and no separate port.
    """
    from adapters.web.auth import refuse_all
    from adapters.web.connections import ConnectionLimits
    from adapters.web.server import HttpServer

    apps: dict[str, ASGIApp] = {}
    for adapter in platforms.values():
        if isinstance(adapter, HttpRoutes):
            apps.update(adapter.http_apps)
    if settings.metrics_port is None:
        apps.update(_metrics_apps(settings, monitoring, clock))
    return HttpServer(
        host=settings.http_host,
        port=settings.web_port,
        health=monitoring.health,
        readiness=monitoring.readiness.report,
        alive=monitoring.is_alive,
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


def build_http_components(
    settings: Settings,
    web: WebAdapter | None,
    platforms: Mapping[str, Adapter],
    monitoring: Monitoring,
    clock: Clock,
    listening: Callable[[str], None] | None,
) -> Iterator[Component]:
    """The servers of the ports that are open."""
    if web is not None:
        yield build_http_component(settings, web, platforms, monitoring, clock, listening)
    if settings.metrics_port is not None:
        yield build_metrics_component(settings, monitoring, clock)


def build_http_component(
    settings: Settings,
    web: WebAdapter,
    platforms: Mapping[str, Adapter],
    monitoring: Monitoring,
    clock: Clock,
    listening: Callable[[str], None] | None,
) -> Component:
    """The HTTP server as a supervised component; only its first start calls `listening`."""
    started = asyncio.Event()

    def report(address: str) -> None:
        if listening is not None and not started.is_set():
            listening(address)
        started.set()

    server = build_http_server(settings, web, platforms, monitoring, clock, report)
    return Component(
        "http", run=server.run, has_served=started.is_set, is_platform=False, required=True
    )


def build_metrics_component(settings: Settings, monitoring: Monitoring, clock: Clock) -> Component:
    """The server on METRICS_PORT, for Prometheus and probes, as a supervised component."""
    from adapters.web.server import HttpServer

    started = asyncio.Event()

    def report(address: str) -> None:
        log.info("metrics", address=f"{address}/metrics")
        started.set()

    server = HttpServer(
        host=settings.metrics_host,
        port=settings.metrics_port or 0,
        health=monitoring.health,
        readiness=monitoring.readiness.report,
        alive=monitoring.is_alive,
        apps=_metrics_apps(settings, monitoring, clock),
        listening=report,
        hosts=(settings.metrics_host,),
        setting="METRICS",
    )
    return Component("metrics", run=server.run, has_served=started.is_set, is_platform=False)


def _metrics_apps(
    settings: Settings, monitoring: Monitoring, clock: Clock
) -> Mapping[str, ASGIApp]:
    from adapters.web.probes import guarded_metrics

    if monitoring.metrics is None:
        return {}
    token = settings.metrics_token.get_secret_value() if settings.metrics_token else None
    render = monitoring.metrics.render
    return {"/metrics": guarded_metrics(render, token, host=settings.metrics_host, clock=clock)}
