"""Keeps the parts of the process running, each apart from the others.

Invariant: a part that fails, or ends, is started again with growing pauses while the others serve;
/healthz says in plain words which is down and why. Only what is wrong at the start, and leaves
nothing to serve, ends the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from bot.domain import texts
from bot.domain.errors import CannotStart
from bot.domain.health import Health
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
"""Seconds between an unforeseen failure and the next start, doubled with each."""

FIRST_REFUSED, LAST_REFUSED = 60.0, 900.0
"""Seconds after a refusal, such as that of a token: people have to do something about it first."""

STEADY_SECONDS = 60.0
"""A part that ran for so long begins again with the first pause."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs until it is cancelled. `run` may raise anything.

    `health` says how it is while it runs; `reached` whether it has ever served. A refusal before
    that ends the process where the part is `needed`, or where no other platform is left.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    reached: Callable[[], bool]
    health: Callable[[], Health] | None = None
    platform: bool = True
    needed: bool = False


class Supervisor:
    """Runs parts; `add` them before `run`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: dict[str, Part] = {}
        self._why: dict[str, str] = {}  # why a part failed last, in words for /healthz
        self._down: set[str] = set()
        self._refused: dict[str, CannotStart] = {}  # those that were refused and never served

    def add(self, part: Part) -> None:
        """Have it run."""
        self._parts[part.name] = part

    def is_down(self, name: str) -> bool:
        """Whether a part waits for its next start."""
        return name in self._down

    def health(self) -> Mapping[str, Health]:
        """How each part is, by its name."""
        return {
            name: self._health(part, part.health)
            for name, part in self._parts.items()
            if part.health is not None
        }

    def _health(self, part: Part, health: Callable[[], Health]) -> Health:
        why = self._why.get(part.name, "")
        if part.name in self._down:
            return Health(ok=False, details={"down": why})
        now = health()
        return now if now.ok or not why else Health(False, {**now.details, "was_down": why})

    async def run(self) -> None:
        """Until cancelled. Raises CannotStart where a start is refused and nothing could serve."""
        keeping = [
            asyncio.create_task(self._keep(part), name=part.name) for part in self._parts.values()
        ]
        try:
            done, _ = await asyncio.wait(keeping, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)

    async def _keep(self, part: Part) -> None:
        failures = 0
        while True:
            began = self._clock.monotonic()
            error = await self._once(part)
            steady = self._clock.monotonic() - began >= STEADY_SECONDS
            failures = 0 if steady else min(failures + 1, 16)
            await self._rest(part, error, max(0, failures - 1))

    async def _once(self, part: Part) -> BaseException | None:
        """Run it in a task of its own, so that whatever it does ends only that; how it ended."""
        running = asyncio.create_task(part.run(), name=f"{part.name} runs")
        try:
            await asyncio.wait({running})
        finally:
            running.cancel()
            await asyncio.wait({running})
        if running.cancelled():
            return None
        return running.exception()

    async def _rest(self, part: Part, error: BaseException | None, doublings: int) -> None:
        if isinstance(error, CannotStart):
            self._refuse(part, error)
            pause = min(FIRST_REFUSED * 2**doublings, LAST_REFUSED)
            why = texts.part_refused(str(error), pause)
            log.error("refused: trying again later", part=part.name, why=str(error), seconds=pause)
        else:
            pause = min(FIRST_PAUSE * 2**doublings, LAST_PAUSE)
            why = texts.part_failed(type(error).__name__ if error is not None else "", pause)
            log.error("failed: starting again", part=part.name, seconds=pause, exc_info=error)
        self._why[part.name] = why
        self._down.add(part.name)
        await self._clock.sleep(pause)
        self._down.discard(part.name)

    def _refuse(self, part: Part, error: CannotStart) -> None:
        """Raise it where the process is of no use without this part, or without all of them."""
        if part.reached():
            return
        if part.needed:
            raise error
        self._refused[part.name] = error
        platforms = [name for name, each in self._parts.items() if each.platform]
        if all(name in self._refused for name in platforms):
            raise error
