"""The core with a database that fails for a while, and with a history that is too long.

No accepted message is lost, sent to the model twice, or shown wrongly.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bot.common.retry import Backoff
from bot.context.roles import UNSAID
from bot.domain import texts
from bot.domain.errors import ContextTooLong, StoreUnavailable
from bot.domain.inbox import Address, Receipt
from bot.domain.model import Delta
from tests.support.core_kit import World, until, world_of
from tests.support.store_kit import BEN, key, look, opened, said


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A world whose database does not wait for locks."""
    path = tmp_path / "threadline.db"
    async with opened(path, busy_timeout=0.01) as store:
        world = world_of(path, store)
        yield world
        await world.scheduler.drain(5)
        await world.inbox.aclose()


@contextmanager
def locked(world: World) -> Iterator[None]:
    """A block within which another program holds the database's lock."""
    with closing(sqlite3.connect(world.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def test_an_answer_that_cannot_be_stored_is_kept_in_memory(world: World) -> None:
    """The model is asked once; until then its text is shown without the final edit."""
    world.model.hold = asyncio.Event()
    world.model.pieces = (Delta("One answer"), Delta(" only."), Delta(finish_reason="stop"))
    await world.inbox.receive(said(1))
    await until(lambda: world.shown() == ["One answer"])
    with locked(world):
        world.model.hold.set()
        await until(lambda: world.shown() == ["One answer only."])
        await until(lambda: not world.store.health().ok)
        assert world.outcomes() == [(None, None)]
        assert world.scheduler.busy == 1
    await world.idle()
    assert world.outcomes() == [("answered", None)]
    assert world.shown() == ["One answer only."]
    assert len(world.model.requests) == 1
    assert look(world.path, "SELECT attempt, state FROM turns") == [(1, "done")]


async def test_a_question_accepted_before_the_lock_is_answered_after_it(world: World) -> None:
    """Failing to claim its turn does not count as an attempt."""
    accepted = await world.store.accept(said(1))
    assert accepted.conversation is not None
    with locked(world):
        world.scheduler.wake(accepted.conversation)
        await asyncio.sleep(0.5)
        assert world.model.requests == []
    await world.idle()
    assert look(world.path, "SELECT attempt, outcome FROM turns") == [(1, "answered")]


async def test_unfinished_turns_are_looked_up_until_the_database_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise they would wait for the next start."""
    await world.store.accept(said(1))
    read, failures = world.store.list_unfinished, [StoreUnavailable("locked")] * 2

    async def failing(platform: str) -> object:
        if failures:
            raise failures.pop()
        return await read(platform)

    monkeypatch.setattr(world.store, "list_unfinished", failing)
    await world.inbox.connected("sim")
    await world.idle()
    assert world.shown() == ["Hello."]


async def test_authors_of_questions_are_told_that_they_could_not_be_stored(world: World) -> None:
    """Notices go to authors of mentions and of follow-ups in known threads, not to anyone else."""
    await world.ask(1)
    with locked(world):
        for number, address, due in [
            (2, Address.ASIDE, False),
            (3, Address.FOLLOW_UP, True),
            (4, Address.MENTION, False),  # had a notice a moment ago
        ]:
            incoming = said(number, address=address)
            with pytest.raises(StoreUnavailable):
                await world.inbox.receive(incoming)
            assert await world.inbox.apology_due(incoming) is due
    elsewhere = said(5, author=BEN, address=Address.FOLLOW_UP, where=said(5).key)
    assert await world.inbox.apology_due(elsewhere)
    assert (await world.ask(4)) is Receipt.QUESTION


async def test_a_damaged_history_ends_its_turn_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question is stored, and other conversations are answered."""
    monkeypatch.setattr("bot.turns.scheduler.RETRY", Backoff(0.01, 0.01))
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        world = world_of(path, store)
        for number in range(1, 40):
            await world.ask(number, f"{number} " + "x" * 200)
    async with opened(path) as store:
        _damage_old_messages(path)
        world = world_of(path, store)
        assert await world.ask(40, "what did I say?") is Receipt.QUESTION
        assert world.shown() == [f"_{texts.GAVE_UP}_"]
        assert world.outcomes()[-1] == ("failed", "too many attempts")
        assert world.model.requests == []
        assert "is damaged" in store.health().details["trouble"]
        await world.ask(41, "elsewhere", where=key("t2"))
        assert world.shown("t2") == ["Hello."]


def _damage_old_messages(path: Path) -> None:
    """Overwrite the table's second leaf page, which only reading the history touches."""
    (root,) = look(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'messages'")[0]
    (size,) = look(path, "PRAGMA page_size")[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        page = file.read(size)
        assert page[0] == 5, "the root is no interior page: too few messages"
        cell = int.from_bytes(page[14:16])
        leaf = int.from_bytes(page[cell : cell + 4])
        file.seek((leaf - 1) * size)
        file.write(b"\xff" * size)


async def test_an_unexpected_failure_is_not_mistaken_for_a_deleted_channel(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The turn is retried and answered."""
    monkeypatch.setattr("bot.turns.scheduler.RETRY", Backoff(0.01, 0.01))
    world.adapter.faults.append(ZeroDivisionError())
    world.model.hold = asyncio.Event()
    world.model.pieces = (Delta("Hello"), Delta("."), Delta(finish_reason="stop"))
    await world.inbox.receive(said(1))
    await until(lambda: world.adapter.faults == [])
    world.model.hold.set()
    await world.idle()
    assert world.outcomes() == [("answered", None)]
    assert world.shown() == ["Hello."]


# ── too long for the model ────────────────────────────────────────────────────────────────────
async def test_a_history_that_is_too_long_for_the_model_is_halved_once(world: World) -> None:
    """The older half is dropped without notice, and the question is kept."""
    for number in range(1, 9):
        await world.ask(number, f"{number} " + "x" * 300)
    before = len(world.contents())
    world.model.limit = before // 2 + 3  # messages, including the system prompt
    await world.ask(9, "9 last")
    assert world.shown()[-1] == "Hello."
    assert world.outcomes()[-1] == ("answered", None)
    long, short = world.contents(-2), world.contents(-1)
    if short[0] == UNSAID:  # the kept half starts with an answer
        short = short[1:]
    assert short == long[-len(short) :]
    assert short[-1] == "9 last"
    assert len(long) > len(short) >= 3


async def test_a_question_that_is_too_long_is_sent_once_and_reported(world: World) -> None:
    world.model.pieces = (ContextTooLong(),)
    await world.ask(1)
    assert "too long for the model" in world.shown()[0]
    assert len(world.model.requests) == 1


async def test_a_question_too_long_without_history_is_reported(world: World) -> None:
    for number in range(1, 9):
        await world.ask(number, f"{number} " + "x" * 300)
    asked = len(world.model.requests)
    world.model.pieces = (ContextTooLong(),)
    await world.ask(9)
    assert "too long for the model" in world.shown()[-1]
    lengths = [len(request.messages) for request in world.model.requests[asked:]]
    assert lengths == sorted(set(lengths), reverse=True) and 3 <= len(lengths) <= 6


async def test_the_model_is_not_asked_again_after_text_was_shown(world: World) -> None:
    await world.ask(1)
    asked = len(world.model.requests)
    world.model.pieces = (Delta("Half"), ContextTooLong())
    await world.ask(2)
    assert world.shown()[-1].startswith("Half")
    assert len(world.model.requests) == asked + 1
