"""What could not be deleted on Discord when a reply ended is deleted by the next process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.discord.adapter import DiscordAdapter
from adapters.discord.rest import Timeouts
from bot.domain import texts
from bot.domain.errors import PlatformError, StoreUnavailable
from bot.domain.leftovers import LeftoverKind
from bot.domain.replies import Shown
from bot.domain.turns import PageRecord
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.discord_kit import claim, frame, running, show, until, wait_received
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_isolation import JumpClock

DELETE = "DELETE /api/v10/channels/"
SLOW = Timeouts(background=600.0)  # the failing process dies before it tries again


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        await sim.set_limits(on=False)
        yield sim


async def shows(sim: DiscordSim, place: int) -> list[str]:
    return [message["content"] for message in await sim.messages(place, author=c.BOT)]


async def until_nothing_is_left(sim: DiscordSim, inbox: FakeInbox) -> None:
    async def is_empty() -> bool:
        return not inbox.left

    await sim.until(is_empty, 60.0)


async def leave_a_page(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter, status: int = 500
) -> Any:
    """Leave a reply whose second page Discord does not delete; returns the question."""
    question = await wait_received(inbox, await sim.mention("question"))
    surface = adapter.surface(claim(question))
    await surface.open()
    shown = await show(surface, Shown(), frame("One.", "Two."))
    await sim.call("fault", match=DELETE, status=status, times=50)
    await show(surface, shown, frame("One.", final=True))
    await surface.close()
    return question


@pytest.mark.parametrize("status", [500, 429])
async def test_the_next_start_deletes_a_page_that_was_only_emptied(
    status: int, sim: DiscordSim, inbox: FakeInbox
) -> None:
    """The process dies right after the reply."""
    async with running(sim, inbox, timeouts=SLOW) as adapter:
        question = await leave_a_page(sim, inbox, adapter, status)
        place = int(question.message_id)
        assert await shows(sim, place) == ["One.", texts.REMOVED]
        assert [each.kind for each in inbox.left] == [LeftoverKind.MESSAGE]
    await sim.call("clear")
    async with running(sim, inbox):
        await until_nothing_is_left(sim, inbox)
    assert await shows(sim, place) == ["One."]


async def test_a_later_attempt_does_not_take_an_emptied_page_for_its_own(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """The process died before the ledger forgot the page, which no longer has any buttons."""
    async with running(sim, inbox, timeouts=SLOW) as adapter:
        question = await leave_a_page(sim, inbox, adapter)
        [first, _] = await sim.messages(int(question.message_id), author=c.BOT)
    pages = (PageRecord(0, str(first["id"]), question.message_id), PageRecord(1, None))
    async with running(sim, inbox, timeouts=SLOW) as adapter:
        again = adapter.surface(claim(question, attempt=2, pages=pages))
        await again.open()
        shown = await again.recover(pages)
        assert [page.number for page in shown.pages] == [0]
        await show(again, shown, frame("One.", "Two again.", final=True))
        await again.close()
    await sim.call("clear")
    async with running(sim, inbox):
        await until_nothing_is_left(sim, inbox)
    assert await shows(sim, int(question.message_id)) == ["One.", "Two again."]


async def test_a_page_in_an_archived_thread_is_deleted(sim: DiscordSim, inbox: FakeInbox) -> None:
    """The thread is unarchived for the deletion."""
    async with running(sim, inbox, timeouts=SLOW) as adapter:
        question = await leave_a_page(sim, inbox, adapter)
    await sim.call("clear")
    await sim.archive(int(question.message_id))
    async with running(sim, inbox):
        await until_nothing_is_left(sim, inbox)
    assert await shows(sim, int(question.message_id)) == ["One."]


@pytest.mark.parametrize("is_empty", [True, False])
async def test_the_next_start_deletes_a_thread_that_came_too_late(
    is_empty: bool, sim: DiscordSim, inbox: FakeInbox
) -> None:
    """It keeps the thread if someone has written in it."""
    await sim.set_permissions(c.CHANNEL, allow=("manage_threads",))
    async with running(sim, inbox, timeouts=Timeouts(thread=0.2)) as adapter:
        await sim.call("fault", match="/threads", delay=1.0)
        question = await wait_received(inbox, await sim.mention("question"))
        surface = adapter.surface(claim(question))
        await surface.open()
        await show(surface, Shown(), frame("In the channel.", final=True))
        await surface.close()
        assert [each.kind for each in inbox.left] == [LeftoverKind.THREAD]
    place = int(question.message_id)

    async def has_thread() -> bool:
        threads = (await sim.state())["threads"]
        return any(thread["id"] == place and not thread["deleted"] for thread in threads)

    await sim.until(has_thread)
    if not is_empty:
        await sim.say(channel=place, content="I write here.")
    async with running(sim, inbox):
        await until_nothing_is_left(sim, inbox)
    assert await has_thread() is not is_empty
    assert await shows(sim, c.CHANNEL) == ["In the channel."]


async def test_a_page_is_deleted_though_the_reply_does_not_wait_for_it(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """The removal is cancelled while the database cannot record it."""
    async with running(sim, inbox) as adapter:
        question = await wait_received(inbox, await sim.mention("question"))
        surface = adapter.surface(claim(question))
        await surface.open()
        shown = await show(surface, Shown(), frame("One.", "Two."))
        await sim.call("fault", match=DELETE, status=500, times=1)
        inbox.error = StoreUnavailable("away")
        before = inbox.refused
        removal = asyncio.create_task(show(surface, shown, frame("One.", final=True)))
        await until(lambda: inbox.refused > before)
        removal.cancel()
        await asyncio.gather(removal, return_exceptions=True)
        inbox.error = None
        place = int(question.message_id)

        async def is_deleted() -> bool:
            return await shows(sim, place) == ["One."]

        await sim.until(is_deleted)


# ── a thread that an attempt abandoned ────────────────────────────────────────────────────────
async def abandon_a_thread(sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter) -> Any:
    """Run an attempt that gets no thread and fails to post in the channel; returns the question."""
    await sim.call("fault", match="/threads", status=500, times=1)
    question = await wait_received(inbox, await sim.mention("question"))
    surface = adapter.surface(claim(question))
    await surface.open()
    await sim.call("fault", match=f"POST /api/v10/channels/{c.CHANNEL}/messages", status=500)
    with pytest.raises(PlatformError):
        await show(surface, Shown(), frame("nowhere"))
    await surface.close()
    assert [each.kind for each in inbox.left] == [LeftoverKind.THREAD]
    return question


async def test_a_later_attempt_may_use_a_thread_that_was_abandoned(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """It creates the thread, and the thread's event must not delete it."""
    await sim.set_permissions(c.CHANNEL, allow=("manage_threads",))
    async with running(sim, inbox) as adapter:
        question = await abandon_a_thread(sim, inbox, adapter)
        pages = (PageRecord(0, None),)
        again = adapter.surface(claim(question, attempt=2, pages=pages))
        await again.open()
        shown = await again.recover(pages)
        await sim.wait_idle(0.2)
        await show(again, shown, frame("In the thread.", final=True))
        await again.close()
    assert await shows(sim, int(question.message_id)) == ["In the thread."]


async def test_an_abandoned_thread_stays_while_a_turn_may_use_it(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    clock = JumpClock()
    async with running(sim, inbox, clock=clock) as adapter:
        question = await abandon_a_thread(sim, inbox, adapter)
        again = adapter.surface(claim(question, attempt=2, pages=(PageRecord(0, None),)))
        await again.open()  # creates the thread
        await sim.set_permissions(c.CHANNEL, allow=("manage_threads",))
        inbox.busy = {1}
        deletion = f"DELETE /api/v10/channels/{question.message_id}"
        for _ in range(120):
            clock.jump(1.0)
            await asyncio.sleep(0.005)
        assert await sim.requests(deletion) == []
        await again.close()
        inbox.busy = set()  # it ended without posting in the thread

        async def is_deleted() -> bool:
            clock.jump(1.0)
            return not inbox.left

        await sim.until(is_deleted, 60.0)
        assert len(await sim.requests(deletion)) == 1
