"""The contract of `bot.ports.platform.Surface`, which every platform's surface must pass."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.domain.errors import Gone, PlatformError, Refused, Throttled, Unsettled
from bot.domain.replies import Control, Frame, Shown
from bot.domain.turns import PageRecord
from bot.ports.platform import Surface
from tests.support.discord_kit import frame
from tests.support.surface_harnesses import ALL, EDITING, SurfaceHarness
from tests.support.surfaces import other_tasks


@pytest.fixture(params=ALL)
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[SurfaceHarness]:
    async with ALL[request.param]() as harness:
        yield harness


@pytest.fixture(params=EDITING)
async def editing(request: pytest.FixtureRequest) -> AsyncIterator[SurfaceHarness]:
    async with EDITING[request.param]() as harness:
        yield harness


async def show(surface: Surface, shown: Shown, wanted: Frame) -> Shown:
    """Perform requests until the surface plans no more."""
    while (request := surface.plan(shown, wanted)) is not None:
        shown = await surface.perform(request, shown)
    return shown


# ── every surface ─────────────────────────────────────────────────────────────────────────────
async def test_a_reply_grows_to_its_final_text(harness: SurfaceHarness) -> None:
    surface, shown = harness.surface(), Shown()
    await surface.open()
    for text in ("One", "One two", "One two."):
        shown = await show(surface, shown, frame(text))
        assert await harness.texts() == [text]
    await show(surface, shown, frame("One two.", final=True))
    await surface.close()
    assert await harness.texts() == ["One two."]


async def test_nothing_is_planned_for_a_frame_that_is_shown(harness: SurfaceHarness) -> None:
    surface, wanted = harness.surface(), frame("One.", final=True)
    await surface.open()
    shown = await show(surface, Shown(), wanted)
    assert surface.plan(shown, wanted) is None
    await surface.close()


async def test_planning_is_pure(harness: SurfaceHarness) -> None:
    surface, wanted = harness.surface(), frame("One.")
    first = surface.plan(Shown(), wanted)
    assert first is not None and surface.plan(Shown(), wanted) == first


async def test_opening_may_be_repeated_and_closing_leaves_no_task(harness: SurfaceHarness) -> None:
    before = other_tasks()
    surface = harness.surface()
    await surface.open()
    await surface.open()
    await surface.close()
    assert {task for task in other_tasks() - before if task.get_name() == "typing"} == set()


async def test_a_surface_that_was_never_opened_can_be_closed(harness: SurfaceHarness) -> None:
    await harness.surface().close()


# ── surfaces whose messages can be edited ─────────────────────────────────────────────────────
async def test_a_reply_grows_over_pages(editing: SurfaceHarness) -> None:
    surface, shown = editing.surface(), Shown()
    await surface.open()
    for texts in (["One"], ["One two.", "Thr"], ["One two.", "Three."]):
        shown = await show(surface, shown, frame(*texts))
        assert await editing.texts() == texts
    await surface.close()


async def test_controls_are_shown_until_the_end(editing: SurfaceHarness) -> None:
    surface = editing.surface()
    await surface.open()
    shown = await show(surface, Shown(), frame("text", controls=(Control.STOP,)))
    assert await editing.buttons() == [1]
    await show(surface, shown, frame("text", final=True))
    assert await editing.buttons() == [0]
    await surface.close()


async def test_unneeded_pages_are_removed(editing: SurfaceHarness) -> None:
    """Even if a person has already deleted one."""
    surface = editing.surface()
    await surface.open()
    shown = await show(surface, Shown(), frame("One.", "Two.", "Three."))
    await editing.delete(shown.pages[1].message_id)
    await show(surface, shown, frame("Only this.", final=True))
    assert await editing.texts() == ["Only this."]
    await surface.close()


async def test_the_next_attempt_finds_recorded_and_unrecorded_pages(
    editing: SurfaceHarness,
) -> None:
    """A page that was intended but never posted is not found."""
    crashed = editing.surface()
    await crashed.open()
    recorded, unrecorded = (await show(crashed, Shown(), frame("one", "two"))).pages
    await crashed.close()
    surface = editing.surface(attempt=2)
    await surface.open()
    found = await surface.recover(
        [
            PageRecord(0, recorded.message_id, recorded.channel),
            PageRecord(1, None),
            PageRecord(2, None),
        ]
    )
    assert {page.number: page.message_id for page in found.pages} == {
        0: recorded.message_id,
        1: unrecorded.message_id,
    }
    await show(surface, found, frame("ONE", final=True))
    assert await editing.texts() == ["ONE"]
    await surface.close()


@pytest.mark.parametrize("error", [Throttled, Gone, Refused, Unsettled])
async def test_failures_are_translated(editing: SurfaceHarness, error: type[PlatformError]) -> None:
    """And the surface can be closed afterwards."""
    surface = editing.surface()
    await surface.open()
    await editing.fault_post(error)
    with pytest.raises(PlatformError) as caught:
        await show(surface, Shown(), frame("Text."))
    assert type(caught.value) is error
    if isinstance(caught.value, Throttled):
        assert caught.value.retry_after == 9
    await surface.close()


async def test_a_deleted_page_is_gone(editing: SurfaceHarness) -> None:
    surface = editing.surface()
    await surface.open()
    shown = await show(surface, Shown(), frame("Half"))
    await editing.delete(shown.pages[0].message_id)
    with pytest.raises(Gone):
        await show(surface, shown, frame("Whole.", final=True))
    await surface.close()
