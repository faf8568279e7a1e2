"""A reply on a surface, or with a ledger, that fails in every way there is."""

from __future__ import annotations

import asyncio

import pytest

from bot.domain.errors import Gone, LostOwnership, Refused, StoreUnavailable, Throttled, Unsettled
from bot.domain.replies import Action, Request
from bot.replies.ledger import GRACE
from tests.support.clock import settle
from tests.support.reply_rig import Stage
from tests.support.surfaces import Measured, other_tasks


# ── failures ──────────────────────────────────────────────────────────────────────────────────
async def test_throttled_loses_nothing() -> None:
    """A 429 closes the scopes for everybody, and the newest frame is sent after it."""
    stage = Stage()
    async with stage.publisher() as reply:
        reply.write("Hello")
        await settle()
        stage.surface.faults = [Throttled(4.0, ("channel:1",))]
        reply.write(" world")
        await stage.clock.advance(1.1)
        reply.write(", again")
        await stage.clock.advance(3.8)
        assert stage.reading == ["Hello"]
        await stage.clock.advance(0.5)
        assert stage.reading == ["Hello world, again"]
        reply.finish()
        await stage.whole(reply)
    assert stage.rate_limiter.counters.throttled == {"channel:1": 1}


async def test_an_edit_of_unknown_outcome() -> None:
    """An edit whose answer is lost is followed by the newest frame, whatever became of it."""
    stage = Stage()
    async with stage.publisher() as reply:
        reply.write("Hello")
        await settle()
        stage.surface.faults = [Unsettled("connection lost")]
        stage.surface.carried_out_all_the_same = True
        reply.finish("Hello world")
        await stage.whole(reply)
    assert stage.reading == ["Hello world"]
    assert stage.actions == [(Action.POST, 0), (Action.EDIT, 0), (Action.EDIT, 0)]


@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_post_of_unknown_outcome_is_not_made_twice(carried_out: bool) -> None:
    """A post whose answer is lost is looked for first: nothing is ever posted twice."""
    stage = Stage()
    stage.surface.faults = [Unsettled("connection lost")]
    stage.surface.carried_out_all_the_same = carried_out
    async with stage.publisher() as reply:
        reply.write("Hello")
        await stage.clock.advance(3)
        reply.finish("Hello world")
        await stage.whole(reply)
    assert stage.reading == ["Hello world"]
    assert stage.ledger.pages == {0: "m1"}


async def test_a_slow_edit_is_abandoned_never_cancelled() -> None:
    """Beyond its limit an edit is left alone; when it lands late, the newest text is sent again."""
    stage = Stage()
    async with stage.publisher(limit=5.0) as reply:
        reply.write("one")
        await settle()
        stage.surface.latency = [8.0]
        reply.write(" two")
        await stage.clock.advance(2)
        reply.finish("one two three")
        await stage.clock.advance(5)
        assert stage.reading == ["one two three"]
        await stage.whole(reply)
    versions = [text for _, _, text in stage.surface.platform.versions]
    assert versions == ["one", "one two three", "one two", "one two three"]


async def test_a_slow_post_is_waited_for_rather_than_repeated() -> None:
    """A post beyond its limit that lands late is found, not made again."""
    stage = Stage()
    stage.surface.latency = [8.0]
    async with stage.publisher(limit=5.0) as reply:
        reply.write("one")
        await stage.clock.advance(10)
        reply.finish("one two")
        await stage.whole(reply)
    assert stage.reading == ["one two"]


async def test_a_platform_that_fails_for_long_is_given_up() -> None:
    """After its patience the reply ends with Unsettled; a restart will show it."""
    stage = Stage(lambda scope: None)
    async with stage.publisher(patience=30.0) as reply:
        reply.write("one")
        await settle()
        stage.surface.faults = [Unsettled("down")] * 50
        reply.finish("one two")
        with pytest.raises(Unsettled):
            await stage.whole(reply, 60)
        assert reply.gone
    assert len(stage.surface.requests) < 12
    await settle()
    assert not other_tasks()


async def test_gone() -> None:
    """When the place is gone, writing is in vain and says so, and the turn learns it."""
    stage = Stage()
    async with stage.publisher() as reply:
        reply.write("one")
        await settle()
        stage.surface.faults = [Gone("channel deleted")]
        reply.write(" two")
        await stage.clock.advance(1.1)
        assert reply.gone
        reply.write(" three")
        reply.note("x")
        reply.finish("one two three")
        with pytest.raises(Gone):
            await reply.settled()
    assert reply.text == "one two"
    assert stage.surface.closed == 1


async def test_a_place_that_cannot_be_had() -> None:
    """Gone while opening ends the reply before anything is sent; what passes is tried again."""
    stage = Stage()
    stage.surface.open_faults = [Unsettled("503"), Throttled(2.0), Gone("no permission")]
    async with stage.publisher() as reply:
        reply.write("one")
        await stage.clock.advance(5)
        with pytest.raises(Gone):
            await reply.settled()
    assert stage.surface.opened == 3
    assert stage.surface.requests == []


async def test_a_refused_edit_is_not_repeated() -> None:
    """An interim text that the platform refuses is left out; the next one is sent."""
    stage = Stage()
    async with stage.publisher() as reply:
        reply.write("one")
        await settle()
        stage.surface.faults = [Refused("bad text")]
        reply.write(" two")
        await stage.clock.advance(10)
        assert stage.reading == ["one"]
        assert len(stage.surface.requests) == 2
        reply.write(" three")
        await stage.clock.advance(2)
        assert stage.reading == ["one two three"]
        reply.finish()
        await stage.whole(reply)


async def test_a_refused_final_text_leaves_the_word_to_the_turn() -> None:
    """Who learns that the last text was refused may finish with another one."""
    stage = Stage()
    async with stage.publisher() as reply:
        reply.write("one")
        await settle()
        stage.surface.faults = [Refused("bad text")]
        reply.finish("one two")
        with pytest.raises(Refused):
            await stage.whole(reply)
        assert not reply.gone
        reply.finish("Something went wrong.")
        await stage.whole(reply)
    assert stage.reading == ["Something went wrong."]


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_lost_ownership_stops_at_once(after: int) -> None:
    """A newer attempt holds the turn: nothing more is sent."""
    stage = Stage(lambda scope: None)
    stage.surface.renderer = Measured(40)
    async with stage.publisher() as reply:
        for number in range(after):
            reply.write(f"Paragraph number {number} is here.\n\n")
            await stage.clock.advance(1)
        before = len(stage.surface.requests)
        stage.ledger.attempt = 2
        reply.finish("Another paragraph.\n\n" * 8)
        with pytest.raises(LostOwnership):
            await stage.whole(reply)
        assert reply.gone
        await stage.clock.advance(60)
    assert len(stage.surface.requests) <= before + 1 + after
    assert not any(request.final and request.page > after for request in stage.surface.requests)


async def test_a_ledger_that_cannot_be_written_for_a_while() -> None:
    """Nothing is posted before it is in the ledger, and a locked database passes."""
    stage = Stage()
    stage.ledger.faults = [StoreUnavailable("locked"), StoreUnavailable("locked")]
    async with stage.publisher() as reply:
        reply.write("one")
        await settle()
        assert stage.reading == []
        await stage.clock.advance(1)
        assert stage.reading == ["one"]
        reply.finish()
        await stage.whole(reply)


async def test_a_ledger_that_fails_for_long_gives_nothing_up() -> None:
    """Ten minutes, which a platform would not be forgiven: the reply waits, and then goes on."""
    stage = Stage()
    stage.ledger.faults = [StoreUnavailable("full")] * 80
    async with stage.publisher(patience=30.0) as reply:
        reply.write("one")
        await stage.clock.advance(600)
        assert stage.reading == []
        assert not reply.gone
        reply.write(" two")
        await stage.clock.advance(60)
        assert stage.reading == ["one two"]
        reply.finish()
        await stage.whole(reply)


async def test_what_is_on_the_screen_goes_on_growing_while_the_ledger_fails() -> None:
    """A page that was posted is recorded afterwards: it could be found again without."""
    stage = Stage()
    async with stage.publisher() as reply:
        await reply._delivery.book.intend(0)
        stage.ledger.faults = [StoreUnavailable("locked")] * 5
        reply.write("one")
        await settle()
        assert stage.reading == ["one"]
        reply.write(" two")
        await stage.clock.advance(1.2)
        assert stage.reading == ["one two"]
        assert stage.ledger.pages == {0: None}
        reply.finish("one two three")
        whole = asyncio.create_task(reply.settled())
        await stage.clock.advance(1.2)
        assert stage.reading == ["one two three"]
        assert not whole.done(), "the turn would end with a page that nobody knows of"
        await stage.clock.advance(20)
        await whole
    assert stage.ledger.pages == {0: "m1"}
    assert stage.ledger.faults == []


async def test_a_slow_commit_does_not_hold_the_words_that_follow() -> None:
    """The first word's message is being recorded: the reply grows, and ends when that is done."""
    stage = Stage()
    stage.ledger.slow = asyncio.Event()
    async with stage.publisher() as reply:
        reply.write("one")
        await settle()
        reply.write(" two")
        async with asyncio.timeout(10):
            while stage.reading != ["one two"]:
                await stage.clock.advance(0.2)
                await asyncio.sleep(GRACE / 5)
        assert stage.ledger.pages == {0: None}
        reply.finish("one two three")
        whole = asyncio.create_task(reply.settled())
        await stage.clock.advance(1.2)
        assert not whole.done(), "the turn would end with a page that is not in the ledger"
        stage.ledger.slow.set()
        async with asyncio.timeout(10):
            while not whole.done():
                await stage.clock.advance(0.2)
                await asyncio.sleep(GRACE / 5)
    assert stage.reading == ["one two three"]
    assert stage.ledger.pages == {0: "m1"}


async def test_a_reply_that_is_left_while_its_ledger_fails_leaves_no_task() -> None:
    stage = Stage()
    async with stage.publisher() as reply:
        await reply._delivery.book.intend(0)
        stage.ledger.faults = [StoreUnavailable("locked")] * 100
        reply.write("one")
        await stage.clock.advance(5)
        assert stage.reading == ["one"]
    await settle()
    assert other_tasks() == set()


async def test_a_newer_attempt_is_noticed_also_by_what_was_to_be_recorded_later() -> None:
    stage = Stage()
    async with stage.publisher() as reply:
        await reply._delivery.book.intend(0)
        stage.ledger.faults = [StoreUnavailable("locked")] * 2
        reply.write("one")
        await settle()
        stage.ledger.attempt = 2
        await stage.clock.advance(5)
        reply.finish("one and more")
        with pytest.raises(LostOwnership):
            await stage.whole(reply)


async def test_page_that_the_platform_will_not_remove_does_not_hold_up_the_end() -> None:
    """It stays on the screen; the turn ends all the same, and is not tried for ever."""
    stage = Stage()
    async with stage.publisher() as reply:
        reply.write("word " * 600)
        await stage.clock.advance(5)
        assert len(stage.reading) == 2

        def refuse_removal(request: Request) -> None:
            if request.action is Action.REMOVE:
                raise Refused("it may not be deleted")

        stage.surface.refuses = refuse_removal
        reply.finish("Short.")
        await stage.whole(reply)
    assert stage.reading[0] == "Short."
    assert stage.actions.count((Action.REMOVE, 1)) == 1
