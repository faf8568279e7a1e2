"""A process killed between the end of a turn and a removal leaves nothing on the screen.

The platform refuses the removal until after the kill, so the kill always happens at that point.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kills.control_scenario import UserActions
from tests.kills.process_pool import ProcessPool
from tests.kills.world import World, new_world
from tests.sims.slack.client import SlackSim

SESSIONS, STREAMS = "agents.sessions.setStatus", "chat.startStream"


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    async with ProcessPool() as pool:
        yield pool


async def begin(world: World) -> UserActions:
    """A running bot that waits for questions."""
    people = UserActions(world, faulty=True, patience=60.0)
    await people.first_start()
    await world.bot.start()
    await world.connected()
    return people


async def kill_with_a_leftover(people: UserActions, kind: str) -> None:
    """Kill the process after the end of the turn, with the removal still pending."""
    assert people.world.query("SELECT kind FROM leftovers") == [(kind,)]
    await people.world.bot.kill()


async def until_nothing_is_left(people: UserActions) -> None:
    async def is_removed() -> bool:
        return not people.world.query("SELECT 1 FROM leftovers")

    await people.until(is_removed, "the removal of what is left")
    await people.settle()
    verdict = await people.verdict()
    assert not verdict.violations, verdict


async def test_a_status_does_not_outlive_the_process_that_set_it(
    pool: ProcessPool, tmp_path: Path
) -> None:
    async with new_world("slack", pool, tmp_path) as world:
        people, sim = await begin(world), world.driver.sim
        assert isinstance(sim, SlackSim)
        await sim.throttle(STREAMS, 300.0)  # closing a stream would clear the status
        question = await people.begin("how are you?", words=30, rate=20.0)

        async def is_shown() -> bool:
            return bool(await world.signs_of_work())

        await people.until(is_shown, "the status")
        await sim.throttle(SESSIONS, 300.0)
        await people.wait_turn_done(question)
        await kill_with_a_leftover(people, "status")
        await sim.throttle(SESSIONS, 0.0)
        await until_nothing_is_left(people)


async def test_an_emptied_page_does_not_outlive_the_process_that_emptied_it(
    pool: ProcessPool, tmp_path: Path
) -> None:
    async with new_world("discord", pool, tmp_path, **UserActions.settings) as world:
        people, sim = await begin(world), world.driver.sim
        question = await people.begin("how are you?")
        await people.wait_answered(question)
        await sim.call("fault", match="DELETE /api/v10/channels/", status=503, times=1_000)
        await people.delete(question)
        await kill_with_a_leftover(people, "message")
        await sim.call("clear")
        await until_nothing_is_left(people)
