"""A reply on a surface, with everything that can fail, on a clock that the test drives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bot.domain import Action, Control, Fence, Limit, PageRecord, Priority
from bot.errors import Gone, LostOwnership, Refused, StoreUnavailable, Throttled, Unsettled
from bot.reply.pacer import Pacer
from bot.reply.publisher import Publisher
from tests.clock import ManualClock, settle
from tests.surfaces import FakeLedger, FakeSurface, Measured, Platform, other_tasks

FENCE = Fence(turn=7, attempt=1)


def a_second(scope: str) -> Limit | None:
    """One edit a second in a channel; as many as one likes elsewhere."""
    return Limit(5, 5.0, spacing=1.0) if scope.startswith("channel") else None


class Stage:
    """A publisher with everything around it."""

    def __init__(self, limits: Callable[[str], Limit | None] = a_second) -> None:
        self.clock = ManualClock()
        self.pacer = Pacer(limits, self.clock)
        self.surface = FakeSurface(grants=self.pacer, clock=self.clock)
        self.ledger = FakeLedger()

    def publisher(self, **options: object) -> Publisher:
        return Publisher(
            surface=self.surface,
            ledger=self.ledger,
            fence=FENCE,
            clock=self.clock,
            **options,  # type: ignore[arg-type]
        )

    @property
    def reading(self) -> list[str]:
        return self.surface.platform.reading

    @property
    def actions(self) -> list[tuple[Action, int]]:
        return [(request.action, request.page) for request in self.surface.requests]

    async def whole(self, reply: Publisher, seconds: float = 60.0) -> None:
        """Let the finished reply settle, at most so long; raises what `settled` raises."""
        settled = asyncio.create_task(reply.settled())
        await settle()
        while not settled.done() and seconds > 0:
            await self.clock.advance(0.25)
            seconds -= 0.25
        assert settled.done(), "the reply did not settle"
        await settled


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
    assert stage.pacer.counters.granted == {
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
    other = FakeSurface(grants=stage.pacer, clock=stage.clock, platform=stage.surface.platform)
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
    assert stage.pacer.counters.throttled == {"channel:1": 1}


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
        await stage.ledger.intend(FENCE, 0)
        reply._delivery._intended.add(0)
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


async def test_a_reply_that_is_left_while_its_ledger_fails_leaves_no_task() -> None:
    stage = Stage()
    async with stage.publisher() as reply:
        await stage.ledger.intend(FENCE, 0)
        reply._delivery._intended.add(0)
        stage.ledger.faults = [StoreUnavailable("locked")] * 100
        reply.write("one")
        await stage.clock.advance(5)
        assert stage.reading == ["one"]
    await settle()
    assert other_tasks() == set()


async def test_a_newer_attempt_is_noticed_also_by_what_was_to_be_recorded_later() -> None:
    stage = Stage()
    async with stage.publisher() as reply:
        await stage.ledger.intend(FENCE, 0)
        reply._delivery._intended.add(0)
        stage.ledger.faults = [StoreUnavailable("locked")] * 2
        reply.write("one")
        await settle()
        stage.ledger.attempt = 2
        await stage.clock.advance(5)
        reply.finish("one and more")
        with pytest.raises(LostOwnership):
            await stage.whole(reply)


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
    assert stage.pacer.waiting == 0
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
        assert len(reply._ages._marks) <= 1_024
