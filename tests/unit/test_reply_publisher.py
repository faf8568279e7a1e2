"""A reply on a surface that works: pace, pages, recovery, cancellation."""

from __future__ import annotations

import asyncio

import pytest

from bot.domain.errors import Unsettled
from bot.domain.replies import Action, Control, Limit, Priority
from bot.domain.turns import PageRecord
from bot.replies.delivery import IN_FLIGHT_SECONDS
from bot.replies.publisher import Publisher
from tests.support.clock import settle
from tests.support.reply_rig import FENCE, ReplyRig
from tests.support.surfaces import FakeLedger, FakeSurface, PlainRenderer, Platform, other_tasks


# ── publishing ────────────────────────────────────────────────────────────────────────────────
async def test_the_first_text_is_immediate_and_edits_follow_evenly() -> None:
    """At the end the whole text is shown."""
    rig = ReplyRig()
    async with rig.publisher() as reply:
        reply.write("Hello")
        await settle()
        assert rig.messages == ["Hello"]
        for word in range(30):
            reply.write(f" w{word}")
            await rig.clock.advance(0.1)
        assert len(rig.surface.requests) == 3  # at 0 s, and one in each even step after it
        reply.finish()
        await rig.wait_shown(reply, 1.25)
    assert rig.messages == [reply.text]
    assert reply.text.endswith("w29")
    assert rig.surface.most_in_flight == 1
    assert (rig.surface.opened, rig.surface.closed) == (1, 1)
    assert rig.rate_limiter.counters.granted == {
        Priority.FIRST: 1,
        Priority.INTERIM: 2,
        Priority.FINAL: 1,
    }


async def test_one_request_in_flight_and_the_newest_frame_wins() -> None:
    """On a slow platform edits never overlap, and each sends all text received so far."""
    rig = ReplyRig(lambda scope: None)
    rig.surface.latency = 0.7
    async with rig.publisher() as reply:
        for word in range(20):
            reply.write(f"w{word} ")
            await rig.clock.advance(0.1)
        reply.finish()
        await rig.wait_shown(reply)
    assert rig.surface.most_in_flight == 1
    assert len(rig.surface.requests) == 4
    assert rig.messages == [reply.text.rstrip()]


async def test_unseen_text_ages_until_it_is_on_the_screen_and_the_first_text_is_told_once() -> None:
    """On a platform that hangs, text ages even while a request is in flight."""
    rig, first = ReplyRig(), list[float]()
    began = rig.clock.monotonic()
    async with rig.publisher(on_visible=lambda: first.append(rig.clock.monotonic())) as reply:
        reply.note("thinking")
        await rig.clock.advance(1)
        assert (first, reply.unseen_since) == ([], None)  # a note is no text
        rig.surface.latency = 9.0
        reply.write("Hello ")
        await rig.clock.advance(5)
        assert (first, reply.unseen_since) == ([], began + 1)
        reply.write("world ")
        await rig.clock.advance(5)
        assert len(first) == 1 and reply.unseen_since == began + 6
        rig.surface.latency = 0.0
        await rig.clock.advance(20)
        reply.finish()
        await rig.wait_shown(reply)
        assert (len(first), reply.unseen_since) == (1, None)


async def test_the_end_does_not_wait_for_the_next_interim_edit() -> None:
    rig = ReplyRig(lambda scope: Limit(5, 5.0) if scope.startswith("channel") else None)
    async with rig.publisher() as reply:
        reply.write("Hello")
        await settle()
        reply.write(" world")
        await rig.clock.advance(0.3)
        assert rig.messages == ["Hello"]
        reply.finish()
        await rig.wait_shown(reply, 0)
    assert rig.messages == ["Hello world"]


async def test_pages_are_posted_in_order_after_their_ledger_entries() -> None:
    """A long reply continues in further messages."""
    rig = ReplyRig()
    rig.surface.renderer = PlainRenderer(100)
    text = "\n\n".join(f"Paragraph {number} has a few words." for number in range(12))
    async with rig.publisher() as reply:
        for start in range(0, len(text), 17):
            reply.write(text[start : start + 17])
            await rig.clock.advance(0.2)
        reply.finish()
        await rig.wait_shown(reply)
    assert "\n\n".join(rig.messages) == text
    calls = rig.ledger.calls
    for page in range(len(rig.messages)):
        assert calls.index(("intend", page)) < calls.index(("shown", page))
    assert list(rig.ledger.pages.values()) == [f"m{n + 1}" for n in range(len(rig.messages))]


async def test_a_long_reply_in_one_piece_is_shown_in_order() -> None:
    """All fifty pages."""
    rig = ReplyRig(lambda scope: None)
    rig.surface.renderer = PlainRenderer(120)
    text = "\n\n".join(f"Paragraph {number} of a long reply, with words." for number in range(120))
    async with rig.publisher() as reply:
        reply.finish(text)
        await rig.wait_shown(reply)
    assert "\n\n".join(rig.messages) == text
    assert all(action is Action.POST for action, _ in rig.actions)


async def test_a_note_is_shown_until_the_first_text() -> None:
    """The first text replaces it in the same message."""
    rig = ReplyRig()
    async with rig.publisher() as reply:
        reply.note("In the queue …")
        await settle()
        assert rig.messages == ["In the queue …"]
        assert reply.first_visible_at is None
        await rig.clock.advance(3)
        reply.write("Here")
        await settle()
        assert rig.messages == ["Here"]
        reply.finish("Here.\n\n*Stopped.*")
        await rig.wait_shown(reply)
    assert rig.messages == ["Here.\n\n*Stopped.*"]
    assert reply.first_visible_at == pytest.approx(rig.clock.monotonic() - 1, abs=0.3)
    assert reply.complete_at is not None


async def test_a_reply_without_text_removes_its_note() -> None:
    rig = ReplyRig()
    async with rig.publisher() as reply:
        reply.note("In the queue …")
        await settle()
        reply.finish("")
        await rig.wait_shown(reply)
    assert rig.messages == []
    assert rig.ledger.pages == {}


async def test_controls_change_at_the_end() -> None:
    rig = ReplyRig()
    async with rig.publisher(controls=(Control.STOP,)) as reply:
        reply.write("Hello")
        await settle()
        reply.finish(controls=(Control.RETRY,))
        await rig.wait_shown(reply)
    assert [request.controls for request in rig.surface.requests] == [
        (Control.STOP,),
        (Control.RETRY,),
    ]


async def test_the_reply_with_the_oldest_unseen_text_is_edited_first() -> None:
    """Two replies share a budget."""
    rig = ReplyRig(lambda scope: Limit(1, 1.0) if scope == "global" else None)
    other = FakeSurface(
        rate_limiter=rig.rate_limiter, clock=rig.clock, platform=rig.surface.platform
    )
    first = rig.publisher()
    second = Publisher(surface=other, ledger=FakeLedger(), fence=FENCE, clock=rig.clock)
    async with first, second:
        first.write("one")
        await rig.clock.advance(1.1)
        second.write("two")
        await rig.clock.advance(1.1)
        second.write(" later")
        await rig.clock.advance(0.01)
        first.write(" latest")
        await rig.clock.advance(1.1)
        first.write("!")
        await rig.clock.advance(5)
        texts = [text for _, _, text in rig.surface.platform.versions]
    assert texts[:4] == ["one", "two", "two later", "one latest"]


# ── recovery ──────────────────────────────────────────────────────────────────────────────────
def crashed(texts: list[str]) -> Platform:
    """The messages that a crashed attempt left on the platform."""
    platform = Platform()
    for page, text in enumerate(texts):
        platform.post(page, text, 0.0)
    return platform


async def test_a_new_attempt_rewrites_the_pages_of_an_earlier_one() -> None:
    """Intended pages are found too; surplus pages are removed at the end."""
    rig = ReplyRig(lambda scope: None)
    rig.surface.platform = crashed(["Old text", "Old page two", "Old page three"])
    pages = (PageRecord(0, "m1", "c1"), PageRecord(1, "m2", "c1"), PageRecord(2, None))
    rig.ledger.pages = {0: "m1", 1: "m2", 2: None}
    async with rig.publisher(pages=pages) as reply:
        reply.write("New")
        await rig.clock.advance(1)
        assert rig.messages == ["New", "Old page two", "Old page three"]
        assert rig.ledger.pages[2] == "m3"
        reply.finish("New text")
        await rig.wait_shown(reply)
    assert rig.messages == ["New text"]
    assert rig.ledger.pages == {0: "m1"}
    assert (Action.POST, 0) not in rig.actions


async def test_a_post_in_flight_when_its_process_died_is_not_repeated() -> None:
    """The post arrives after the first search and is found by the second one."""
    rig = ReplyRig()
    async with rig.publisher(pages=(PageRecord(0, None),)) as reply:
        reply.write("New")
        await rig.clock.advance(IN_FLIGHT_SECONDS / 2)
        assert rig.messages == []
        rig.surface.platform.post(0, "Old", rig.clock.monotonic())
        await rig.clock.advance(IN_FLIGHT_SECONDS)
        assert rig.messages == ["New"]
        reply.finish("New text")
        await rig.wait_shown(reply)
    assert rig.messages == ["New text"]
    assert rig.ledger.pages == {0: "m1"}
    assert rig.actions[0] == (Action.EDIT, 0)


@pytest.mark.parametrize("lands", [True, False])
async def test_a_late_surplus_page_is_removed(lands: bool) -> None:
    """The new reply is shorter; the page leaves the screen and the ledger."""
    rig = ReplyRig()
    rig.surface.platform = crashed(["Old"])
    rig.ledger.pages = {0: "m1", 1: None}
    pages = (PageRecord(0, "m1", "c1"), PageRecord(1, None))
    async with rig.publisher(pages=pages) as reply:
        reply.finish("New text")
        await rig.clock.advance(IN_FLIGHT_SECONDS / 2)
        if lands:
            rig.surface.platform.post(1, "Old page two", rig.clock.monotonic())
        await rig.wait_shown(reply)
    assert rig.messages == ["New text"]
    assert rig.ledger.pages == {0: "m1"}


async def test_a_known_message_is_not_mistaken_for_a_missing_page() -> None:
    """Where messages do not name their page, the surface gets the known ones."""
    rig = ReplyRig()
    rig.surface.platform = crashed(["Old"])
    rig.surface.anonymous_messages = True
    rig.ledger.pages = {0: "m1", 1: None}
    async with rig.publisher(pages=(PageRecord(0, "m1", "c1"), PageRecord(1, None))) as reply:
        reply.finish("New text")
        await rig.wait_shown(reply)
    assert rig.messages == ["New text"]
    assert rig.ledger.pages == {0: "m1"}


async def test_a_surplus_post_with_an_unknown_outcome_is_removed() -> None:
    """Page two was posted without an answer, but the final reply has one page."""
    rig = ReplyRig()
    rig.surface.renderer = PlainRenderer(limit=20)
    async with rig.publisher() as reply:
        reply.write("One two three four")
        await rig.clock.advance(3)
        rig.surface.faults = [None, Unsettled("connection lost")]
        rig.surface.faults_after_success = True
        reply.write(" five six seven")
        await rig.clock.advance(1.5)
        assert len(rig.messages) == 2
        reply.finish("In short")
        await rig.wait_shown(reply)
    assert rig.messages == ["In short"]
    assert rig.ledger.pages == {0: "m1"}


async def test_an_intended_page_that_was_never_posted_is_posted_once() -> None:
    rig = ReplyRig()
    rig.surface.recover_faults = [Unsettled("503")]
    async with rig.publisher(pages=(PageRecord(0, None),)) as reply:
        reply.finish("Text")
        await rig.wait_shown(reply)
    assert rig.messages == ["Text"]
    assert rig.actions == [(Action.POST, 0)]
    assert ("intend", 0) not in rig.ledger.calls


# ── cancellation ──────────────────────────────────────────────────────────────────────────────
async def test_a_cancelled_reply_leaves_no_task() -> None:
    """The reply's request in flight ends, and its surface is closed."""
    rig = ReplyRig()
    rig.surface.latency = 2.0

    async def turn() -> None:
        async with rig.publisher() as reply:
            reply.write("one")
            await asyncio.Event().wait()

    task = asyncio.create_task(turn())
    await rig.clock.advance(1)
    task.cancel()
    await settle()
    assert not task.done()
    await rig.clock.advance(2)
    assert task.cancelled()
    assert rig.messages == ["one"]
    assert rig.surface.closed == 1
    assert rig.rate_limiter.waiting == 0
    assert not other_tasks()


async def test_a_hanging_close_is_abandoned() -> None:
    rig = ReplyRig()
    rig.surface.close_takes = 1_000.0

    async def turn() -> None:
        async with rig.publisher(close_limit=10.0) as reply:
            reply.finish("one")
            await reply.wait_until_shown()

    task = asyncio.create_task(turn())
    await rig.clock.advance(9)
    assert not task.done()
    await rig.clock.advance(2)
    assert task.done()
    await settle()
    assert not other_tasks()


async def test_writing_is_cheap() -> None:
    """A write neither parses nor waits."""
    rig = ReplyRig()
    async with rig.publisher() as reply:
        frames = reply._document.frame
        for _ in range(10_000):
            reply.write("word ")
        assert reply._document.frame == frames
        assert reply.text == "word " * 10_000
        assert len(reply._content._unseen._marks) <= 1_024
