"""Assembles everything that observes the running bot: metrics, readiness, status and the watchdog.

It exists before the database is open, so that it observes every call, and is connected to the
running parts once they exist.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from bot.common.recent_problems import RecentProblems
from bot.common.supervisor import Component, Supervisor
from bot.config.settings import Settings
from bot.core import Core
from bot.domain.health import Health
from bot.domain.operation import ClusterLoad
from bot.operation.activity import Activity
from bot.operation.control_socket import ControlSocket
from bot.operation.loop_lag import measure_lag
from bot.operation.readiness import Readiness
from bot.operation.readings import Readings, Sources
from bot.operation.service_manager import ServiceManager
from bot.operation.status import StatusReporter
from bot.ports.clock import Clock
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.ports.platform import Adapter
from bot.resources import Resources

if TYPE_CHECKING:
    from bot.operation.prometheus import PrometheusMetrics


class Monitoring:
    """Observes one bot. `manager` is the service manager that waits for notifications, if any."""

    def __init__(
        self, settings: Settings, clock: Clock, manager: ServiceManager | None = None
    ) -> None:
        self._clock, self._manager = clock, manager
        self.metrics = _build_metrics(clock) if settings.serves_metrics else None
        self._activity = Activity(self.metrics or NO_OBSERVER, clock)
        self._settings, self.problems = settings, RecentProblems()

    @property
    def observer(self) -> Observer:
        """The observer to which the core reports events."""
        return self._activity

    def connect(
        self,
        core: Core,
        resources: Resources,
        adapters: Mapping[str, Adapter],
        supervisor: Supervisor,
        cluster: Callable[[], ClusterLoad] = ClusterLoad,
    ) -> None:
        """Read from these parts from now on. `cluster` describes the bot's other processes."""
        self._readings = Readings(
            Sources(
                adapters=adapters,
                health=lambda: {**core.health(), **supervisor.health()},
                starting=lambda: supervisor.starting,
                load=resources.store.load,
                slots=core.runner.ports.slots,
                models=lambda: resources.models.configured,
                breakers=lambda: resources.models.breakers,
                cluster=cluster,
                has_remote_database=self._settings.uses_postgres,
            ),
            self._clock,
        )
        self.readiness = Readiness(self._readings, self._activity)
        self._status = StatusReporter(
            readings=self._readings,
            activity=self._activity,
            breakers=lambda: resources.models.breakers_by_model,
            policy=lambda: resources.policy.config,
            problems=self.problems,
            store=resources.store,
            slots=self._settings.max_concurrent_turns,
            zone=self._settings.zone,
        )
        if self.metrics is not None:
            self.metrics.connect(self._readings, self._activity)

    def health(self) -> Mapping[str, Health]:
        """Each part's health, for /healthz."""
        return self._readings.sources.health()

    async def is_alive(self) -> bool:
        """Whether the process can continue without a restart, for /livez."""
        return await self._readings.is_alive()

    def components(self) -> Iterator[Component]:
        """Everything that measures and reports while the bot runs, as supervised components."""
        socket = ControlSocket(self._settings.socket_path, {"status": self._status.report})
        yield _background("control socket", socket.run)
        if self.metrics is not None:
            yield _background("event loop lag", partial(measure_lag, self.metrics.loop_lagged))
        if self._manager is not None:
            run = partial(
                self._manager.run,
                self._clock,
                is_starting=lambda: bool(self._readings.sources.starting()),
                is_alive=self._readings.is_alive,
                status=self._readings.summary,
            )
            yield _background("service manager", run)

    def begin_draining(self) -> None:
        """Make /readyz report that the process is not ready, and notify the service manager."""
        self._readings.draining = True
        if self._manager is not None:
            self._manager.stopping()


def _build_metrics(clock: Clock) -> PrometheusMetrics:
    from bot.operation.prometheus import PrometheusMetrics

    return PrometheusMetrics(clock)


def _background(name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> Component:
    return Component(name, run=run, has_served=lambda: True, is_platform=False)
