"""Several processes on one PostgreSQL are one bot, whatever happens to one of them.

`tests.support.judge` judges what people saw: nothing lost, doubled, out of order or cut. A sample
runs here; `make soak` has the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.ports.cluster import LEASE_SECONDS
from tests.kills.process_pool import ProcessPool
from tests.kills.scenario import Scenario
from tests.kills.shared_bots import SharedBots
from tests.kills.world import RestartingBot, World, new_world
from tests.sims.slack.client import SlackSim
from tests.support.postgres_server import SharedServer
from tests.support.transcript import Question

# Seconds: longer than a lease and its take-over, so that another process continues.
FROZEN = LEASE_SECONDS + 4.0
WORDS = 400
SKEW = 90.0  # seconds between the clocks of two processes: leases do not depend on them


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    async with ProcessPool() as pool:
        yield pool


@pytest.fixture(params=[pytest.param("discord", marks=pytest.mark.soak), "slack"])
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def several(
    platform: str, pool: ProcessPool, folder: Path, url: str, count: int = 2
) -> AsyncIterator[tuple[Scenario, SharedBots]]:
    """`count` running processes, and the scenario that judges them."""
    made: list[SharedBots] = []

    def make(environ: object) -> SharedBots:
        made.append(SharedBots(pool, folder, environ, url=url, count=count, skew=SKEW))  # type: ignore[arg-type]
        return made[0]

    async with new_world(platform, pool, folder, make) as world:
        scenario = Scenario(world)
        await scenario.first_start()
        before = [joins(bot) for bot in made[0].bots]

        async def all_joined() -> bool:
            pairs = zip(made[0].bots, before, strict=True)
            return all(joins(bot) > earlier for bot, earlier in pairs)

        await world.bot.start()
        await scenario.until(all_joined, "all processes")
        await all_connected(world, count)
        yield scenario, made[0]


def joins(bot: RestartingBot) -> int:
    """How often the bot's processes have joined the cluster."""
    return (bot.folder / "bot.log").read_text().count("joined the other processes")


async def all_connected(world: World, count: int) -> None:
    """Wait until each process receives events."""
    sim = world.driver.sim
    if isinstance(sim, SlackSim):
        await sim.connected(count)
    else:
        await world.connected()


async def long_answer(scenario: Scenario) -> tuple[Question, RestartingBot]:
    """Ask a question; returns it, and the process that is writing its answer."""
    bots = scenario.world.bot
    assert isinstance(bots, SharedBots)
    question = await scenario.begin("and at length", words=WORDS, rate=40.0)
    await scenario.until(lambda: scenario.shows(question, 0), "the first words")
    holder = bots.holder()
    assert holder is not None
    return question, holder


async def finish(scenario: Scenario, figures: Callable[[object], None], *notes: object) -> None:
    """Ask once more in each conversation, wait for quiet, and judge."""
    await asyncio.gather(*(scenario._probe(thread) for thread in list(scenario.threads.values())))
    await scenario.settle()
    verdict = await scenario.verdict()
    for note in notes:
        figures(note)
    assert not verdict.violations, f"{verdict}\n{scenario.world.bot.log_tail(30)}"


@pytest.mark.parametrize("platform", ["discord", "slack"])
async def test_a_killed_process_is_replaced_within_its_lease(
    platform: str,
    pool: ProcessPool,
    tmp_path: Path,
    postgres: SharedServer,
    figures: Callable[[object], None],
) -> None:
    """The other process completes the answer in the same messages, and nothing else waits."""
    with postgres.database() as url:
        async with several(platform, pool, tmp_path, url) as (scenario, bots):
            question, holder = await long_answer(scenario)
            holder.restarts.clear()
            await holder.kill()
            killed = time.monotonic()

            async def is_taken_over() -> bool:
                other = bots.holder()
                return other is not None and other is not holder

            # The interval between two checks, and time for a busy machine.
            await scenario.until(is_taken_over, "the take-over", LEASE_SECONDS + 10)
            seconds = time.monotonic() - killed
            await scenario.wait_answered(question)
            await finish(scenario, figures, f"taken over after {seconds:.2f} s")


async def test_a_process_that_was_stopped_shows_and_stores_nothing_more(
    platform: str,
    pool: ProcessPool,
    tmp_path: Path,
    postgres: SharedServer,
    figures: Callable[[object], None],
) -> None:
    """SIGSTOP for longer than the lease, then SIGCONT in the middle of the other process's
    attempt."""
    with postgres.database() as url:
        async with several(platform, pool, tmp_path, url) as (scenario, bots):
            question, holder = await long_answer(scenario)
            bots.freeze(holder)

            async def is_taken_over() -> bool:
                other = bots.holder()
                return other is not None and other is not holder

            await scenario.until(is_taken_over, "the take-over", FROZEN)
            bots.thaw(holder)
            await scenario.wait_answered(question)
            await finish(scenario, figures)
            log = (holder.folder / "bot.log").read_text()
    assert "a turn's lease is lost" in log


async def test_a_stop_at_another_process_ends_the_answer(
    platform: str,
    pool: ProcessPool,
    tmp_path: Path,
    postgres: SharedServer,
    figures: Callable[[object], None],
) -> None:
    """Whichever process receives the stop, the model's request ends immediately."""
    with postgres.database() as url:
        async with several(platform, pool, tmp_path, url) as (scenario, _):
            for _ in range(2):  # events go to the processes in turn
                question, _ = await long_answer(scenario)
                began = time.monotonic()
                await stop(scenario, question)
                took = time.monotonic() - began
                figures(f"stopped after {took:.3f} s")
            await finish(scenario, figures)


async def stop(scenario: Scenario, question: Question) -> None:
    """Send a stop, and wait until the turn has ended as stopped."""
    thread = scenario.threads[question.where]
    said = await scenario.world.driver.mention_in(thread, "stop")
    scenario.commands.append(str(said))
    number = scenario.questions.index(question)
    from dataclasses import replace

    scenario.questions[number] = replace(question, ends="stopped")

    async def has_stopped() -> bool:
        return bool(
            scenario.world.query(
                "SELECT 1 FROM turns JOIN messages ON turn_id = turns.id"
                " WHERE message_id = ? AND outcome = 'stopped'",
                question.id,
            )
        )

    await scenario.until(has_stopped, "the stop", 5.0)
