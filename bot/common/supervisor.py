"""Keeps the components of the process running, each independently of the others.

Invariant: a component that fails or returns is restarted after growing pauses, while the others
keep serving. /healthz says in plain words which one is down and why. The process only ends if a
refusal at the start leaves nothing to serve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from bot.common.retry import Backoff
from bot.domain import http_texts
from bot.domain.errors import CannotStart
from bot.domain.health import Health
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

FAILED = Backoff(first=1.0, longest=60.0)
"""Pauses after unexpected failures."""

REFUSED = Backoff(first=60.0, longest=900.0)
"""Pauses after refusals, such as an invalid token, which people have to fix first."""

STEADY_SECONDS = 60.0
"""After running for this long, the next failure starts with the first pause again."""


@dataclass(frozen=True, slots=True)
class Component:
    """Something that runs until cancelled. `run` may raise anything.

    `health` describes it while it runs; `has_served` tells whether it ever worked. If it is refused
    before that, the process ends if the component is `required`, or if every platform was refused.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    has_served: Callable[[], bool]
    health: Callable[[], Health] | None = None
    is_platform: bool = True
    required: bool = False


class Supervisor:
    """Runs components; call `add` before `run`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._components: dict[str, Component] = {}
        self._last_failure: dict[str, str] = {}  # in words, for /healthz
        self._down: set[str] = set()
        self._refusals: dict[str, CannotStart] = {}  # of components that never served

    def add(self, component: Component) -> None:
        """Add a component to those that `run` runs."""
        self._components[component.name] = component

    def is_down(self, name: str) -> bool:
        """Whether a component is waiting for its restart."""
        return name in self._down

    @property
    def starting(self) -> tuple[str, ...]:
        """The platforms that have neither served nor failed so far."""
        return tuple(
            name
            for name, each in self._components.items()
            if each.is_platform and not each.has_served() and name not in self._last_failure
        )

    def health(self) -> Mapping[str, Health]:
        """The health, by name, of each component that reports it or is down."""
        return {
            name: self._health(name, component.health)
            for name, component in self._components.items()
            if component.health is not None or name in self._down
        }

    def _health(self, name: str, health: Callable[[], Health] | None) -> Health:
        reason = self._last_failure.get(name, "")
        if health is None or name in self._down:
            return Health(ok=False, details={"down": reason})
        now = health()
        return now if now.ok or not reason else Health(False, {**now.details, "was_down": reason})

    async def run(self) -> None:
        """Run until cancelled. Raises CannotStart if a refusal leaves nothing to serve."""
        tasks = [
            asyncio.create_task(self._keep_running(component), name=component.name)
            for component in self._components.values()
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_running(self, component: Component) -> None:
        failures = 0
        while True:
            started = self._clock.monotonic()
            error = await self._run_once(component)
            steady = self._clock.monotonic() - started >= STEADY_SECONDS
            failures = 0 if steady else failures + 1
            await self._pause(component, error, failures)

    async def _run_once(self, component: Component) -> BaseException | None:
        """Run a component in a separate task, so that it cannot end the supervisor. Returns its
        error."""
        running = asyncio.create_task(component.run(), name=f"{component.name} runs")
        try:
            await asyncio.wait({running})
        finally:
            running.cancel()
            await asyncio.wait({running})
        if running.cancelled():
            return None
        return running.exception()

    async def _pause(
        self, component: Component, error: BaseException | None, failures: int
    ) -> None:
        name = component.name
        if isinstance(error, CannotStart):
            self._refuse(component, error)
            seconds = REFUSED.after(failures)
            reason = http_texts.part_refused(str(error), seconds)
            log.error("refused: retrying later", component=name, why=str(error), seconds=seconds)
        else:
            seconds = FAILED.after(failures)
            reason = http_texts.part_failed(
                type(error).__name__ if error is not None else "", seconds
            )
            log.error("failed: restarting", component=name, seconds=seconds, exc_info=error)
        self._last_failure[name] = reason
        self._down.add(name)
        await self._clock.sleep(seconds)
        self._down.discard(name)

    def _refuse(self, component: Component, error: CannotStart) -> None:
        """Raise the refusal if the process is useless without this component."""
        if component.has_served():
            return
        if component.required:
            raise error
        if not component.is_platform:
            return
        self._refusals[component.name] = error
        platforms = [name for name, each in self._components.items() if each.is_platform]
        if all(name in self._refusals for name in platforms):
            raise error
