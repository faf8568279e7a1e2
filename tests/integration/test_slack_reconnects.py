"""Connections that end again and again: how often the bot asks for another one, and what it reads
afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.slack import socket
from adapters.slack.outages import SHORT_OUTAGE
from adapters.slack.reconnect_pace import AT_ONCE, PAUSES
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_isolation import JumpClock
from tests.support.slack_kit import running, until

ADDRESSES = "apps.connections.open"


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


class SleepyClock(JumpClock):
    """The clock of a machine that can sleep: then only the time of day advances."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep = 0.0

    def time(self) -> float:
        return super().time() + self.asleep


async def test_connections_that_slack_ends_at_once_are_not_replaced_in_a_loop(
    sim: SlackSim,
) -> None:
    """Slack would refuse further addresses for a minute, also when it accepts connections again."""
    inbox, clock = FakeInbox(), JumpClock()
    async with running(sim, inbox, clock=clock):
        await sim.links(turns_away="too_many_websockets")
        before, since = len(await sim.requests(ADDRESSES)), clock.monotonic()
        await sim.drop()

        async def enough() -> bool:
            return len(await sim.requests(ADDRESSES)) - before >= AT_ONCE + 2

        await sim.until(enough)
        assert clock.monotonic() - since >= PAUSES.after(1) + PAUSES.after(2)
        await sim.links(turns_away="")
        clock.jump(PAUSES.longest)
        await sim.connected()
        await sim.say(ids.ALICE, ids.DM_ALICE, "still there?")
        await until(lambda: inbox.received)
    assert (await sim.state())["ratelimited"] == {}


async def test_short_outages_that_follow_each_other_count_as_one(
    sim: SlackSim,
) -> None:
    """Slack's redeliveries may all fall into them: a minute and six minutes after the first
    attempt."""
    inbox, clock = FakeInbox(), JumpClock()
    await sim.delivery(given_up="^lost$")
    async with running(sim, inbox, clock=clock) as adapter:
        await until(lambda: (ids.TEAM, "") in inbox.marks)
        for connections in (2, 3):
            await sim.offline()
            await until(lambda: not adapter.health().ok)
            if connections == 2:
                await sim.say(ids.ALICE, ids.DM_ALICE, "lost")
            clock.jump(0.9 * SHORT_OUTAGE)
            await sim.online()
            await until(lambda count=connections: inbox.connections == count)
        await until(lambda: inbox.find("lost"))


async def test_events_that_slack_drops_are_read(sim: SlackSim) -> None:
    """Slack says so once a minute; it does not deliver them later."""
    inbox, clock = FakeInbox(), JumpClock()
    async with running(sim, inbox, clock=clock):
        await until(lambda: (ids.TEAM, "") in inbox.marks)
        await sim.limits(events_per_hour=1)
        await sim.say(ids.ALICE, ids.DM_ALICE, "delivered")
        await until(lambda: inbox.find("delivered"))
        await sim.say(ids.ALICE, ids.GENERAL, "the first one", mention=True)
        await sim.until(lambda: is_read(clock, inbox, "the first one"))
        # Slack drops this one without saying so again within a minute.
        await sim.say(ids.ALICE, ids.GENERAL, "the second one", mention=True)
        await sim.until(lambda: is_read(clock, inbox, "the second one"))


async def is_read(clock: JumpClock, inbox: FakeInbox, text: str) -> bool:
    clock.jump(1.0)
    return inbox.find(text) is not None


async def test_what_was_sent_while_the_machine_slept_is_read(
    sim: SlackSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monotonic clock may stand still during that time, so the outage would look short."""
    monkeypatch.setattr(socket, "HELLO_SECONDS", 0.0)
    inbox, clock = FakeInbox(), SleepyClock()
    async with running(sim, inbox, clock=clock):
        await until(lambda: (ids.TEAM, "") in inbox.marks)
        await sim.subscribe([])
        await sim.say(ids.ALICE, ids.DM_ALICE, "lost")
        await sim.subscribe(None)
        clock.asleep += 3_600.0
        await until(lambda: inbox.find("lost"))
