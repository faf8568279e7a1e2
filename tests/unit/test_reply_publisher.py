"""A reply on a surface that does what it is asked: pace, pages, recovery, leaving."""

from __future__ import annotations

import asyncio

import pytest

from bot.domain.errors import Unsettled
from bot.domain.replies import Action, Control, Limit, Priority
from bot.domain.turns import PageRecord
from bot.replies.delivery import LANDED
from bot.replies.publisher import Publisher
from tests.support.clock import settle
from tests.support.reply_rig import FENCE, Stage
from tests.support.surfaces import FakeLedger, FakeSurface, Measured, Platform, other_tasks


# ── the way it goes ───────────────────────────────────────────────────────────────────────────
async def test_first_text_at_once_then_an_even_pace_then_the_whole() -> None:
    """The first text is posted with no wait, the edits keep the pace, the end is whole."""
    stage = Stage()
    async with stage.publisher() as reply:
        reply.write("Hello")
        await settle()
        assert stage.reading == ["Hello"]
        for word in range(30):
            reply.write(f" w{word}")
            await stage.clock.advance(0.1)
        assert len(stage.surface.requests) == 3  # at 0 s, and one in each even step after it
        reply.finish()
        await stage.whole(reply, 1.25)
    assert stage.reading == [reply.text]
    assert reply.text.endswith("w29")
    assert stage.surface.most_in_flight == 1
    assert (stage.surface.opened, stage.surface.closed) == (1, 1)
    assert stage.rate_limiter.counters.granted == {
        Priority.FIRST: 1,
        Priority.INTERIM: 2,
        Priority.FINAL: 1,
    }


async def test_one_request_in_flight_and_the_newest_frame_wins() -> None:
    """On a slow platform edits never overlap, and what came meanwhile is in the next one."""
    stage = Stage(lambda scope: None)
    stage.surface.latency = 0.7
    async with stage.publisher() as reply:
        for word in range(20):
            reply.write(f"w{word} ")
            await stage.clock.advance(0.1)
        reply.finish()
        await stage.whole(reply)
    assert stage.surface.most_in_flight == 1
    assert len(stage.surface.requests) == 4
    assert stage.reading == [reply.text.rstrip()]


async def test_the_end_overtakes_the_pace() -> None:
    """A reply that ends while its edit waits for the pace goes out as soon as it may."""
    stage = Stage(lambda scope: Limit(5, 5.0) if scope.startswith("channel") else None)
    async with stage.publisher() as reply:
        reply.write("Hello")
        await settle()
        reply.write(" world")
        await stage.clock.advance(0.3)
        assert stage.reading == ["Hello"]
        reply.finish()
        await stage.whole(reply, 0)
    assert stage.reading == ["Hello world"]


async def test_pages_in_their_order_with_a_ledger_entry_before_each() -> None:
    """A long reply flows into further messages; each page is intended before it is posted."""
    stage = Stage()
    stage.surface.renderer = Measured(100)
    text = "\n\n".join(f"Paragraph {number} has a few words." for number in range(12))
    async with stage.publisher() as reply:
        for start in range(0, len(text), 17):
            reply.write(text[start : start + 17])
            await stage.clock.advance(0.2)
        reply.finish()
        await stage.whole(reply)
    assert "\n\n".join(stage.reading) == text
    calls = stage.ledger.calls
    for page in range(len(stage.reading)):
        assert calls.index(("intend", page)) < calls.index(("shown", page))
    assert list(stage.ledger.pages.values()) == [f"m{n + 1}" for n in range(len(stage.reading))]


async def test_a_long_reply_at_once() -> None:
    """Fifty pages that come in one piece are all shown, in their order."""
    stage = Stage(lambda scope: None)
    stage.surface.renderer = Measured(120)
    text = "\n\n".join(f"Paragraph {number} of a long reply, with words." for number in range(120))
    async with stage.publisher() as reply:
        reply.finish(text)
        await stage.whole(reply)
    assert "\n\n".join(stage.reading) == text
    assert all(action is Action.POST for action, _ in stage.actions)


async def test_a_note_until_the_first_text() -> None:
    """A note is shown where nothing is yet, and the first text takes its message."""
    stage = Stage()
    async with stage.publisher() as reply:
        reply.note("In the queue …")
        await settle()
        assert stage.reading == ["In the queue …"]
        assert reply.first_visible_at is None
        await stage.clock.advance(3)
        reply.write("Here")
        await settle()
        assert stage.reading == ["Here"]
        reply.finish("Here.\n\n*Stopped.*")
        await stage.whole(reply)
    assert stage.reading == ["Here.\n\n*Stopped.*"]
    assert reply.first_visible_at == pytest.approx(stage.clock.monotonic() - 1, abs=0.3)
    assert reply.whole_at is not None


async def test_a_note_of_a_reply_without_text() -> None:
    """A reply that ends without text takes its note away."""
    stage = Stage()
    async with stage.publisher() as reply:
        reply.note("In the queue …")
        await settle()
        reply.finish("")
        await stage.whole(reply)
    assert stage.reading == []
    assert stage.ledger.pages == {}


async def test_controls() -> None:
    """The controls go with the frame: one kind while it grows, another at the end."""
    stage = Stage()
    async with stage.publisher(controls=(Control.STOP,)) as reply:
        reply.write("Hello")
        await settle()
        reply.finish(controls=(Control.RETRY,))
        await stage.whole(reply)
    assert [request.controls for request in stage.surface.requests] == [
        (Control.STOP,),
        (Control.RETRY,),
    ]


async def test_the_age_orders_the_edits_of_two_replies() -> None:
    """Of two replies that share a budget, the one with the older unseen text is edited first."""
    stage = Stage(lambda scope: Limit(1, 1.0) if scope == "global" else None)
    other = FakeSurface(
        rate_limiter=stage.rate_limiter, clock=stage.clock, platform=stage.surface.platform
    )
    first = stage.publisher()
    second = Publisher(surface=other, ledger=FakeLedger(), fence=FENCE, clock=stage.clock)
    async with first, second:
        first.write("one")
        await stage.clock.advance(1.1)
        second.write("two")
        await stage.clock.advance(1.1)
        second.write(" later")
        await stage.clock.advance(0.01)
        first.write(" latest")
        await stage.clock.advance(1.1)
        first.write("!")
        await stage.clock.advance(5)
        texts = [text for _, _, text in stage.surface.platform.versions]
    assert texts[:4] == ["one", "two", "two later", "one latest"]


# ── recovery ──────────────────────────────────────────────────────────────────────────────────
def crashed(texts: list[str]) -> Platform:
    """What an attempt that died left on the platform."""
    platform = Platform()
    for page, text in enumerate(texts):
        platform.post(page, text, 0.0)
    return platform


async def test_a_new_attempt_rewrites_what_an_earlier_one_left() -> None:
    """Pages are found again, the intended ones too; those that are not needed go at the end."""
    stage = Stage(lambda scope: None)
    stage.surface.platform = crashed(["Old text", "Old page two", "Old page three"])
    pages = (PageRecord(0, "m1", "c1"), PageRecord(1, "m2", "c1"), PageRecord(2, None))
    stage.ledger.pages = {0: "m1", 1: "m2", 2: None}
    async with stage.publisher(pages=pages) as reply:
        reply.write("New")
        await stage.clock.advance(1)
        assert stage.reading == ["New", "Old page two", "Old page three"]
        assert stage.ledger.pages[2] == "m3"
        reply.finish("New text")
        await stage.whole(reply)
    assert stage.reading == ["New text"]
    assert stage.ledger.pages == {0: "m1"}
    assert (Action.POST, 0) not in stage.actions


async def test_a_post_that_was_on_its_way_when_its_process_died_is_not_made_twice() -> None:
    """It lands after the new attempt has looked for it: it is looked for once more."""
    stage = Stage()
    async with stage.publisher(pages=(PageRecord(0, None),)) as reply:
        reply.write("New")
        await stage.clock.advance(LANDED / 2)
        assert stage.reading == []
        stage.surface.platform.post(0, "Old", stage.clock.monotonic())
        await stage.clock.advance(LANDED)
        assert stage.reading == ["New"]
        reply.finish("New text")
        await stage.whole(reply)
    assert stage.reading == ["New text"]
    assert stage.ledger.pages == {0: "m1"}
    assert stage.actions[0] == (Action.EDIT, 0)


@pytest.mark.parametrize("lands", [True, False])
async def test_what_lands_late_and_is_not_needed_any_more_goes(lands: bool) -> None:
    """The reply is shorter this time: no page more stays, on the screen or in the ledger."""
    stage = Stage()
    stage.surface.platform = crashed(["Old"])
    stage.ledger.pages = {0: "m1", 1: None}
    pages = (PageRecord(0, "m1", "c1"), PageRecord(1, None))
    async with stage.publisher(pages=pages) as reply:
        reply.finish("New text")
        await stage.clock.advance(LANDED / 2)
        if lands:
            stage.surface.platform.post(1, "Old page two", stage.clock.monotonic())
        await stage.whole(reply)
    assert stage.reading == ["New text"]
    assert stage.ledger.pages == {0: "m1"}


async def test_what_is_shown_is_not_taken_for_the_page_that_is_missing() -> None:
    """Where a message does not say which page it is, the surface is told which are known."""
    stage = Stage()
    stage.surface.platform = crashed(["Old"])
    stage.surface.nameless = True
    stage.ledger.pages = {0: "m1", 1: None}
    async with stage.publisher(pages=(PageRecord(0, "m1", "c1"), PageRecord(1, None))) as reply:
        reply.finish("New text")
        await stage.whole(reply)
    assert stage.reading == ["New text"]
    assert stage.ledger.pages == {0: "m1"}


async def test_a_post_of_unknown_outcome_that_is_not_needed_any_more_goes() -> None:
    """What was to be page two went up without an answer; at the end there is but one page."""
    stage = Stage()
    stage.surface.renderer = Measured(limit=20)
    async with stage.publisher() as reply:
        reply.write("One two three four")
        await stage.clock.advance(3)
        stage.surface.faults = [None, Unsettled("connection lost")]
        stage.surface.carried_out_all_the_same = True
        reply.write(" five six seven")
        await stage.clock.advance(1.5)
        assert len(stage.reading) == 2
        reply.finish("In short")
        await stage.whole(reply)
    assert stage.reading == ["In short"]
    assert stage.ledger.pages == {0: "m1"}


async def test_an_intended_page_that_was_never_posted() -> None:
    """Not found, it is posted: exactly once."""
    stage = Stage()
    stage.surface.recover_faults = [Unsettled("503")]
    async with stage.publisher(pages=(PageRecord(0, None),)) as reply:
        reply.finish("Text")
        await stage.whole(reply)
    assert stage.reading == ["Text"]
    assert stage.actions == [(Action.POST, 0)]
    assert ("intend", 0) not in stage.ledger.calls


# ── leaving ───────────────────────────────────────────────────────────────────────────────────
async def test_leaving_early_leaves_nothing_behind() -> None:
    """Cancelled in the middle, a reply lets its request end, closes, and leaves no task."""
    stage = Stage()
    stage.surface.latency = 2.0

    async def turn() -> None:
        async with stage.publisher() as reply:
            reply.write("one")
            await asyncio.Event().wait()

    task = asyncio.create_task(turn())
    await stage.clock.advance(1)
    task.cancel()
    await settle()
    assert not task.done()
    await stage.clock.advance(2)
    assert task.cancelled()
    assert stage.reading == ["one"]
    assert stage.surface.closed == 1
    assert stage.rate_limiter.waiting == 0
    assert not other_tasks()


async def test_a_close_that_hangs_is_left() -> None:
    """Clearing the signs of work has its limit in time, too."""
    stage = Stage()
    stage.surface.close_takes = 1_000.0

    async def turn() -> None:
        async with stage.publisher(close_limit=10.0) as reply:
            reply.finish("one")
            await reply.settled()

    task = asyncio.create_task(turn())
    await stage.clock.advance(9)
    assert not task.done()
    await stage.clock.advance(2)
    assert task.done()
    await settle()
    assert not other_tasks()


async def test_writing_is_cheap() -> None:
    """A write parses nothing and waits for nobody: ten thousand a second are a few percent."""
    stage = Stage()
    async with stage.publisher() as reply:
        frames = reply._document.frame
        for _ in range(10_000):
            reply.write("word ")
        assert reply._document.frame == frames
        assert reply.text == "word " * 10_000
        assert len(reply._unseen._marks) <= 1_024
