"""What Slack did not delete when a reply ended is deleted by the next process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.slack.adapter import SlackAdapter
from adapters.slack.surface import SlackSurface
from bot.domain.leftovers import Leftover, LeftoverKind
from bot.domain.replies import Frame, Page, Shown
from bot.domain.turns import PageRecord
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_kit import claim, running

CHANNEL = ids.GENERAL


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


async def post(surface: SlackSurface, text: str) -> None:
    """Post the first page, as if the ledger did not know of an earlier one."""
    request = surface.plan(Shown(), Frame((Page(text, text, 0, 1, True),), True, ()))
    assert request is not None
    await surface.perform(request, Shown())


async def until_nothing_is_left(sim: SlackSim, inbox: FakeInbox) -> None:
    async def is_empty() -> bool:
        return not inbox.left

    await sim.until(is_empty, 60.0)


async def leave_a_duplicate(sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter) -> str:
    """A page that was posted twice, and of which Slack does not delete one; returns the thread."""
    ts = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    surface = slack.surface(claim(CHANNEL, ts))
    for _ in range(2):
        await post(surface, "twice")
    await sim.call("fault", match="chat.delete", status=503, times=50)
    found = await surface.recover([PageRecord(0, None)])
    [page] = found.pages
    [left] = inbox.left
    assert (left.kind, left.name != page.message_id) == (LeftoverKind.MESSAGE, True)
    return ts


async def test_the_next_start_deletes_a_duplicate_page(sim: SlackSim, inbox: FakeInbox) -> None:
    """Until then no attempt takes it for a page."""
    async with running(sim, inbox) as slack:
        ts = await leave_a_duplicate(sim, inbox, slack)
        left = inbox.left[0].name
        [page] = (await slack.surface(claim(CHANNEL, ts)).recover([PageRecord(0, None)])).pages
        assert page.message_id != left
        assert len(await sim.thread(CHANNEL, ts)) == 3
    await sim.call("clear")
    async with running(sim, inbox):
        await until_nothing_is_left(sim, inbox)
    assert [one["ts"] for one in await sim.thread(CHANNEL, ts)] == [ts, page.message_id]


async def test_the_next_start_deletes_a_file(sim: SlackSim, inbox: FakeInbox) -> None:
    """One that is gone already is not asked for again."""
    inbox.left.append(Leftover(1, LeftoverKind.FILE, CHANNEL, "F0GONE", ids.TEAM, 2e9))
    async with running(sim, inbox):
        await until_nothing_is_left(sim, inbox)
    assert len(await sim.requests("files.delete")) == 1
