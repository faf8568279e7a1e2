"""A reply is sent only while its turn's lease lasts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.common.lease_guard import check_lease, create_task_under, create_task_under_same
from bot.domain.errors import LostOwnership, Unsettled
from tests.support.clock import settle
from tests.support.reply_rig import ReplyRig


class Lease:
    """A lease whose renewals the test controls."""

    def __init__(self) -> None:
        self.can_send, self.is_lost = True, False
        self.changed = asyncio.Event()

    @property
    def forbids_sending(self) -> bool:
        return not self.can_send

    async def wait(self) -> None:
        while not self.can_send:
            if self.is_lost:
                raise LostOwnership("another process has the turn")
            self.changed.clear()
            await self.changed.wait()

    def release(self) -> None:
        """Renew nothing."""

    def set(self, *, can_send: bool, is_lost: bool = False) -> None:
        self.can_send, self.is_lost = can_send, is_lost
        self.changed.set()


async def test_text_waits_for_the_renewal_and_is_then_the_newest() -> None:
    rig, lease = ReplyRig(), Lease()
    async with rig.publisher(lease=lease) as reply:
        reply.write("Hello")
        await settle()
        lease.set(can_send=False)
        reply.write(" world")
        await rig.clock.advance(10.0)
        assert rig.messages == ["Hello"]
        reply.write(" again")
        lease.set(can_send=True)
        reply.finish()
        await rig.wait_shown(reply)
    assert rig.messages == ["Hello world again"]
    assert (rig.surface.closed, rig.surface.abandoned) == (1, 0)


async def test_nothing_is_sent_after_the_lease_is_lost() -> None:
    """Neither text nor the end of typing and status is sent, because the other process shows
    them."""
    rig, lease = ReplyRig(), Lease()
    with pytest.raises(LostOwnership):
        async with rig.publisher(lease=lease) as reply:
            reply.write("Hello")
            await settle()
            lease.set(can_send=False, is_lost=True)
            reply.write(" world")
            reply.finish()
            await rig.clock.advance(5.0)
            await reply.wait_until_shown()
    assert rig.messages == ["Hello"]
    assert (rig.surface.closed, rig.surface.abandoned) == (0, 1)


async def test_a_new_attempt_does_not_begin_without_the_lease() -> None:
    rig, lease = ReplyRig(), Lease()
    lease.set(can_send=False)
    values: dict[str, Any] = {"lease": lease}
    async with rig.publisher(**values) as reply:
        reply.write("Hello")
        await rig.clock.advance(60.0)
        assert rig.surface.opened == 0
        lease.set(can_send=True)
        await settle()
        assert rig.surface.opened == 1
        reply.finish()
        await rig.wait_shown(reply)


async def test_a_request_that_waited_too_long_is_not_sent() -> None:
    """The process was suspended between the check of the lease and the request."""
    lease, sent = Lease(), []
    may_go_on = asyncio.Event()

    async def upload() -> None:
        check_lease()
        sent.append("one")
        await may_go_on.wait()
        check_lease()
        sent.append("two")

    task = create_task_under(lease, upload())
    await settle()
    lease.set(can_send=False)
    may_go_on.set()
    with pytest.raises(Unsettled):
        await task
    assert sent == ["one"]


async def test_what_a_request_starts_for_others_may_send_on() -> None:
    lease = Lease()
    lease.set(can_send=False)

    async def start_worker() -> asyncio.Task[None]:
        async def work() -> None:
            check_lease()

        return asyncio.create_task(work())

    await (await create_task_under(lease, start_worker()))


async def test_tasks_that_a_request_starts_for_its_turn_send_under_the_same_lease() -> None:
    """Slack's status is set in the background, and belongs only to the turn."""
    lease, may_send = Lease(), asyncio.Event()

    async def set_status() -> None:
        await may_send.wait()
        check_lease()

    async def open_reply() -> asyncio.Task[None]:
        return create_task_under_same(set_status())

    task = await create_task_under(lease, open_reply())
    alone = create_task_under_same(set_status())  # no turn, no lease
    lease.set(can_send=False)
    may_send.set()
    with pytest.raises(Unsettled):
        await task
    await alone
