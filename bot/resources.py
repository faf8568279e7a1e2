"""The open database, the models, and the values built from these alone.

Nothing here knows an adapter: adapters read from the resources, and `bot.core` wires both.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from bot.common.clock import SystemClock
from bot.common.local_cluster import LocalCluster
from bot.common.retry import retry_while_unavailable
from bot.config.fields import split
from bot.config.model_names import is_pattern
from bot.config.models import resolve
from bot.config.policy_rules import resolve_policy
from bot.config.providers import ModelsConfig
from bot.config.settings import Settings
from bot.content.extraction import SandboxExtractor
from bot.content.fetcher import DeferredLinkReader, Readers
from bot.context.budgets import ContextBudgets
from bot.context.context_ports import ContextPorts, TurnOptions
from bot.context.estimates import TokenEstimates
from bot.context.report import WindowReporter
from bot.domain.cluster import Signal, SignalKind
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import CountedQuestion
from bot.domain.policy import Override
from bot.domain.turns import Suspect
from bot.llm.model_server import ModelOptions
from bot.llm.prices import ModelPrices
from bot.llm.registry import ModelRegistry
from bot.llm.transcribers import build_transcriber
from bot.policy.budgets import PolicyBudgets
from bot.policy.rates import MINUTE, QuestionRates
from bot.policy.rules import PolicyRules
from bot.policy.usage import UsageReports
from bot.ports.attachments import LinkReader
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster, LeaseStore
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.ports.policy import Policy
from bot.ports.spending import BudgetSource
from bot.privacy.exporting import Exporter
from bot.privacy.forgetting import Forgetter
from bot.privacy.personal_exports import PersonalExports
from bot.store.open_store import open_store
from bot.store.store import SqlStore

log = structlog.stdlib.get_logger(__name__)

CALM_PLATFORMS = frozenset({"discord"})
"""On Discord each button takes a full-size row below the reply; Slack's feedback element and the
page's buttons are small."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The open database and the models.

    `suspects`: see `bot.turns.quarantine`. `is_shared`: the bot serves several workspaces.
    `observer` receives events for metrics. `leases` is None where no other process shares the
    database.
    """

    store: SqlStore
    models: ModelRegistry
    readers: Readers
    context: ContextPorts
    policy: PolicyRules
    rates: QuestionRates
    forgetter: Forgetter
    exports: PersonalExports
    is_shared: bool = False
    suspects: Sequence[Suspect] = ()
    observer: Observer = NO_OBSERVER
    cluster: Cluster = field(default_factory=LocalCluster)
    leases: LeaseStore | None = None


@contextlib.asynccontextmanager
async def open_resources(
    settings: Settings, clock: Clock, observer: Observer = NO_OBSERVER
) -> AsyncIterator[Resources]:
    """Open the database, then the models; both are closed in reverse order."""
    async with (
        contextlib.aclosing(_prepare_models(settings, clock)) as models,
        contextlib.aclosing(build_readers(settings, clock)) as readers,
        open_store(settings, clock, observer=observer) as (store, cluster, leases),
    ):
        policy = await _open_policy(settings, store, cluster, clock)
        context = build_context(settings, store, clock, policy)
        suspects = await _read_suspects(store)
        rates, is_shared = await _open_rates(policy, store, clock, is_alone=leases is None)
        yield Resources(
            store=store,
            models=models,
            readers=readers,
            context=context,
            policy=policy,
            rates=rates,
            is_shared=is_shared,
            forgetter=Forgetter(
                store=store.privacy(), audit=store.audit(), forget_rules=policy.forget_person
            ),
            exports=PersonalExports(
                exporter=Exporter(store=store.privacy(), audit=store.audit()), clock=clock
            ),
            suspects=suspects,
            cluster=cluster,
            leases=leases,
            observer=observer,
        )


async def _open_policy(
    settings: Settings, store: SqlStore, cluster: Cluster, clock: Clock
) -> PolicyRules:
    """The rules with the overrides in the database, including changes by other processes."""
    policy = PolicyRules(
        resolve_policy(settings),
        calm=CALM_PLATFORMS,
        changed=lambda: cluster.send(Signal(SignalKind.POLICY)),
    )

    async def read_overrides(_: Signal) -> None:
        policy.set_overrides(await _read_overrides(store, clock))

    cluster.listen(SignalKind.POLICY, read_overrides)
    policy.set_overrides(await _read_overrides(store, clock))
    return policy


async def _open_rates(
    policy: PolicyRules, store: SqlStore, clock: Clock, *, is_alone: bool
) -> tuple[QuestionRates, bool]:
    """The rates with the questions of the last minute, and whether the bot is shared.

    `is_alone`: no other process accepts questions.
    """

    async def read_recent() -> Sequence[CountedQuestion]:
        return await store.recent_questions(clock.time() - MINUTE)

    rates = QuestionRates(policy, clock, None if is_alone else read_recent)
    with contextlib.suppress(StoreUnavailable):  # fairness is no reason to refuse to start
        rates.restore(await read_recent())
        return rates, await store.has_several_workspaces()
    return rates, False


def build_models(settings: Settings, config: ModelsConfig, clock: Clock) -> ModelRegistry:
    """Build the registry of the configured models, which the caller must `prepare`."""
    options = ModelOptions(clock, settings.first_token_seconds, settings.between_tokens_seconds)
    return ModelRegistry(config, options)


async def find_unpriced(settings: Settings) -> Sequence[str]:
    """The configured models without a known price, except the models of whole servers."""
    config, clock = resolve(settings), SystemClock()
    names = dict.fromkeys((*config.chain, *config.choices, *config.assigned))
    async with contextlib.aclosing(build_models(settings, config, clock)) as models:
        prices = ModelPrices(models, now=clock.time)
        return await prices.find_unpriced([name for name in names if not is_pattern(name)])


def _prepare_models(settings: Settings, clock: Clock) -> ModelRegistry:
    models = build_models(settings, resolve(settings), clock)
    models.prepare()
    return models


async def _read_overrides(store: SqlStore, clock: Clock) -> Sequence[Override]:
    """Load what administrators set by command, retrying while the database fails. Without the
    overrides, a channel could be answered by a model other than the one it was given."""
    return await retry_while_unavailable(store.policies().list_overrides, clock.sleep)


def build_context(
    settings: Settings, store: SqlStore, clock: Clock, policy: Policy | None = None
) -> ContextPorts:
    """Build the ports that turns need to assemble requests to models."""
    return ContextPorts(
        store=store,
        contexts=store.contexts(),
        budgets=ContextBudgets(
            context_tokens=settings.context_tokens, max_output_tokens=settings.max_output_tokens
        ),
        estimates=TokenEstimates(store.contexts()),
        clock=clock,
        options=_turn_options(settings),
        policy=policy,
    )


def build_reporter(resources: Resources) -> WindowReporter:
    """Build the reporter that describes contexts for commands and the page."""
    return WindowReporter(
        ports=resources.context,
        models=resources.models,
        attachments=resources.store.attachments(),
    )


def build_usage_reports(
    settings: Settings, resources: Resources, clock: Clock, budgets: BudgetSource | None = None
) -> UsageReports:
    """Build the reports of usage and remaining `budgets`; None means the rules' budgets."""
    policy = resources.policy
    return UsageReports(
        store=resources.store.spending(),
        budgets=budgets or PolicyBudgets(policy, policy.is_one_of),
        clock=clock,
        zone=settings.zone,
        currency=lambda: policy.config.currency,
    )


async def _read_suspects(store: SqlStore) -> Sequence[Suspect]:
    suspects: Sequence[Suspect] = ()
    with contextlib.suppress(
        StoreUnavailable
    ):  # claims count deaths, too, so suspects are still recognized
        suspects = await store.suspects()
    if store.death is not None:
        log.error("the previous process died", turns=store.death.running, suspects=len(suspects))
    return suspects


def build_readers(settings: Settings, clock: Clock) -> Readers:
    """Build the readers of files, links and speech. Raises SettingsError."""
    return Readers(
        links=DeferredLinkReader(partial(_make_link_reader, settings, clock)),
        extractor=SandboxExtractor(pages=settings.attachment_pages),
        transcriber=build_transcriber(settings.transcription_model, resolve(settings).providers),
    )


def _make_link_reader(settings: Settings, clock: Clock) -> LinkReader:
    from bot.content.link_reader import PublicLinkReader

    return PublicLinkReader(
        clock=clock,
        allowed_hosts=split(settings.link_allowed_hosts),
        denied_hosts=split(settings.link_denied_hosts),
        private_hosts=split(settings.link_private_hosts),
    )


def _turn_options(settings: Settings) -> TurnOptions:
    return TurnOptions(
        system_prompt=settings.prompt,
        zone=settings.zone,
        context_tokens=settings.context_tokens,
        max_output_tokens=settings.max_output_tokens,
        temperature=settings.temperature,
        max_concurrent=settings.max_concurrent_turns,
        max_queued=settings.max_queued_turns,
        reasoning=settings.reasoning,
    )
