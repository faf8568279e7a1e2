"""Metrics for Prometheus: counts the core's events, and reads everything else when it is scraped.

Only this module imports prometheus-client. The registry that the library creates at import stays
unused, because each bot has a separate one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from bot.domain.attachments import Omission
from bot.domain.failures import FailureReason
from bot.domain.model import Usage
from bot.domain.money import NANO
from bot.domain.operation import StoreCall, StoreLoad
from bot.domain.spending import Booking, Purpose
from bot.domain.turns import Outcome
from bot.operation import definitions as d
from bot.operation.activity import Activity
from bot.operation.gauges import read_samples
from bot.operation.labels import known_or_other, model_label
from bot.operation.readings import Readings
from bot.ports.clock import Clock
from bot.ports.metrics import NullObserver

READ = "read"
"""The result label of an attachment that was not left out."""


class PrometheusMetrics(NullObserver):
    """Implements `Observer`. `connect` it to its sources before the first scrape."""

    def __init__(self, clock: Clock) -> None:
        # Without the extra series with creation times, which no query needs.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._clock = clock
        self.registry = CollectorRegistry()
        self._counters = {
            each: Counter(each.name, each.help, each.labels, registry=self.registry)
            for each in _PUSHED
            if each.kind is d.Kind.COUNTER
        }
        self._histograms = {
            each: Histogram(
                each.name, each.help, each.labels, buckets=each.buckets, registry=self.registry
            )
            for each in _PUSHED
            if each.kind is d.Kind.HISTOGRAM
        }
        self._store = {
            call: self._histograms[d.STORE_SECONDS_SPENT].labels(call) for call in StoreCall
        }
        self._lag = self._histograms[d.LOOP_LAG]
        self._platforms: Collection[str] = ()
        self._models: Collection[str] = ()
        self._readings: Readings | None = None
        self._reader: _Reader | None = None
        GCCollector(self.registry)
        BootTimeProcessCollector(registry=self.registry)

    def connect(self, readings: Readings, activity: Activity) -> None:
        """Read from `readings` at each scrape. The platforms' counters begin at 0, so that the
        first failure shows as an increase."""
        self._readings, self._platforms = readings, readings.platforms
        self._reader = _Reader(readings, activity)
        self.registry.register(self._reader)
        for call in StoreCall:
            self._counters[d.STORE_FAILURES].labels(call)
        for platform in self._platforms:
            self._counters[d.EVENTS].labels(platform)
            self._histograms[d.FIRST_TEXT].labels(platform)
            for outcome in Outcome:
                self._counters[d.TURNS_ENDED].labels(platform, outcome.value)
            for reason in FailureReason:
                self._counters[d.FAILURES].labels(platform, reason.name.lower())

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The current metrics and their content type, in a format that `accept` allows."""
        if self._reader is not None:
            await self._reader.refresh()
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    # ── what the core tells ───────────────────────────────────────────────────────────────────
    def event_received(self, platform: str) -> None:
        """See `Observer`."""
        self._counters[d.EVENTS].labels(self._platform(platform)).inc()

    def turn_ended(self, platform: str, outcome: Outcome, failure: FailureReason | None) -> None:
        """See `Observer`."""
        platform = self._platform(platform)
        self._counters[d.TURNS_ENDED].labels(platform, outcome.value).inc()
        if failure is not None:
            self._counters[d.FAILURES].labels(platform, failure.name.lower()).inc()

    def first_text_shown(self, platform: str, seconds: float) -> None:
        """See `Observer`."""
        self._histograms[d.FIRST_TEXT].labels(self._platform(platform)).observe(seconds)

    def model_used(self, purpose: Purpose, booking: Booking) -> None:
        """See `Observer`."""
        configured = self._readings.sources.models() if self._readings is not None else ()
        model, usage = model_label(booking.model, configured), booking.usage
        self._counters[d.MODEL_REQUESTS].labels(model, purpose.value).inc()
        for kind, tokens in _kinds(usage):
            self._counters[d.MODEL_TOKENS].labels(model, kind).inc(tokens)
        if booking.cost is not None:
            self._counters[d.MODEL_COST].labels(model).inc(booking.cost / NANO)
        if usage.reports_cache:
            result = "hit" if usage.cached_tokens else "miss"
            self._counters[d.PROMPT_CACHE].labels(model, result).inc()

    def store_called(self, call: StoreCall, seconds: float, *, failed: bool) -> None:
        """See `Observer`."""
        self._store[call].observe(seconds)
        if failed:
            self._counters[d.STORE_FAILURES].labels(call).inc()

    def attachment_settled(self, omission: Omission | None) -> None:
        """See `Observer`."""
        self._counters[d.ATTACHMENTS].labels(omission.value if omission else READ).inc()

    def loop_lagged(self, seconds: float) -> None:
        """Record how late a timer was."""
        self._lag.observe(seconds)

    def _platform(self, name: str) -> str:
        return known_or_other(name, self._platforms)


_PUSHED = (
    d.EVENTS,
    d.TURNS_ENDED,
    d.FAILURES,
    d.FIRST_TEXT,
    d.ATTACHMENTS,
    d.MODEL_REQUESTS,
    d.MODEL_TOKENS,
    d.MODEL_COST,
    d.PROMPT_CACHE,
    d.STORE_SECONDS_SPENT,
    d.STORE_FAILURES,
    d.LOOP_LAG,
)
"""The metrics that the core reports; all others are read at each scrape."""


class _Reader(Collector):
    """Collects the metrics that are read at each scrape."""

    def __init__(self, readings: Readings, activity: Activity) -> None:
        self._readings, self._activity = readings, activity
        self._load: StoreLoad | None = None

    async def refresh(self) -> None:
        """Query the database, which the synchronous `collect` cannot do."""
        self._load = await self._readings.load()

    def describe(self) -> list[Metric]:
        """Describe nothing: otherwise registering would collect metrics before the parts run."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once, with its samples."""
        families: dict[d.Definition, CounterMetricFamily | GaugeMetricFamily] = {}
        for definition, labels, value in read_samples(self._readings, self._activity, self._load):
            if definition not in families:
                families[definition] = _family(definition)
            families[definition].add_metric(labels, float(value))
        yield from families.values()


def _family(definition: d.Definition) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if definition.kind is d.Kind.COUNTER else GaugeMetricFamily
    return kind(definition.name, definition.help, labels=definition.labels)


class BootTimeProcessCollector(ProcessCollector):
    """Works where /proc/stat is hidden, for example by systemd's ProcSubset=pid.

    The library would report nothing there. This class overrides the private `_boot_time`; a test
    checks that the method exists.
    """

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _kinds(usage: Usage) -> tuple[tuple[str, int], ...]:
    return (
        ("input", usage.input_tokens),
        ("cached", usage.cached_tokens),
        ("output", usage.output_tokens),
        ("reasoning", usage.reasoning_tokens),
    )
