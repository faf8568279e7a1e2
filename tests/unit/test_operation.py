"""Monitoring without a bot: labels, readings, readiness, samples."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bot.common.fair_slots import FairSlots, SlotOwner
from bot.common.supervisor import Component, Supervisor
from bot.domain.errors import CannotStart, StoreUnavailable
from bot.domain.health import Health
from bot.domain.model import Usage
from bot.domain.money import NANO
from bot.domain.operation import (
    BreakerState,
    ClusterLoad,
    LeftoverCount,
    PlatformTurns,
    RateReport,
    ScopeBudget,
    StoreCall,
    StoreLoad,
    scope_class,
)
from bot.domain.spending import Booking, Purpose
from bot.domain.turns import Outcome
from bot.operation import loop_lag
from bot.operation.activity import Activity
from bot.operation.gauges import read_samples
from bot.operation.labels import model_label
from bot.operation.prometheus import BootTimeProcessCollector, PrometheusMetrics
from bot.operation.readiness import Readiness
from bot.operation.readings import FRESH_SECONDS, LOAD_SECONDS, Readings, Sources
from bot.ports.metrics import NO_OBSERVER
from tests.support.clock import ManualClock, settle


@dataclass
class FakeAdapter:
    """The part of an adapter that the readings see."""

    reports: list[RateReport] = field(default_factory=list)

    def rate_reports(self) -> list[RateReport]:
        return self.reports


class Bot:
    """The state that the readings report, for a test to change."""

    def __init__(self, *platforms: str) -> None:
        self.clock = ManualClock()
        self.health = {name: Health(ok=True) for name in (*platforms, "database")}
        self.adapters = {name: FakeAdapter() for name in platforms}
        self.starting: list[str] = []
        self.turns: tuple[PlatformTurns, ...] = ()
        self.leftovers: tuple[LeftoverCount, ...] = ()
        self.loads = 0
        self.failure: Exception | None = None
        self.hangs = False
        self.breakers: list[tuple[str, BreakerState]] = []
        self.cluster = ClusterLoad()
        sources: Any = Sources(
            adapters=self.adapters,  # type: ignore[arg-type]
            health=lambda: self.health,
            starting=lambda: self.starting,
            load=self._load,
            slots=FairSlots(running=2, queued=2),
            models=lambda: {"openai/gpt-5", "ollama/llama"},
            breakers=lambda: self.breakers,
            cluster=lambda: self.cluster,
        )
        self.readings = Readings(sources, self.clock)
        self.activity = Activity(NO_OBSERVER, self.clock)
        self.readiness = Readiness(self.readings, self.activity)

    async def _load(self) -> StoreLoad:
        self.loads += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        return StoreLoad(self.turns, 4_096, self.leftovers)

    async def not_ready(self) -> tuple[str, ...]:
        self.clock.jump(FRESH_SECONDS)
        return (await self.readiness.report()).not_ready

    async def samples(self) -> dict[tuple[str, ...], float]:
        """The samples by the metric's name without `threadline_`, then by labels."""
        load = await self.readings.load()
        return {
            (each.name.removeprefix("threadline_"), *labels): value
            for each, labels, value in read_samples(self.readings, self.activity, load)
        }


# ── labels ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("openai/gpt-5", "openai/gpt-5"),
        ("openai/gpt-6-invented-by-a-server", "openai/other"),
        ("ollama/alice-private-tune", "ollama/other"),
        ("elsewhere/model", "other"),
        ("model", "other"),
        ("", "other"),
    ],
)
def test_models_that_the_settings_do_not_name_share_a_label(model: str, label: str) -> None:
    assert model_label(model, {"openai/gpt-5", "ollama/llama"}) == label


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        ("channel:1234567890", "channel"),
        ("global", "global"),
        ("chat.postMessage:C0123ABCD", "chat.postMessage"),
        ("open-dm", "open-dm"),
        ("C0123ABCD", "other"),
        ("1234567890:channel", "other"),
        ("GET /users/{user_id}:7", "other"),
        ("t0123", "other"),
        ("", "other"),
    ],
)
def test_scopes_lose_their_ids(scope: str, name: str) -> None:
    assert scope_class(scope) == name


# ── readings ──────────────────────────────────────────────────────────────────────────────────
async def test_readings_within_a_second_share_one_look_at_the_database() -> None:
    bot = Bot("slack")
    await asyncio.gather(bot.readings.load(), bot.readings.load())
    await bot.readings.load()
    assert bot.loads == 1
    bot.clock.jump(FRESH_SECONDS)
    await bot.readings.load()
    assert bot.loads == 2


async def test_a_database_that_fails_answers_and_one_that_hangs_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bot = Bot("slack")
    bot.failure = StoreUnavailable("the disk is full")
    assert await bot.readings.load() is None
    assert await bot.readings.is_alive()
    monkeypatch.setattr("bot.operation.readings.LOAD_SECONDS", 0.0)
    assert LOAD_SECONDS == 2.0
    bot.hangs = True
    bot.clock.jump(FRESH_SECONDS)
    assert not await bot.readings.is_alive()


async def test_a_database_server_that_is_silent_ends_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would still be silent after a restart, which would cost all running replies."""
    bot = Bot("slack")
    bot.readings.sources = replace(bot.readings.sources, has_remote_database=True)
    monkeypatch.setattr("bot.operation.readings.LOAD_SECONDS", 0.0)
    bot.hangs = True
    assert await bot.readings.load() is None
    assert await bot.readings.is_alive()


async def test_samples_tell_ages_states_and_budgets_by_class() -> None:
    bot = Bot("slack", "discord")
    now = bot.clock.time()
    bot.turns = (
        PlatformTurns("slack", {"waiting": 2, "running": 1}, now - 90),
        PlatformTurns("removed", {"waiting": 9}, now - 9_000),  # its token is no longer set
    )
    bot.leftovers = (
        LeftoverCount("slack", "status", 2, now - 70),
        LeftoverCount("removed", "file", 1, now - 9_000),
    )
    bot.breakers = [("openai", BreakerState.OPEN), ("openai", BreakerState.CLOSED)]
    bot.adapters["slack"].reports = [
        RateReport(3, {"chat.update": 2}, {"chat.update": ScopeBudget(40, 50)}),
        RateReport(1, {"chat.update": 1}, {"chat.update": ScopeBudget(7, 50)}),
    ]
    bot.cluster = ClusterLoad(2, {"discord-shards": 4, "C012345": 1}, 5)
    bot.health["discord"] = Health(ok=False)
    bot.activity.event_received("slack")
    found = await bot.samples()
    assert found["oldest_waiting_question_seconds", "slack"] == 90
    assert found["oldest_waiting_question_seconds", "discord"] == 0
    assert found["turns", "slack", "waiting"] == 2
    assert found["turns", "discord", "concluded"] == 0
    assert found["leftovers", "slack", "status"] == 2
    assert found["oldest_leftover_seconds", "slack", "status"] == 70
    assert found["oldest_leftover_seconds", "discord", "thread"] == 0
    assert not [key for key in found if "removed" in key]
    assert found["circuit_breakers", "openai", "open"] == 1
    assert found["circuit_breakers", "openai", "half_open"] == 0
    assert found["platform_requests_waiting", "slack"] == 4
    assert found["rate_limited_total", "slack", "chat.update"] == 3
    assert found["rate_limit_remaining", "slack", "chat.update"] == 7
    assert found["rate_limit_requests", "slack", "chat.update"] == 50
    assert found["cluster_members",] == 2 and found["lease_losses_total",] == 5
    assert found["leases_held", "discord-shards"] == 4 and found["leases_held", "other"] == 1
    assert (found["part_up", "slack"], found["part_up", "discord"]) == (1, 0)
    assert found["last_event_timestamp_seconds", "slack"] == now
    assert found["database_bytes",] == 4_096


async def test_refusals_never_become_fewer() -> None:
    """A workspace whose session ended takes its limiter's count along. Prometheus takes a counter
    that falls for one that restarted, and would count the rest as new."""
    bot = Bot("slack")

    async def count() -> float:
        return (await bot.samples())["rate_limited_total", "slack", "chat.update"]

    large, small = RateReport(0, {"chat.update": 900}), RateReport(0, {"chat.update": 5})
    bot.adapters["slack"].reports = [large, small]
    assert await count() == 905
    bot.adapters["slack"].reports = [large]
    assert await count() == 905
    bot.adapters["slack"].reports = []
    assert await count() == 905
    bot.adapters["slack"].reports = [RateReport(0, {"chat.update": 2})]
    assert await count() == 907


async def test_without_the_database_the_other_samples_remain() -> None:
    bot = Bot("slack")
    bot.failure = StoreUnavailable("the disk is full")
    found = await bot.samples()
    assert ("database_bytes",) not in found and ("turns", "slack", "waiting") not in found
    assert found["part_up", "slack"] == 1 and found["draining",] == 0


async def test_unseen_text_has_the_age_of_the_oldest_reply() -> None:
    @dataclass(eq=False)
    class Reply:
        unseen_since: float | None

    bot = Bot("slack")
    now = bot.clock.monotonic()
    replies = [Reply(now - 3), Reply(now - 40), Reply(None)]
    with (
        bot.activity.watch_reply("slack", replies[0]),
        bot.activity.watch_reply("slack", replies[1]),
        bot.activity.watch_reply("slack", replies[2]),
    ):
        assert (await bot.samples())["unseen_text_seconds", "slack"] == 40
        replies[1].unseen_since = None
        assert (await bot.samples())["unseen_text_seconds", "slack"] == 3
    assert (await bot.samples())["unseen_text_seconds", "slack"] == 0


async def test_slots_tell_how_many_are_used_and_wanted() -> None:
    bot = Bot("slack")
    slots, owner = bot.readings.sources.slots, SlotOwner("w", "ann")
    async with slots.take(owner), slots.take(SlotOwner("w", "ben")):
        waiting = asyncio.create_task(_take(slots, SlotOwner("w", "cy")))
        await settle()
        found = await bot.samples()
        assert (found["answers_running",], found["answers_queued",]) == (2, 1)
    await waiting
    found = await bot.samples()
    assert (found["answers_running",], found["answers_queued",]) == (0, 0)


async def _take(slots: FairSlots, owner: SlotOwner) -> None:
    async with slots.take(owner):
        pass


# ── readiness ─────────────────────────────────────────────────────────────────────────────────
async def test_a_process_is_ready_while_one_platform_delivers() -> None:
    bot = Bot("slack", "discord", "web")
    assert await bot.not_ready() == ()
    bot.health["discord"] = Health(ok=False, details={"gateway": "not connected"})
    assert await bot.not_ready() == ()
    bot.health["slack"] = Health(ok=False)
    reasons = await bot.not_ready()  # the page being available helps no one on Slack
    assert reasons == (
        "slack is not connected; see /healthz.",
        "discord is not connected; see /healthz.",
    )


async def test_a_process_is_not_ready_before_all_platforms_have_connected() -> None:
    bot = Bot("slack", "discord")
    bot.starting = ["discord"]
    bot.health["discord"] = Health(ok=False)
    assert await bot.not_ready() == ("discord has not connected yet.",)


async def test_the_page_alone_is_ready_and_the_database_must_work() -> None:
    bot = Bot("web")
    assert await bot.not_ready() == ()
    bot.health["database"] = Health(ok=False, details={"trouble": "full"})
    assert await bot.not_ready() == ("The database does not answer; see the log.",)
    bot.health["database"] = Health(ok=True)
    bot.failure = StoreUnavailable("gone")
    report = await bot.readiness.report()  # the reading is at most a second old
    assert report.details["oldest_waiting_question_seconds"] == 0
    assert await bot.not_ready() == ("The database does not answer; see the log.",)


async def test_a_platform_has_started_once_it_served_or_was_refused() -> None:
    clock, served = ManualClock(), asyncio.Event()

    async def refuse() -> None:
        raise CannotStart("DISCORD_TOKEN is refused")

    supervisor = Supervisor(clock)
    supervisor.add(Component("slack", asyncio.Event().wait, served.is_set))  # type: ignore[arg-type]
    supervisor.add(Component("discord", refuse, lambda: False))
    supervisor.add(Component("http", asyncio.Event().wait, lambda: False, is_platform=False))  # type: ignore[arg-type]
    assert supervisor.starting == ("slack", "discord")
    running = asyncio.create_task(supervisor.run())
    await settle()
    assert supervisor.starting == ("slack",)
    served.set()
    assert supervisor.starting == ()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_step_that_holds_the_event_loop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "EVERY_SECONDS", 0.01)
    lags: list[float] = []
    measuring = asyncio.create_task(loop_lag.measure_lag(lags.append))
    while not lags:
        await asyncio.sleep(0)
    time.sleep(0.05)  # noqa: ASYNC251 - the step that holds it
    seen = len(lags)
    while len(lags) == seen:
        await asyncio.sleep(0)
    measuring.cancel()
    assert lags[-1] >= 0.03 and min(lags) >= 0


# ── counting ──────────────────────────────────────────────────────────────────────────────────
def sample(metrics: PrometheusMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"threadline_{name}", labels)


async def test_money_tokens_and_the_cache_are_counted_by_model() -> None:
    bot = Bot("slack")
    metrics = PrometheusMetrics(bot.clock)
    metrics.connect(bot.readings, bot.activity)
    usage = Usage(100, 20, cached_tokens=60, reasoning_tokens=5, reports_cache=True)
    metrics.model_used(Purpose.ANSWER, Booking("openai/gpt-5", usage, NANO // 4))
    metrics.model_used(Purpose.SUMMARY, Booking("openai/secret", Usage(10, 2), None))
    used = {
        kind: sample(metrics, "model_tokens_total", model="openai/gpt-5", kind=kind)
        for kind in ("input", "cached", "output", "reasoning")
    }
    assert used == {"input": 100, "cached": 60, "output": 20, "reasoning": 5}
    assert sample(metrics, "model_cost_dollars_total", model="openai/gpt-5") == 0.25
    assert sample(metrics, "model_cost_dollars_total", model="openai/other") is None
    hits = {"model": "openai/gpt-5", "result": "hit"}
    assert sample(metrics, "prompt_cache_requests_total", **hits) == 1
    other = {"model": "openai/other", "purpose": "summary"}
    assert sample(metrics, "model_requests_total", **other) == 1


async def test_counters_of_known_platforms_begin_at_zero_and_unknown_ones_are_other() -> None:
    bot = Bot("slack")
    metrics = PrometheusMetrics(bot.clock)
    metrics.connect(bot.readings, bot.activity)
    assert sample(metrics, "turns_total", platform="slack", outcome="gone") == 0
    assert sample(metrics, "turn_failures_total", platform="slack", reason="timed_out") == 0
    assert sample(metrics, "store_failures_total", call="read") == 0
    metrics.turn_ended("alice", Outcome.ANSWERED, None)
    assert sample(metrics, "turns_total", platform="other", outcome="answered") == 1
    metrics.store_called(StoreCall.WRITE, 0.003, failed=True)
    assert sample(metrics, "store_failures_total", call="write") == 1
    assert sample(metrics, "store_seconds_bucket", call="write", le="0.005") == 1
    assert sample(metrics, "store_seconds_bucket", call="write", le="0.0025") == 0


def test_two_bots_in_one_process_share_no_metric() -> None:
    one, other = PrometheusMetrics(ManualClock()), PrometheusMetrics(ManualClock())
    one.event_received("slack")
    assert sample(one, "events_total", platform="other") == 1
    assert sample(other, "events_total", platform="other") is None


def test_the_process_is_measured_where_proc_stat_is_hidden(tmp_path: Any) -> None:
    """The hardened systemd unit hides it (ProcSubset=pid). Uses a private name of
    prometheus-client."""
    (tmp_path / "self").symlink_to("/proc/self")
    collector = BootTimeProcessCollector(proc=str(tmp_path), registry=None)
    names = {family.name for family in collector.collect()}
    assert {"process_cpu_seconds", "process_start_time_seconds", "process_open_fds"} <= names
