"""Each request begins with the whole request before it, except when the window moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.context.budgets import MAX_IMAGES
from bot.context.excerpts import HUGE, brief_tokens
from bot.domain.attachments import Extract, IncomingAttachment
from bot.domain.errors import ContextTooLong
from bot.domain.inbox import Address
from bot.domain.model import ChatRequest, Delta
from bot.domain.tokens import message_tokens
from tests.support.content_kit import PNG, file
from tests.support.core_kit import World, until, world_at
from tests.support.long_conversation import (
    answer_with_usage,
    converse,
    one_message_a_turn,
    prefix_share,
    prose,
    serialize,
)
from tests.support.store_kit import ANN, look, said

BUDGET = 12_000
TURNS = 50


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path / "store.db", context_tokens=BUDGET) as world:
        answer_with_usage(world)
        yield world


def positions(world: World) -> list[tuple[int, int]]:
    return look(world.path, "SELECT start_idx, stubs_before FROM context_windows")  # type: ignore[return-value]


async def fill(world: World, words: int = 60) -> int:
    """Talk until the window has moved; returns the next turn's number."""
    number = 1
    while not positions(world):
        await converse(world, number, 1, words=words)
        number += 1
    return number


def is_huge(request: ChatRequest) -> bool:
    """Whether the question costs its turn some history: some questions ask for many files again."""
    return message_tokens(request.messages[-1]) > HUGE * brief_tokens(BUDGET)


@pytest.mark.parametrize("mixed", [False, True], ids=["one person", "two people and files"])
async def test_ninety_percent_of_fifty_turns_stand_in_a_known_beginning(
    world: World, mixed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    first = await fill(world)
    asked, moves, before = len(world.model.requests), 0, positions(world)
    for turn in range(first, first + TURNS):
        await converse(world, turn, 1, mixed=mixed)
        older, newer = (serialize(r.messages) for r in world.model.requests[-2:])
        if positions(world) == before and not any(map(is_huge, world.model.requests[-2:])):
            assert newer.startswith(older), f"turn {turn}"
        moves, before = moves + (positions(world) != before), positions(world)
    requests = world.model.requests[asked - 1 :]
    share = prefix_share(requests)
    old = prefix_share(one_message_a_turn(world.model.requests, int(BUDGET / 0.8))[asked - 1 :])
    with capsys.disabled():
        print(f"\nknown beginnings: {share:.1%}, by the older rule {old:.1%}; {moves} moves")
    assert len(requests) == TURNS + 1
    assert 1 <= moves <= 4
    assert share >= 0.9
    assert old < 0.5
    sizes = [sum(map(message_tokens, request.messages)) for request in requests]
    assert max(sizes) > BUDGET  # the provider counts fewer tokens than we estimate
    assert max(sizes) <= 1.01 * BUDGET / 0.8


async def test_a_moved_window_keeps_seventy_percent(world: World) -> None:
    await fill(world, words=600)
    expected = 0.8 * sum(map(message_tokens, world.model.requests[-1].messages))
    assert 0.5 * BUDGET <= expected <= 0.72 * BUDGET
    first = world.model.requests[-1].messages[1]
    assert first.author == ANN  # a person's message, with its whole question


async def test_a_crash_repeats_the_same_request(tmp_path: Path) -> None:
    """The positions are stored before the request is sent."""
    path = tmp_path / "store.db"
    async with world_at(path, context_tokens=BUDGET) as world:
        number = 1
        while not positions(world):
            await world.ask(number, prose(900, number), address=Address.MENTION)
            number += 1
        sent = serialize(world.model.requests[-1].messages)
    async with world_at(path, context_tokens=BUDGET) as world:
        await world.command("retry")
        await world.idle()
        assert serialize(world.model.requests[-1].messages) == sent


async def test_a_smaller_model_of_a_chain_shortens_only_its_own_turn(world: World) -> None:
    """The refusal names the fallback; the next turn has the full window again."""
    world.model.name = "large,small"
    await converse(world, 1, 4, words=900)
    usual, answers = world.model.script, iter([True])

    def refuse_once() -> object:
        if next(answers, False):
            return (ContextTooLong(model="small", window=4_000),)
        assert usual is not None
        return usual()

    world.model.script = refuse_once  # type: ignore[assignment]
    await converse(world, 5, 1)
    refused, smaller = (sum(map(message_tokens, r.messages)) for r in world.model.requests[-2:])
    assert smaller <= 4_000 < refused
    assert positions(world) == []
    await converse(world, 6, 1)
    newest = serialize(world.model.requests[-1].messages)
    assert newest.startswith(serialize(world.model.requests[-3].messages))


async def test_a_window_that_the_first_model_refused_stays_smaller(world: World) -> None:
    await converse(world, 1, 4, words=900)
    usual, answers = world.model.script, iter([True])

    def refuse_once() -> object:
        if next(answers, False):
            return (ContextTooLong(model="scripted", window=4_000),)
        assert usual is not None
        return usual()

    world.model.script = refuse_once  # type: ignore[assignment]
    await converse(world, 5, 3)
    moved = [len(request.messages) for request in world.model.requests[-3:]]
    assert positions(world) != []
    assert moved == sorted(moved)
    older, newer = (serialize(r.messages) for r in world.model.requests[-2:])
    assert newer.startswith(older)


@pytest.mark.parametrize("form", ["question", "answer", "paste", "aside"])
async def test_one_huge_message_costs_a_full_window_no_older_message(
    world: World, form: str
) -> None:
    """Its turn may have less history; later turns keep the beginning and end of the message."""
    await converse(world, 1, 1)
    while sum(map(message_tokens, world.model.requests[-1].messages)) < 0.75 * BUDGET:
        await converse(world, len(world.model.requests) + 1, 1, words=300)
    kept = world.model.requests[-1].messages[1].content
    await send_huge(world, form, "huge " * 12_000)
    for turn in range(100, 103):
        await converse(world, turn, 1)
        newest = world.model.requests[-1].messages
        assert newest[1].content == kept
        assert any("huge" in each.content for each in newest)
        assert sum(map(message_tokens, newest)) <= BUDGET / 0.8
    assert look(world.path, "SELECT start_idx FROM context_windows") in ([], [(0,)])


async def send_huge(world: World, form: str, text: str) -> None:
    """Send a huge `text` as a question, or as an answer."""
    usual = world.model.script
    if form == "paste":
        world.adapter.files["paste"] = text.encode()
        paste = file("paste", is_paste=True)
        await world.inbox.receive(said(900, "", attachments=(paste,)))
    elif form == "answer":
        world.model.script = lambda: (Delta(text), Delta(finish_reason="stop"))
        await world.ask(900, "huge?")
    elif form == "aside":
        await world.ask(899, text, address=Address.ASIDE)
        await world.ask(900, "huge?")
    else:
        await world.ask(900, text)
    await world.idle()
    world.model.script = usual


async def test_a_server_that_refuses_a_huge_question_moves_no_window(world: World) -> None:
    """The server names no window, so the question is to blame and not the history."""
    await converse(world, 1, 4, words=600)
    usual, answers = world.model.script, iter([True])
    world.model.script = lambda: (  # type: ignore[assignment]
        (ContextTooLong(),) if next(answers, False) else usual and usual()
    )
    await world.ask(900, "huge " * 12_000)
    await converse(world, 100, 1)
    assert len(world.model.requests[-1].messages) == 12
    assert positions(world) in ([], [(0, 10)])


async def test_a_count_of_a_part_of_the_request_is_neither_learned_nor_stored(
    world: World,
) -> None:
    """The server silently drops the beginning of a request that is too long for it."""
    await converse(world, 1, 3, words=900)
    answer_with_usage(world, ratio=0.35)
    await converse(world, 4, 2, words=900)
    answer_with_usage(world)
    counts = look(world.path, "SELECT input_tokens > 0, estimated_tokens > 0 FROM turns")
    assert counts == [(1, 1)] * 3 + [(1, None)] * 2
    state = await world.store.contexts().read_state(1, epoch=1, model="scripted")
    assert state.last is not None
    assert state.last.counted == pytest.approx(0.8 * state.last.estimated, rel=0.01)


async def test_one_huge_question_moves_no_window(world: World) -> None:
    """Its turn has less history; the next turn has all of it, and the beginning and end of the
    question."""
    await converse(world, 1, 3)
    await world.ask(900, "huge " * 12_000)
    huge = world.model.requests[-1].messages
    assert len(huge) == 2
    await converse(world, 100, 1)
    assert positions(world) == []
    texts = [message.content for message in world.model.requests[-1].messages]
    assert len(texts) == 10
    assert "characters are left out here" in texts[7]


async def test_images_leave_in_steps(world: World) -> None:
    for number in range(1, 31):
        name = f"{number}.png"
        world.adapter.files[name] = PNG + name.encode()
        await world.inbox.receive(said(number, "and this?", attachments=(file(name),)))
        await world.idle()
    counts = [sum(len(m.parts) for m in r.messages) for r in world.model.requests]
    assert counts[:20] == list(range(1, 21))
    assert counts[20:] == [14, 15, 16, 17, 18, 19, 20, 14, 15, 16]


async def test_an_upgraded_conversation_reads_only_its_newest_files(world: World) -> None:
    """Its window has never moved, and thousands of images must not be in memory together."""
    await world.ask(1, "begin")
    for number in range(2, 74):
        name = f"{number}.png"
        shot = IncomingAttachment(name=name, data=PNG + name.encode())
        await world.inbox.receive(said(number, "look", address=Address.ASIDE, attachments=(shot,)))
    pending = "SELECT count(*) FROM attachments WHERE state = 'pending'"
    await until(lambda: look(world.path, pending) == [(0,)])
    read, attachments = [], world.content.ports.store
    usual = attachments.read_extract

    async def record(digest: str) -> Extract | None:
        read.append(digest)
        return await usual(digest)

    attachments.read_extract = record  # type: ignore[method-assign]
    await world.ask(300, "which one?")
    await world.ask(301, "sure?")
    counts = [sum(len(m.parts) for m in r.messages) for r in world.model.requests[-2:]]
    assert counts == [MAX_IMAGES, 14]  # the newest; then, as old messages, in one step
    assert len(world.model.requests[-1].messages) == 6  # no message has left
    assert len(set(read)) <= 60


async def test_a_conversation_of_one_has_no_names_and_a_channels_has_them_from_the_first(
    world: World,
) -> None:
    await world.ask(1, "hi", address=Address.DIRECT)
    await world.ask(2, "more", address=Address.DIRECT)
    assert world.named_contents()[0] == "hi"


async def test_the_first_message_in_a_channel_has_its_authors_name(world: World) -> None:
    await world.ask(1, "hi", address=Address.MENTION)
    assert world.named_contents() == ["Ann: hi"]
