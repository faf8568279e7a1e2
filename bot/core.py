"""The core, assembled from settings: inbox, scheduler and turns around the database and the models.

Dependencies point one way: `bot.resources`, then the adapters that read from them, then the core.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import structlog

from bot.common.local_cluster import LocalCluster
from bot.config.settings import Settings
from bot.content.fetcher import AttachmentFetcher
from bot.context.compaction import Compactor
from bot.context.turn_attachments import AttachmentPorts
from bot.domain import privacy_texts, texts
from bot.domain.errors import Down, StoreUnavailable
from bot.domain.health import Health
from bot.domain.turns import Claim
from bot.inbox.attachments import AttachmentIntake
from bot.inbox.commands import Commands
from bot.inbox.edits import EditHandler
from bot.inbox.feedback_commands import FeedbackCommands
from bot.inbox.gates import build_gates
from bot.inbox.inbox import DurableInbox
from bot.inbox.policy_commands import PolicyCommands
from bot.inbox.privacy_commands import PrivacyCommands
from bot.inbox.usage_commands import UsageCommands
from bot.llm.prices import ModelPrices
from bot.policy.budgets import PolicyBudgets
from bot.policy.meter import BudgetMeter
from bot.ports.clock import Clock
from bot.ports.platform import Adapter, Surface
from bot.ports.policy import Directory
from bot.ports.spending import BudgetSource
from bot.ports.tracing import Tracer
from bot.privacy.deletions import DeletionKeeper
from bot.privacy.retention import RetentionKeeper
from bot.resources import Resources, build_reporter, build_usage_reports
from bot.store.store import SqlStore
from bot.turns.reaper import Reaper
from bot.turns.runner import TurnRunner
from bot.turns.scheduler import Scheduler
from bot.turns.shared_scheduler import SharedScheduler

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Core:
    """The inbox that adapters report to, and the scheduler behind it."""

    store: SqlStore
    inbox: DurableInbox
    scheduler: Scheduler
    fetcher: AttachmentFetcher
    compactor: Compactor
    meter: BudgetMeter
    retention: RetentionKeeper
    runner: TurnRunner
    deletions: DeletionKeeper
    reaper: Reaper | None = None

    def health(self) -> dict[str, Health]:
        """The health of the core and its database, by name."""
        return {
            "core": Health(ok=True, details={"turns": str(self.scheduler.busy)}),
            "database": self.store.health(),
        }

    async def drain(self, seconds: float) -> None:
        """Give running turns `seconds` to end; the next start continues the remaining ones."""
        with contextlib.suppress(StoreUnavailable):
            await self.store.record_shutdown()  # a death from here on is not a turn's fault
        if self.scheduler.busy:
            log.info("draining", turns=self.scheduler.busy, seconds=seconds)
        self.compactor.stop()
        left = await self.scheduler.drain(seconds)
        if left:
            log.warning("unfinished turns remain for the next start", turns=left)
        await self.compactor.aclose()
        await self.meter.aclose()
        await self.fetcher.aclose()
        await self.inbox.aclose()


def build_core(
    settings: Settings,
    resources: Resources,
    adapters: Mapping[str, Adapter],
    clock: Clock,
    is_down: Callable[[str], bool] = lambda _platform: False,
    budgets: BudgetSource | None = None,
    tracer: Tracer | None = None,
) -> Core:
    """Wire the core to `adapters`. A turn waits while `is_down` is true for its platform.

    `budgets` limit what requests to models cost; by default those of the rules.
    """
    store = resources.store
    resources.policy.connect(lambda platform: _directory(adapters, platform))
    meter = _build_meter(settings, resources, clock, budgets)
    fetcher = _build_fetcher(settings, resources, adapters, clock, meter)
    compactor = _build_compactor(resources, meter)
    attachments = AttachmentPorts(store.attachments(), fetcher, settings.attachment_wait_seconds)
    runner = TurnRunner(
        store=store,
        surface=_surface_opener(adapters, is_down),
        models=resources.models,
        context=replace(resources.context, wait=compactor.wait),
        attachments=attachments,
        compactor=compactor,
        meter=meter,
        is_shared=resources.is_shared,
        observer=resources.observer,
    )
    scheduler = _build_scheduler(resources, runner, clock, tracer)
    intake = AttachmentIntake(
        fetcher,
        adapters,
        max_files=settings.attachments_per_message if settings.attachment_max_mb else 0,
        max_links=settings.links_per_message,
    )
    inbox = _build_inbox(settings, resources, adapters, scheduler, intake, clock, budgets, tracer)
    retention = _build_retention(settings, resources, clock)
    reaper = _build_reaper(resources, scheduler, inbox, adapters, is_down)
    deletions = DeletionKeeper(library=store.library(), clock=clock)
    parts = (scheduler, fetcher, compactor, meter, retention, runner, deletions, reaper)
    return Core(store, inbox, *parts)


def _build_fetcher(
    settings: Settings,
    resources: Resources,
    adapters: Mapping[str, Adapter],
    clock: Clock,
    meter: BudgetMeter,
) -> AttachmentFetcher:
    return AttachmentFetcher(
        store=resources.store.attachments(),
        adapters=adapters,
        readers=resources.readers,
        clock=clock,
        max_bytes=settings.attachment_max_mb * 1_000_000,
        meter=meter,
        observer=resources.observer,
    )


def _build_retention(settings: Settings, resources: Resources, clock: Clock) -> RetentionKeeper:
    return RetentionKeeper(
        store=resources.store.privacy(),
        days=resources.policy.retention_days,
        clock=clock,
        zone=settings.zone,
        alone=partial(resources.cluster.exclusively, "retention"),
    )


def _build_scheduler(
    resources: Resources, runner: TurnRunner, clock: Clock, tracer: Tracer | None
) -> Scheduler:
    store, cluster, suspects = resources.store, resources.cluster, resources.suspects
    if isinstance(cluster, LocalCluster):
        return Scheduler(
            store=store, work=runner.run, clock=clock, suspects=suspects, tracer=tracer
        )
    return SharedScheduler(
        store=store,
        work=runner.run,
        clock=clock,
        suspects=suspects,
        cluster=cluster,
        tracer=tracer,
    )


def _build_reaper(
    resources: Resources,
    scheduler: Scheduler,
    inbox: DurableInbox,
    adapters: Mapping[str, Adapter],
    is_down: Callable[[str], bool],
) -> Reaper | None:
    """What takes over from other processes, where there may be some."""
    if resources.leases is None or not isinstance(scheduler, SharedScheduler):
        return None
    return Reaper(
        store=resources.leases,
        cluster=resources.cluster,
        scheduler=scheduler,
        platforms=lambda: [n for n in adapters if inbox.has_connected(n) and not is_down(n)],
    )


def _build_meter(
    settings: Settings, resources: Resources, clock: Clock, budgets: BudgetSource | None
) -> BudgetMeter:
    policy = resources.policy
    return BudgetMeter(
        store=resources.store.spending(),
        prices=ModelPrices(resources.models, now=clock.time),
        budgets=budgets or PolicyBudgets(policy, policy.is_one_of),
        clock=clock,
        zone=settings.zone,
        observer=resources.observer,
    )


def _build_compactor(resources: Resources, meter: BudgetMeter) -> Compactor:
    store, models = resources.store, resources.models
    return Compactor(
        store=store,
        contexts=store.contexts(),
        attachments=store.attachments(),
        summarizer=lambda conversation, assigned: models.summarizer(conversation.model, assigned),
        budget=resources.context.budgets.get,
        meter=meter,
    )


def _surface_opener(
    adapters: Mapping[str, Adapter], is_down: Callable[[str], bool]
) -> Callable[[Claim], Surface]:
    def open_surface(claim: Claim) -> Surface:
        platform = claim.conversation.key.platform
        if is_down(platform):
            raise Down(platform)
        return adapters[platform].surface(claim)

    return open_surface


def _directory(adapters: Mapping[str, Adapter], platform: str) -> Directory | None:
    adapter = adapters.get(platform)
    return None if adapter is None else adapter.directory


def _build_inbox(
    settings: Settings,
    resources: Resources,
    adapters: Mapping[str, Adapter],
    scheduler: Scheduler,
    intake: AttachmentIntake,
    clock: Clock,
    budgets: BudgetSource | None,
    tracer: Tracer | None,
) -> DurableInbox:
    store = resources.store
    edits = EditHandler(
        store=store,
        scheduler=scheduler,
        clock=clock,
        with_reply=settings.delete_reply_with_question,
    )
    resources.forgetter.connect(edits.follow_erasure)
    return DurableInbox(
        store=store,
        scheduler=scheduler,
        commands=_build_commands(settings, resources, scheduler, clock, budgets),
        models=resources.models,
        gates=build_gates(
            store=store,
            adapters=adapters,
            clock=clock,
            policy=resources.policy,
            rates=resources.rates,
        ),
        edits=edits,
        clock=clock,
        missed_seconds=settings.missed_question_hours * 3_600,
        intake=intake,
        observer=resources.observer,
        tracer=tracer,
    )


def _build_commands(
    settings: Settings,
    resources: Resources,
    scheduler: Scheduler,
    clock: Clock,
    budgets: BudgetSource | None,
) -> Commands:
    store, models, policy = resources.store, resources.models, resources.policy
    reports = build_usage_reports(settings, resources, clock, budgets)
    without_files = {
        "web": privacy_texts.EXPORT_ON_PAGE,
        "console": privacy_texts.HOW_TO_EXPORT,
    }
    about_rules = PolicyCommands(
        store=store, policies=store.policies(), policy=policy, catalog=models
    )
    about_people = PrivacyCommands(
        store=store,
        forgetter=resources.forgetter,
        exports=resources.exports,
        without_files=without_files,
    )
    return Commands(
        store=store,
        scheduler=scheduler,
        models=models,
        reporter=build_reporter(resources),
        help_texts={"web": texts.HELP_PAGE, "console": texts.HELP_TERMINAL},
        policy=policy,
        keeping=("web",),
        more={
            **about_rules.handlers(),
            **UsageCommands(store=store, policy=policy, reports=reports).handlers(),
            **about_people.handlers(),
            **FeedbackCommands(store=store.feedback(), policy=policy).handlers(),
        },
    )
