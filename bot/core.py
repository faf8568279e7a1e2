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
    """The inbox that adapters report to, and the scheduler behind the inbox."""

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
            await self.store.record_shutdown()  # deaths from here on are not counted against a turn
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
    """Wire the core to `adapters`. Turns wait while `is_down` is true for their platform.

    `budgets` limit the cost of requests to models; by default, the rules' budgets apply.
    """
    resources.policy.connect(lambda platform: _directory(adapters, platform))
    return _Builder(settings, resources, adapters, clock, is_down, budgets, tracer).build()


@dataclass(frozen=True, slots=True)
class _Builder:
    """Builds the parts of a core, all from the same resources and adapters."""

    settings: Settings
    resources: Resources
    adapters: Mapping[str, Adapter]
    clock: Clock
    is_down: Callable[[str], bool]
    budgets: BudgetSource | None
    tracer: Tracer | None

    def build(self) -> Core:
        """The core."""
        store = self.resources.store
        meter = self._meter()
        fetcher = self._fetcher(meter)
        compactor = self._compactor(meter)
        runner = self._runner(fetcher, compactor, meter)
        scheduler = self._scheduler(runner)
        inbox = self._inbox(scheduler, fetcher)
        return Core(
            store=store,
            inbox=inbox,
            scheduler=scheduler,
            fetcher=fetcher,
            compactor=compactor,
            meter=meter,
            retention=self._retention(),
            runner=runner,
            deletions=DeletionKeeper(library=store.library(), clock=self.clock),
            reaper=self._reaper(scheduler, inbox),
        )

    def _runner(
        self, fetcher: AttachmentFetcher, compactor: Compactor, meter: BudgetMeter
    ) -> TurnRunner:
        resources, store = self.resources, self.resources.store
        wait_seconds = self.settings.attachment_wait_seconds
        return TurnRunner(
            store=store,
            surface=_surface_opener(self.adapters, self.is_down),
            models=resources.models,
            context=replace(resources.context, wait=compactor.wait),
            attachments=AttachmentPorts(store.attachments(), fetcher, wait_seconds),
            compactor=compactor,
            meter=meter,
            is_shared=resources.is_shared,
            observer=resources.observer,
        )

    def _fetcher(self, meter: BudgetMeter) -> AttachmentFetcher:
        return AttachmentFetcher(
            store=self.resources.store.attachments(),
            adapters=self.adapters,
            readers=self.resources.readers,
            clock=self.clock,
            max_bytes=self.settings.attachment_max_mb * 1_000_000,
            meter=meter,
            observer=self.resources.observer,
        )

    def _retention(self) -> RetentionKeeper:
        return RetentionKeeper(
            store=self.resources.store.privacy(),
            days=self.resources.policy.retention_days,
            clock=self.clock,
            zone=self.settings.zone,
            alone=partial(self.resources.cluster.exclusively, "retention"),
        )

    def _scheduler(self, runner: TurnRunner) -> Scheduler:
        resources, clock, tracer = self.resources, self.clock, self.tracer
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

    def _reaper(self, scheduler: Scheduler, inbox: DurableInbox) -> Reaper | None:
        """The reaper that takes over other processes' turns; None if no other process can exist."""
        resources, adapters, is_down = self.resources, self.adapters, self.is_down
        if resources.leases is None or not isinstance(scheduler, SharedScheduler):
            return None
        return Reaper(
            store=resources.leases,
            cluster=resources.cluster,
            scheduler=scheduler,
            platforms=lambda: [n for n in adapters if inbox.has_connected(n) and not is_down(n)],
        )

    def _meter(self) -> BudgetMeter:
        policy = self.resources.policy
        return BudgetMeter(
            store=self.resources.store.spending(),
            prices=ModelPrices(self.resources.models, now=self.clock.time),
            budgets=self.budgets or PolicyBudgets(policy, policy.is_one_of),
            clock=self.clock,
            zone=self.settings.zone,
            observer=self.resources.observer,
        )

    def _compactor(self, meter: BudgetMeter) -> Compactor:
        store, models = self.resources.store, self.resources.models
        return Compactor(
            store=store,
            contexts=store.contexts(),
            attachments=store.attachments(),
            summarizer=lambda conversation, assigned: models.summarizer(
                conversation.model, assigned
            ),
            budget=self.resources.context.budgets.get,
            meter=meter,
        )

    def _inbox(self, scheduler: Scheduler, fetcher: AttachmentFetcher) -> DurableInbox:
        settings, resources, adapters = self.settings, self.resources, self.adapters
        store, clock = resources.store, self.clock
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
            commands=self._commands(scheduler),
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
            intake=self._intake(fetcher),
            observer=resources.observer,
            tracer=self.tracer,
        )

    def _intake(self, fetcher: AttachmentFetcher) -> AttachmentIntake:
        settings = self.settings
        return AttachmentIntake(
            fetcher,
            self.adapters,
            max_files=settings.attachments_per_message if settings.attachment_max_mb else 0,
            max_links=settings.links_per_message,
        )

    def _commands(self, scheduler: Scheduler) -> Commands:
        resources = self.resources
        store, models, policy = resources.store, resources.models, resources.policy
        reports = build_usage_reports(self.settings, resources, self.clock, self.budgets)
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
