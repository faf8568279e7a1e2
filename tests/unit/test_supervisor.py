"""Parts of the process fail alone: on a clock that the test drives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from bot.common.supervisor import FIRST_REFUSED, LAST_PAUSE, Part, Supervisor
from bot.domain.errors import CannotStart
from bot.domain.health import Health
from tests.support.clock import ManualClock, settle

REFUSED = CannotStart("Discord refused DISCORD_TOKEN: copy it again.")


class Fake:
    """A part that does the next of `lives` each time: raise, end, or serve when they are over."""

    def __init__(self, *lives: BaseException | None, reached: bool = False) -> None:
        self.lives = list(lives)
        self.starts = 0
        self.serving = False
        self.was_reached = reached

    async def run(self) -> None:
        self.starts += 1
        if self.lives:
            error = self.lives.pop(0)
            await asyncio.sleep(0)
            if error is not None:
                raise error
            return
        self.serving = self.was_reached = True
        try:
            await asyncio.Event().wait()
        finally:
            self.serving = False

    def part(self, name: str, **more: Any) -> Part:
        return Part(
            name,
            run=self.run,
            reached=lambda: self.was_reached,
            health=lambda: Health(self.serving, {"gateway": "connected"}),
            **more,
        )


@asynccontextmanager
async def supervised(
    *parts: Part, clock: ManualClock
) -> AsyncIterator[tuple[Supervisor, asyncio.Task[None]]]:
    supervisor = Supervisor(clock)
    for part in parts:
        supervisor.add(part)
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
async def test_a_part_that_fails_is_started_again_while_the_others_serve(
    error: BaseException | None, clock: ManualClock
) -> None:
    """Whatever it raises, also where it only ends; /healthz says which, and why."""
    broken, whole = Fake(error), Fake()
    async with supervised(broken.part("discord"), whole.part("slack"), clock=clock) as (all_, _):
        health = all_.health()
        assert not health["discord"].ok
        assert "starts again in 1 s" in health["discord"].details["down"]
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
    async with supervised(fails.part("discord"), clock=clock):
        at = []
        for _ in range(9):
            before, began = fails.starts, clock.monotonic()
            while fails.starts == before:
                await clock.advance(1.0)
            at.append(clock.monotonic() - began)
        assert at == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, *[LAST_PAUSE] * 3]
        await clock.advance(100.0)
        assert fails.serving


async def test_what_fails_after_a_steady_time_is_back_after_a_second(clock: ManualClock) -> None:
    starts = 0

    async def run() -> None:
        nonlocal starts
        starts += 1
        await clock.sleep(61.0)
        raise KeyError("type")

    part = Part("discord", run=run, reached=lambda: True)
    async with supervised(part, clock=clock):
        await clock.advance(3 * 62.0 + 1.0)
        assert starts == 4


async def test_a_refusal_of_all_at_the_start_ends_it_with_the_sentence(clock: ManualClock) -> None:
    """The page is no platform: it alone is no reason to go on."""
    refused, page = Fake(REFUSED), Fake()
    parts = refused.part("discord"), page.part("web", platform=False)
    async with supervised(*parts, clock=clock) as (_, task):
        with pytest.raises(CannotStart, match="DISCORD_TOKEN"):
            await task
    assert not page.serving


async def test_a_refusal_of_one_is_told_and_tried_again_later(clock: ManualClock) -> None:
    refused, whole = Fake(REFUSED, REFUSED), Fake()
    async with supervised(refused.part("discord"), whole.part("slack"), clock=clock) as (all_, _):
        down = all_.health()["discord"]
        assert not down.ok
        assert down.details["down"] == (
            "Discord refused DISCORD_TOKEN: copy it again. It tries again in 1 min."
        )
        await clock.advance(FIRST_REFUSED)
        assert "in 2 min" in all_.health()["discord"].details["down"]
        assert whole.starts == 1
        await clock.advance(2 * FIRST_REFUSED)
        assert refused.serving


async def test_a_refusal_after_it_has_served_ends_nothing(clock: ManualClock) -> None:
    """A token that is taken back while the bot runs: with the right one it goes on."""
    revoked = Fake(REFUSED, reached=True)
    async with supervised(revoked.part("discord"), clock=clock) as (_, task):
        assert not task.done()
        await clock.advance(FIRST_REFUSED)
        assert revoked.serving


async def test_a_needed_part_that_cannot_start_ends_it(clock: ManualClock) -> None:
    """The HTTP port: others are no consolation. Later it is started again like the others."""
    port, whole = Fake(CannotStart("Nothing can listen on 127.0.0.1:80")), Fake()
    parts = port.part("http", needed=True, platform=False), whole.part("slack")
    async with supervised(*parts, clock=clock) as (_, task):
        with pytest.raises(CannotStart, match="listen"):
            await task
    later = Fake(OSError(24, "Too many open files"), REFUSED, reached=True)
    async with supervised(later.part("http", needed=True, platform=False), clock=clock) as (_, t):
        await clock.advance(1.0)
        assert not t.done()


async def test_at_the_end_every_part_has_its_time_to_close(clock: ManualClock) -> None:
    closed = []

    def closing(name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)
                closed.append(name)

        return run

    parts = [Part(name, run=closing(name), reached=lambda: True) for name in ("a", "b")]
    async with supervised(*parts, clock=clock):
        pass
    assert sorted(closed) == ["a", "b"]
