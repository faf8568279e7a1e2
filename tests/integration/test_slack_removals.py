"""What Slack did not delete when a reply ended is deleted by the next process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.slack.adapter import SlackAdapter
from adapters.slack.surface import SlackSurface
from bot.domain.errors import Throttled
from bot.domain.leftovers import Leftover, LeftoverKind
from bot.domain.replies import Action, Frame, Page, Request, Shown
from bot.domain.turns import PageRecord
from bot.replies.paging.document import Document
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.replies import frame_of
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
    """Leave a page that was posted twice, one copy of which Slack does not delete; returns the
    thread."""
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
    """Until then, no attempt takes it for a page."""
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
    """A file that is already gone costs no further request."""
    inbox.left.append(Leftover(1, LeftoverKind.FILE, CHANNEL, "F0GONE", ids.TEAM, 2e9))
    async with running(sim, inbox):
        await until_nothing_is_left(sim, inbox)
    assert len(await sim.requests("files.delete")) == 1


CODE = "".join(f"line_{number} = {number}\n" for number in range(3_000))


def next_request(surface: SlackSurface, shown: Shown, text: str) -> Request | None:
    document = Document(surface.renderer, surface.files)
    document.write(text)
    document.finish()
    return surface.plan(shown, frame_of(document))


async def until_file_goes(surface: SlackSurface) -> tuple[Request, Shown]:
    """A reply whose file is no longer wanted, with the request that removes its message."""
    shown = Shown()
    while request := next_request(surface, shown, f"Here:\n\n```python\n{CODE}```\n"):
        shown = await surface.perform(request, shown)
    while request := next_request(surface, shown, "No code."):
        if request.action is Action.REMOVE:
            break
        shown = await surface.perform(request, shown)
    assert request is not None
    assert [page.number for page in shown.pages if page.file is not None] == [request.page]
    return request, shown


async def test_a_process_that_dies_between_a_message_and_its_file_leaves_neither(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    async with running(sim, inbox, file_from_messages=3) as slack:
        ts = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
        surface = slack.surface(claim(CHANNEL, ts))
        request, shown = await until_file_goes(surface)
        await sim.call("fault", match="files.delete", delay=60.0)
        removal = asyncio.create_task(surface.perform(request, shown))
        await sim.until(lambda: sim.requests("files.delete"))
        removal.cancel()
        await asyncio.gather(removal, return_exceptions=True)
        assert [left.kind for left in inbox.left] == [LeftoverKind.FILE]
    await sim.call("clear")
    async with running(sim, inbox):
        await until_nothing_is_left(sim, inbox)
    assert {file.get("mode") for file in (await sim.state())["files"].values()} == {"tombstone"}


async def test_a_file_whose_message_stays_is_not_left(sim: SlackSim, inbox: FakeInbox) -> None:
    """Slack refuses to delete the message for now, and the reply may keep it."""
    async with running(sim, inbox, file_from_messages=3) as slack:
        ts = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
        surface = slack.surface(claim(CHANNEL, ts))
        request, shown = await until_file_goes(surface)
        await sim.throttle("chat.delete", 300.0)
        with pytest.raises(Throttled):
            await surface.perform(request, shown)
        assert inbox.left == []
        await sim.throttle("chat.delete", 0.0)
        await surface.perform(request, shown)
        assert inbox.left == []
    assert len(await sim.requests("files.delete")) == 1
