"""The bot dies again and again, and what does it is found: nothing else is given up.

Real processes, real kills. Here the size that a usual run can afford; `make soak` has more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.domain import texts
from tests.kills.process_pool import ProcessPool
from tests.kills.script import Scene
from tests.kills.world import World, new_world
from tests.sims.slack.client import SlackSim
from tests.support.transcript import Asked

PLATFORMS = ["discord", "slack"]
ENDS = "SELECT outcome, error, count(*) FROM turns GROUP BY outcome, error ORDER BY outcome"


@pytest.fixture
async def nursery() -> AsyncIterator[ProcessPool]:
    async with ProcessPool() as nursery:
        yield nursery


async def running(world: World) -> Scene:
    """A bot that is connected and has nothing to do."""
    await world.stage.widen(6)
    if isinstance(world.stage.sim, SlackSim):  # what a minute allows is another test's matter
        await world.stage.sim.limits(scale=4.0)
    scene = Scene(world, patience=90.0)
    await world.bot.start()
    await world.connected()
    return scene


async def ask_many(scene: Scene, count: int, *, words: int, rate: float) -> list[Asked]:
    """Alice and Bob by turns, each question in a thread of its own."""
    channels = scene.world.stage.channels
    return [
        await scene.begin(
            "and you?",
            user=("alice", "bob")[number % 2],
            channel=channels[number % len(channels)],
            words=words,
            rate=rate,
        )
        for number in range(count)
    ]


async def answered(scene: Scene, questions: list[Asked]) -> None:
    """Wait until each is, whichever comes first."""
    await asyncio.gather(*(scene.answered(question) for question in questions))


async def one_kills(world: World, others: int) -> tuple[float, int]:
    """One question kills the bot each time; the seconds and the deaths until all is over."""
    scene = await running(world)
    first = await ask_many(scene, others // 2, words=12, rate=12.0)
    poison = await world.stage.mention("the poison, please")
    questions = [*first, *await ask_many(scene, others - len(first), words=12, rate=12.0)]
    began = time.monotonic()
    await answered(scene, questions)
    await scene.settle()
    assert world.look(ENDS) == [
        ("answered", None, others),
        ("failed", "it ends the process", 1),
    ]
    assert texts.GAVE_UP in "".join(seen.text for seen in await world.stage.seen(poison))
    assert not world.bot.failure
    return time.monotonic() - began, world.bot.deaths


async def killed_from_outside(world: World, *, questions: int, words: int, pause: float) -> float:
    """Six kills, `pause` apart, while questions are answered; the seconds until all are."""
    scene = await running(world)
    asked = await ask_many(scene, questions, words=words, rate=12.0)
    began = time.monotonic()
    for _ in range(6):
        await asyncio.sleep(pause)
        await world.bot.kill()
    await answered(scene, asked)
    await scene.settle()
    verdict = await scene.verdict()
    assert not verdict.faults, verdict
    assert world.look(ENDS) == [("answered", None, questions)]
    return time.monotonic() - began


async def test_many_deaths_give_up_the_one_question_that_kills_and_no_other(
    nursery: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """On each platform twenty are answered beside it, and twelve through six kills from outside.

    All at once, as each mostly waits.
    """

    async def poisoned(platform: str) -> None:
        folder = tmp_path / platform / "poisoned"
        async with new_world(platform, nursery, folder, PLANTED="poison") as world:
            seconds, deaths = await one_kills(world, 20)
        figures(f"{platform}: {deaths} deaths by one question, all over after {seconds:.1f} s")
        assert deaths <= 7

    async def killed(platform: str) -> None:
        async with new_world(platform, nursery, tmp_path / platform / "killed") as world:
            seconds = await killed_from_outside(world, questions=12, words=30, pause=1.5)
        figures(f"{platform}: twelve answers through six kills after {seconds:.1f} s")

    async with asyncio.TaskGroup() as group:
        for platform in PLATFORMS:
            group.create_task(poisoned(platform))
            group.create_task(killed(platform))


@pytest.mark.parametrize("platform", ["slack", "slack by edits"])
async def test_after_three_kills_the_ends_are_shown_as_soon_as_slack_takes_them(
    platform: str, nursery: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """A spent budget answers 429 with a second to wait, again and again; then it is free."""
    spent = {"status": 429, "headers": {"Retry-After": "1"}, "times": 10_000}
    async with new_world(platform, nursery, tmp_path) as world:
        scene = await running(world)
        asked = await ask_many(scene, 12, words=24, rate=12.0)
        for _ in range(3):
            await asyncio.sleep(1.0)
            await world.bot.kill()
        for method in ("chat.update", "chat.stopStream"):
            await world.stage.sim.call("fault", match=method, **spent)

        async def written() -> bool:
            return not world.look("SELECT 1 FROM turns WHERE state IN ('waiting', 'running')")

        await scene.until(written, "every answer in the database")
        await asyncio.sleep(4.0)  # each has been refused several times by then
        refused = [r for r in await world.stage.sim.requests() if r["status"] == 429]
        await world.stage.sim.call("clear")
        free = time.monotonic()
        await answered(scene, asked)
        waited = time.monotonic() - free
        await scene.settle()
        verdict = await scene.verdict()
    assert not verdict.faults, verdict
    figures(f"{platform}: {len(refused)} refused; whole {waited:.1f} s after it was free")
    assert waited < 1.0 + 2.0 + 2.0  # the last for a loaded machine: it was over a minute
    assert len(refused) < 12 * 12


@pytest.mark.soak
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("pause", [0.7, 2.5, 4.0])
async def test_six_kills_of_any_rhythm_give_nothing_up(
    platform: str, pause: float, nursery: ProcessPool, tmp_path: Path
) -> None:
    async with new_world(platform, nursery, tmp_path) as world:
        await killed_from_outside(world, questions=12, words=120, pause=pause)


@pytest.mark.soak
@pytest.mark.parametrize("platform", PLATFORMS)
async def test_one_that_kills_among_sixty(
    platform: str, nursery: ProcessPool, tmp_path: Path
) -> None:
    async with new_world(platform, nursery, tmp_path, PLANTED="poison") as world:
        await one_kills(world, 60)
