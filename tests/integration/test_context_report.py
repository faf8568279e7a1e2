"""The description of the next request equals the request sent afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.context.context_ports import TurnOptions
from bot.context.report import WindowReporter
from bot.domain.context import ContextPartKind, ContextReport, Summary
from bot.domain.inbox import Address
from bot.domain.tokens import message_tokens
from tests.support.catalog import FixedCatalog
from tests.support.content_kit import context_of, file
from tests.support.core_kit import CLOCK, World, world_at
from tests.support.long_conversation import answer_with_usage, converse
from tests.support.store_kit import key

BUDGET = 4_000


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path / "store.db", context_tokens=BUDGET) as world:
        yield world


def reporter_of(world: World) -> WindowReporter:
    options = TurnOptions(system_prompt="Be brief.", context_tokens=BUDGET)
    return WindowReporter(
        ports=context_of(world.store, CLOCK, options),
        models=FixedCatalog(world.model, {}),
        attachments=world.store.attachments(),
    )


async def report_of(world: World) -> ContextReport:
    report = await reporter_of(world).report(key())
    assert report is not None
    return report


def tokens(report: ContextReport) -> dict[ContextPartKind, tuple[int, int]]:
    return {part.kind: (part.tokens, part.count) for part in report.parts}


async def test_there_is_no_report_without_a_conversation(world: World) -> None:
    assert await reporter_of(world).report(key("nowhere")) is None


async def test_the_parts_are_those_of_the_next_request(world: World) -> None:
    text = b"a line of the log\n" * 40
    world.adapter.files["a.log"] = text
    await world.ask(1, "why?", attachments=(file("a.log"),))
    report = await report_of(world)
    parts = tokens(report)
    assert parts[ContextPartKind.MESSAGES][1] == 2
    assert parts[ContextPartKind.FILES] == (pytest.approx(len(text) // 3, rel=0.2), 1)
    assert (report.model, report.budget, report.window) == ("scripted", BUDGET, None)
    await world.ask(2, "?", address=Address.FOLLOW_UP)
    sent = sum(map(message_tokens, world.model.requests[-1].messages))
    assert report.tokens == pytest.approx(sent, abs=15)  # the question itself


async def test_messages_outside_are_counted_as_summarized_or_left_out(world: World) -> None:
    answer_with_usage(world)
    await converse(world, 1, 30)
    contexts = world.store.contexts()
    state = await contexts.read_state(1, epoch=1, model="scripted")
    assert state.start > 10
    left = await report_of(world)
    assert (left.summarized, left.left_out, left.cached_tokens) == (0, state.start, None)
    summary = Summary("They spoke about a deploy.", 10, "scripted")
    assert await contexts.save_summary(1, epoch=1, revision=state.revision, summary=summary)
    report = await report_of(world)
    assert (report.summarized, report.left_out) == (10, state.start - 10)
    assert report.summary == summary.text
    assert ContextPartKind.SUMMARY in tokens(report)
    assert report.tokens <= BUDGET


async def test_a_report_moves_nothing_and_stores_nothing(world: World) -> None:
    await converse(world, 1, 4)
    before = await world.store.contexts().read_state(1, epoch=1, model="scripted")
    await report_of(world)
    assert await world.store.contexts().read_state(1, epoch=1, model="scripted") == before


async def test_a_summary_that_takes_too_much_of_the_budget_is_not_sent(world: World) -> None:
    await converse(world, 1, 2)
    contexts = world.store.contexts()
    huge = Summary("word " * BUDGET, 2, "scripted")
    assert await contexts.save_summary(1, epoch=1, revision=0, summary=huge)
    report = await report_of(world)
    assert report.summary == ""
    assert (report.summarized, report.left_out) == (0, 2)
