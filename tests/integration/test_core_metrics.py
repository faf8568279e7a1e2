"""The events that the core reports to an observer: each once, in the right place, and none per
chunk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.common.clock import SystemClock
from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError, StoreUnavailable, TimedOut
from bot.domain.failures import FailureReason
from bot.domain.model import Delta
from bot.domain.operation import StoreCall
from bot.domain.turns import Outcome
from bot.ports.metrics import GrowingReply, NullObserver
from bot.store.sqlite import SqliteStore
from tests.support.content_kit import file
from tests.support.core_kit import World, world_at
from tests.support.store_kit import said

LONG = (*(Delta(f"word {number} ") for number in range(2_000)), Delta(finish_reason="stop"))


class Heard(NullObserver):
    """Records everything that it hears."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.waits: list[float] = []
        self.ages: list[float | None] = []
        self.watched = 0

    def event_received(self, platform: str) -> None:
        self.calls.append(("event", platform))

    def turn_ended(self, platform: str, outcome: Outcome, failure: FailureReason | None) -> None:
        self.calls.append(("ended", platform, outcome, failure))

    def first_text_shown(self, platform: str, seconds: float) -> None:
        self.calls.append(("shown", platform))
        self.waits.append(seconds)

    @contextmanager
    def watch_reply(self, platform: str, reply: GrowingReply) -> Iterator[None]:
        self.watched += 1
        yield
        self.ages.append(reply.unseen_since)
        self.watched -= 1

    def store_called(self, call: StoreCall, seconds: float, *, failed: bool) -> None:
        self.calls.append((call, seconds >= 0, failed))

    def attachment_settled(self, omission: Omission | None) -> None:
        self.calls.append(("attachment", omission))


async def ask_now(world: World, number: int, text: str = "why?") -> None:
    """A question sent three seconds ago."""
    message = said(number, text)
    object.__setattr__(message, "sent_at", time.time() - 3)
    await world.inbox.receive(message)
    await world.idle()


async def test_a_long_answer_is_told_as_one_event_one_first_text_and_one_end(
    tmp_path: Path,
) -> None:
    heard = Heard()
    async with world_at(tmp_path / "store.db", observer=heard) as world:
        world.model.pieces = LONG
        await ask_now(world, 1)
    assert heard.calls == [
        ("event", "sim"),
        ("shown", "sim"),
        ("ended", "sim", Outcome.ANSWERED, None),
    ]
    assert 3 <= heard.waits[0] < 60
    assert (heard.watched, heard.ages) == (0, [None])  # the whole text was visible


async def test_a_rewritten_reply_has_no_first_text_because_people_saw_one(tmp_path: Path) -> None:
    heard = Heard()
    async with world_at(tmp_path / "store.db", observer=heard) as world:
        await ask_now(world, 1)
        heard.calls.clear()
        await world.command("retry")
        await world.idle()
    ended = ("ended", "sim", Outcome.ANSWERED, None)
    assert heard.calls == [("event", "sim"), ended]


async def test_a_failed_turn_is_told_with_its_reason(tmp_path: Path) -> None:
    heard = Heard()
    async with world_at(tmp_path / "store.db", observer=heard) as world:
        world.model.pieces = (TimedOut("no first token"),)
        await ask_now(world, 1)
    assert heard.calls[-1] == ("ended", "sim", Outcome.FAILED, FailureReason.TIMED_OUT)


@pytest.mark.parametrize(
    ("found", "omission"), [(b"hello", None), (AttachmentError(Omission.GONE), Omission.GONE)]
)
async def test_an_attachment_is_told_with_its_result(
    tmp_path: Path, found: bytes | Exception, omission: Omission | None
) -> None:
    heard = Heard()
    async with world_at(tmp_path / "store.db", observer=heard) as world:
        world.adapter.files["notes.txt"] = found
        await world.ask(1, attachments=(file("notes.txt"),))
    assert ("attachment", omission) in heard.calls


async def test_every_call_to_the_database_is_told_with_its_kind_and_its_failure(
    tmp_path: Path,
) -> None:
    heard, path = Heard(), tmp_path / "store.db"
    async with SqliteStore.open(path, clock=SystemClock(), observer=heard) as store:
        heard.calls.clear()
        await store.accept(said(1))
        await store.load()
        assert set(heard.calls) == {(call, True, False) for call in StoreCall}
    heard.calls.clear()
    with pytest.raises(StoreUnavailable):
        await store.load()
    assert heard.calls == [(StoreCall.READ, True, True)]
