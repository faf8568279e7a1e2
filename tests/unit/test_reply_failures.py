"""A reply whose surface or ledger fails."""

from __future__ import annotations

import asyncio

import pytest

from bot.domain.errors import Gone, LostOwnership, Refused, StoreUnavailable, Throttled, Unsettled
from bot.domain.replies import Action, Request
from bot.replies.ledger import COMMIT_WAIT
from tests.support.clock import settle
from tests.support.reply_rig import ReplyRig
from tests.support.surfaces import PlainRenderer, other_tasks


async def test_a_429_loses_no_text() -> None:
    """A 429 closes the scopes for every reply, and the newest frame is sent afterwards."""
    rig = ReplyRig()
    async with rig.publisher() as reply:
        reply.write("Hello")
        await settle()
        rig.surface.faults = [Throttled(4.0, ("channel:1",))]
        reply.write(" world")
        await rig.clock.advance(1.1)
        reply.write(", again")
        await rig.clock.advance(3.8)
        assert rig.messages == ["Hello"]
        await rig.clock.advance(0.5)
        assert rig.messages == ["Hello world, again"]
        reply.finish()
        await rig.wait_shown(reply)
    assert rig.rate_limiter.counters.throttled == {"channel:1": 1}


async def test_an_edit_with_an_unknown_outcome_is_followed_by_the_newest_frame() -> None:
    rig = ReplyRig()
    async with rig.publisher() as reply:
        reply.write("Hello")
        await settle()
        rig.surface.faults = [Unsettled("connection lost")]
        rig.surface.faults_after_success = True
        reply.finish("Hello world")
        await rig.wait_shown(reply)
    assert rig.messages == ["Hello world"]
    assert rig.actions == [(Action.POST, 0), (Action.EDIT, 0), (Action.EDIT, 0)]


@pytest.mark.parametrize("succeeds", [True, False])
async def test_a_post_with_an_unknown_outcome_is_not_repeated(succeeds: bool) -> None:
    """The page is searched for first."""
    rig = ReplyRig()
    rig.surface.faults = [Unsettled("connection lost")]
    rig.surface.faults_after_success = succeeds
    async with rig.publisher() as reply:
        reply.write("Hello")
        await rig.clock.advance(3)
        reply.finish("Hello world")
        await rig.wait_shown(reply)
    assert rig.messages == ["Hello world"]
    assert rig.ledger.pages == {0: "m1"}


async def test_a_slow_edit_is_abandoned_but_not_cancelled() -> None:
    """When the edit takes effect late, the newest text is sent again."""
    rig = ReplyRig()
    async with rig.publisher(limit=5.0) as reply:
        reply.write("one")
        await settle()
        rig.surface.latency = [8.0]
        reply.write(" two")
        await rig.clock.advance(2)
        reply.finish("one two three")
        await rig.clock.advance(5)
        assert rig.messages == ["one two three"]
        await rig.wait_shown(reply)
    versions = [text for _, _, text in rig.surface.platform.versions]
    assert versions == ["one", "one two three", "one two", "one two three"]


async def test_a_slow_post_is_found_instead_of_repeated() -> None:
    rig = ReplyRig()
    rig.surface.latency = [8.0]
    async with rig.publisher(limit=5.0) as reply:
        reply.write("one")
        await rig.clock.advance(10)
        reply.finish("one two")
        await rig.wait_shown(reply)
    assert rig.messages == ["one two"]


async def test_a_platform_that_fails_for_long_is_given_up() -> None:
    """When the publisher's patience ends, the reply ends with Unsettled; a restart will show it."""
    rig = ReplyRig(lambda scope: None)
    async with rig.publisher(patience=30.0) as reply:
        reply.write("one")
        await settle()
        rig.surface.faults = [Unsettled("down")] * 50
        reply.finish("one two")
        with pytest.raises(Unsettled):
            await rig.wait_shown(reply, 60)
        assert reply.failed
    assert len(rig.surface.requests) < 12
    await settle()
    assert not other_tasks()


async def test_a_deleted_place_ends_the_reply() -> None:
    """Further text is ignored, and the turn gets Gone."""
    rig = ReplyRig()
    async with rig.publisher() as reply:
        reply.write("one")
        await settle()
        rig.surface.faults = [Gone("channel deleted")]
        reply.write(" two")
        await rig.clock.advance(1.1)
        assert reply.failed
        reply.write(" three")
        reply.note("x")
        reply.finish("one two three")
        with pytest.raises(Gone):
            await reply.wait_until_shown()
    assert reply.text == "one two"
    assert rig.surface.closed == 1


async def test_a_place_that_cannot_be_opened_ends_the_reply() -> None:
    """Temporary failures are retried; Gone ends the reply before anything is sent."""
    rig = ReplyRig()
    rig.surface.open_faults = [Unsettled("503"), Throttled(2.0), Gone("no permission")]
    async with rig.publisher() as reply:
        reply.write("one")
        await rig.clock.advance(5)
        with pytest.raises(Gone):
            await reply.wait_until_shown()
    assert rig.surface.opened == 3
    assert rig.surface.requests == []


async def test_a_refused_edit_is_not_repeated() -> None:
    """The next text is sent."""
    rig = ReplyRig()
    async with rig.publisher() as reply:
        reply.write("one")
        await settle()
        rig.surface.faults = [Refused("bad text")]
        reply.write(" two")
        await rig.clock.advance(10)
        assert rig.messages == ["one"]
        assert len(rig.surface.requests) == 2
        reply.write(" three")
        await rig.clock.advance(2)
        assert rig.messages == ["one two three"]
        reply.finish()
        await rig.wait_shown(reply)


async def test_the_turn_can_finish_with_another_text_when_the_platform_refuses_one() -> None:
    rig = ReplyRig()
    async with rig.publisher() as reply:
        reply.write("one")
        await settle()
        rig.surface.faults = [Refused("bad text")]
        reply.finish("one two")
        with pytest.raises(Refused):
            await rig.wait_shown(reply)
        assert not reply.failed
        reply.finish("Something went wrong.")
        await rig.wait_shown(reply)
    assert rig.messages == ["Something went wrong."]


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_lost_ownership_stops_the_reply(after: int) -> None:
    """A newer attempt holds the turn, so nothing more is sent."""
    rig = ReplyRig(lambda scope: None)
    rig.surface.renderer = PlainRenderer(40)
    async with rig.publisher() as reply:
        for number in range(after):
            reply.write(f"Paragraph number {number} is here.\n\n")
            await rig.clock.advance(1)
        before = len(rig.surface.requests)
        rig.ledger.attempt = 2
        reply.finish("Another paragraph.\n\n" * 8)
        with pytest.raises(LostOwnership):
            await rig.wait_shown(reply)
        assert reply.failed
        await rig.clock.advance(60)
    assert len(rig.surface.requests) <= before + 1 + after
    assert not any(request.final and request.page > after for request in rig.surface.requests)


async def test_a_page_waits_for_its_ledger_entry() -> None:
    """A locked database delays the post."""
    rig = ReplyRig()
    rig.ledger.faults = [StoreUnavailable("locked"), StoreUnavailable("locked")]
    async with rig.publisher() as reply:
        reply.write("one")
        await settle()
        assert rig.messages == []
        await rig.clock.advance(1)
        assert rig.messages == ["one"]
        reply.finish()
        await rig.wait_shown(reply)


async def test_a_reply_outlasts_a_long_database_failure() -> None:
    """Ten minutes are far beyond the patience with a platform."""
    rig = ReplyRig()
    rig.ledger.faults = [StoreUnavailable("full")] * 80
    async with rig.publisher(patience=30.0) as reply:
        reply.write("one")
        await rig.clock.advance(600)
        assert rig.messages == []
        assert not reply.failed
        reply.write(" two")
        await rig.clock.advance(60)
        assert rig.messages == ["one two"]
        reply.finish()
        await rig.wait_shown(reply)


async def test_pages_on_the_screen_keep_growing_while_the_ledger_fails() -> None:
    """A posted page is recorded later: it can be found again without its entry."""
    rig = ReplyRig()
    async with rig.publisher() as reply:
        await reply._delivery.ledger.intend(0)
        rig.ledger.faults = [StoreUnavailable("locked")] * 5
        reply.write("one")
        await settle()
        assert rig.messages == ["one"]
        reply.write(" two")
        await rig.clock.advance(1.2)
        assert rig.messages == ["one two"]
        assert rig.ledger.pages == {0: None}
        reply.finish("one two three")
        whole = asyncio.create_task(reply.wait_until_shown())
        await rig.clock.advance(1.2)
        assert rig.messages == ["one two three"]
        assert not whole.done(), "the turn would end with a page that is not in the ledger"
        await rig.clock.advance(20)
        await whole
    assert rig.ledger.pages == {0: "m1"}
    assert rig.ledger.faults == []


async def test_a_slow_commit_does_not_delay_further_text() -> None:
    """The reply grows while its first page is being recorded, and ends after that."""
    rig = ReplyRig()
    rig.ledger.slow = asyncio.Event()
    async with rig.publisher() as reply:
        reply.write("one")
        await settle()
        reply.write(" two")
        async with asyncio.timeout(60):
            while rig.messages != ["one two"]:
                await rig.clock.advance(0.2)
                await asyncio.sleep(COMMIT_WAIT / 5)
        assert rig.ledger.pages == {0: None}
        reply.finish("one two three")
        whole = asyncio.create_task(reply.wait_until_shown())
        await rig.clock.advance(1.2)
        assert not whole.done(), "the turn would end with a page that is not in the ledger"
        rig.ledger.slow.set()
        async with asyncio.timeout(60):
            while not whole.done():
                await rig.clock.advance(0.2)
                await asyncio.sleep(COMMIT_WAIT / 5)
    assert rig.messages == ["one two three"]
    assert rig.ledger.pages == {0: "m1"}


async def test_leaving_a_reply_while_its_ledger_fails_leaves_no_task() -> None:
    rig = ReplyRig()
    async with rig.publisher() as reply:
        await reply._delivery.ledger.intend(0)
        rig.ledger.faults = [StoreUnavailable("locked")] * 100
        reply.write("one")
        await rig.clock.advance(5)
        assert rig.messages == ["one"]
    await settle()
    assert other_tasks() == set()


async def test_a_delayed_ledger_write_notices_a_newer_attempt() -> None:
    rig = ReplyRig()
    async with rig.publisher() as reply:
        await reply._delivery.ledger.intend(0)
        rig.ledger.faults = [StoreUnavailable("locked")] * 2
        reply.write("one")
        await settle()
        rig.ledger.attempt = 2
        await rig.clock.advance(5)
        reply.finish("one and more")
        with pytest.raises(LostOwnership):
            await rig.wait_shown(reply)


async def test_a_refused_removal_does_not_delay_the_end() -> None:
    """The page stays on the screen and its removal is not repeated."""
    rig = ReplyRig()
    async with rig.publisher() as reply:
        reply.write("word " * 600)
        await rig.clock.advance(5)
        assert len(rig.messages) == 2

        def refuse_removal(request: Request) -> None:
            if request.action is Action.REMOVE:
                raise Refused("it may not be deleted")

        rig.surface.refuses = refuse_removal
        reply.finish("Short.")
        await rig.wait_shown(reply)
    assert rig.messages[0] == "Short."
    assert rig.actions.count((Action.REMOVE, 1)) == 1
