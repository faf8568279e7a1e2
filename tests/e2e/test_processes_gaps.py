"""A process dies before storing a question, whose event never comes again; it is answered
anyway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.ports.cluster import LEASE_SECONDS
from tests.e2e.test_processes import finish, several
from tests.kills.process_pool import ProcessPool
from tests.kills.scenario import Scenario
from tests.kills.shared_bots import SharedBots
from tests.kills.world import RestartingBot
from tests.sims.slack.client import SlackSim
from tests.support.postgres_server import SharedServer
from tests.support.transcript import Question


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    async with ProcessPool() as pool:
        yield pool


def keeper(bots: SharedBots) -> RestartingBot | None:
    """The process that maintains Slack's watermarks."""
    rows = bots.query(
        "SELECT holder FROM leases WHERE kind = 'exclusive' AND name LIKE 'slack catch-up%'"
    )
    return bots.bot_of(rows[0][0]) if rows else None


async def is_stored_at_once(scenario: Scenario, question: Question) -> bool:
    """Whether the process that got a message's only event (there was no mention) has stored it."""
    await scenario.wait_delivered()  # acknowledged or given up
    return bool(
        scenario.world.query("SELECT 1 FROM messages WHERE message_id = ?", str(question.id))
    )


async def lose_questions(scenario: Scenario, bots: SharedBots) -> None:
    """Hang a process that gets half of the events, ask questions, and kill it."""
    sim = scenario.world.driver.sim
    assert isinstance(sim, SlackSim)

    async def has_keeper() -> bool:
        return keeper(bots) is not None

    await scenario.until(has_keeper, "who keeps the watermarks")
    [other] = [bot for bot in bots.bots if bot is not keeper(bots)]
    first = await scenario.begin("first")
    await scenario.wait_answered(first)
    await sim.delivery(ack_seconds=1.0, given_up=".")
    bots.freeze(other)

    async def follow_up() -> Question:
        return await scenario.ask(scenario.threads[first.where], "and then?")

    async def in_private() -> Question:
        return await scenario.begin("in private", direct=True)

    for say in (follow_up, in_private):
        while await is_stored_at_once(scenario, await say()):
            await scenario.wait_answered(scenario.questions[-1])
    while not await is_stored_at_once(scenario, await in_private()):
        pass  # the watermark passes the lost messages with the first one stored
    await sim.delivery(given_up="")
    await other.kill()
    for question in scenario.questions:
        await scenario.wait_answered(question)


async def test_messages_that_a_killed_process_did_not_store_are_read_again(
    pool: ProcessPool, tmp_path: Path, postgres: SharedServer, figures: Callable[[object], None]
) -> None:
    """Slack's redeliveries failed, and the other process's watermark has passed the messages."""
    with postgres.database() as url:
        async with several("slack", pool, tmp_path, url) as (scenario, bots):
            scenario.patience = LEASE_SECONDS + 30.0
            async with asyncio.timeout(180):
                await lose_questions(scenario, bots)
                await finish(scenario, figures)
