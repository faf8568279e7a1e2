"""Components of the process fail independently; the test drives the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from bot.common.supervisor import FAILED, REFUSED, Component, Supervisor
from bot.domain.errors import CannotStart
from bot.domain.health import Health
from tests.support.clock import ManualClock, settle

REFUSAL = CannotStart("Discord refused DISCORD_TOKEN: copy it again.")


class Fake:
    """A component whose runs raise or return as `runs` says, in order; afterwards it serves."""

    def __init__(self, *runs: BaseException | None, served: bool = False) -> None:
        self.runs = list(runs)
        self.starts = 0
        self.serving = False
        self.has_served = served

    async def run(self) -> None:
        self.starts += 1
        if self.runs:
            error = self.runs.pop(0)
            await asyncio.sleep(0)
            if error is not None:
                raise error
            return
        self.serving = self.has_served = True
        try:
            await asyncio.Event().wait()
        finally:
            self.serving = False

    def component(self, name: str, **more: Any) -> Component:
        return Component(
            name,
            run=self.run,
            has_served=lambda: self.has_served,
            health=lambda: Health(self.serving, {"gateway": "connected"}),
            **more,
        )


@asynccontextmanager
async def supervise(
    *components: Component, clock: ManualClock
) -> AsyncIterator[tuple[Supervisor, asyncio.Task[None]]]:
    supervisor = Supervisor(clock)
    for component in components:
        supervisor.add(component)
    task = asyncio.create_task(supervisor.run())
    await settle()
    try:
        yield supervisor, task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, CannotStart):
            await task


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.mark.parametrize(
    "error", [KeyError("type"), None, asyncio.CancelledError(), MemoryError(), RecursionError()]
)
async def test_a_component_that_fails_is_restarted_while_the_others_serve(
    error: BaseException | None, clock: ManualClock
) -> None:
    """It may raise anything, or merely return; /healthz says which component failed, and why."""
    broken, whole = Fake(error), Fake()
    async with supervise(broken.component("discord"), whole.component("slack"), clock=clock) as (
        all_,
        _,
    ):
        health = all_.health()
        assert not health["discord"].ok
        assert "restarts in 1 s" in health["discord"].details["down"]
        if error is not None and not isinstance(error, asyncio.CancelledError):
            assert type(error).__name__ in health["discord"].details["down"]
        assert all_.is_down("discord")
        assert health["slack"].ok
        assert not all_.is_down("slack")
        await clock.advance(1.0)
        assert broken.serving
        assert all(part.ok for part in all_.health().values())
        assert whole.starts == 1


async def test_pauses_grow_up_to_a_minute(clock: ManualClock) -> None:
    fails = Fake(*[KeyError("type")] * 9)
    async with supervise(fails.component("discord"), clock=clock):
        at = []
        for _ in range(9):
            before, began = fails.starts, clock.monotonic()
            while fails.starts == before:
                await clock.advance(1.0)
            at.append(clock.monotonic() - began)
        assert at == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, *[FAILED.longest] * 3]
        await clock.advance(100.0)
        assert fails.serving


async def test_a_failure_after_a_steady_run_starts_with_the_first_pause(clock: ManualClock) -> None:
    starts = 0

    async def run() -> None:
        nonlocal starts
        starts += 1
        await clock.sleep(61.0)
        raise KeyError("type")

    component = Component("discord", run=run, has_served=lambda: True)
    async with supervise(component, clock=clock):
        await clock.advance(3 * 62.0 + 1.0)
        assert starts == 4


async def test_a_process_whose_platforms_are_all_refused_at_the_start_ends(
    clock: ManualClock,
) -> None:
    """The page is not a platform, so it does not keep the process alive."""
    refused, page = Fake(REFUSAL), Fake()
    components = refused.component("discord"), page.component("web", is_platform=False)
    async with supervise(*components, clock=clock) as (_, task):
        with pytest.raises(CannotStart, match="DISCORD_TOKEN"):
            await task
    assert not page.serving


async def test_a_refused_platform_is_reported_and_retried_later(clock: ManualClock) -> None:
    refused, whole = Fake(REFUSAL, REFUSAL), Fake()
    async with supervise(refused.component("discord"), whole.component("slack"), clock=clock) as (
        all_,
        _,
    ):
        down = all_.health()["discord"]
        assert not down.ok
        assert down.details["down"] == (
            "Discord refused DISCORD_TOKEN: copy it again. It tries again in 1 min."
        )
        await clock.advance(REFUSED.first)
        assert "in 2 min" in all_.health()["discord"].details["down"]
        assert whole.starts == 1
        await clock.advance(2 * REFUSED.first)
        assert refused.serving


async def test_a_refusal_after_serving_does_not_end_the_process(clock: ManualClock) -> None:
    """A token may be revoked, and replaced, while the bot runs."""
    revoked = Fake(REFUSAL, served=True)
    async with supervise(revoked.component("discord"), clock=clock) as (_, task):
        assert not task.done()
        await clock.advance(REFUSED.first)
        assert revoked.serving


async def test_a_required_component_that_cannot_start_ends_the_process(clock: ManualClock) -> None:
    """The HTTP port is required at the start; later it is restarted like the others."""
    port, whole = Fake(CannotStart("Nothing can listen on 127.0.0.1:80")), Fake()
    components = port.component("http", required=True, is_platform=False), whole.component("slack")
    async with supervise(*components, clock=clock) as (_, task):
        with pytest.raises(CannotStart, match="listen"):
            await task
    later = Fake(OSError(24, "Too many open files"), REFUSAL, served=True)
    async with supervise(
        later.component("http", required=True, is_platform=False), clock=clock
    ) as (
        _,
        t,
    ):
        await clock.advance(1.0)
        assert not t.done()


async def test_a_part_that_may_not_start_is_named_and_ends_nothing(clock: ManualClock) -> None:
    """This holds even if there is no platform and the part does not report its health."""
    part = Fake(CannotStart("Nothing can listen on 127.0.0.1:9464"))
    component = replace(part.component("metrics", is_platform=False), health=None)
    async with supervise(component, clock=clock) as (supervisor, task):
        await clock.advance(1.0)
        assert not task.done()
        assert "listen on 127.0.0.1:9464" in supervisor.health()["metrics"].details["down"]


async def test_cancellation_waits_until_every_component_has_closed(clock: ManualClock) -> None:
    closed = []

    def closing(name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)
                closed.append(name)

        return run

    components = [
        Component(name, run=closing(name), has_served=lambda: True) for name in ("a", "b")
    ]
    async with supervise(*components, clock=clock):
        pass
    assert sorted(closed) == ["a", "b"]
