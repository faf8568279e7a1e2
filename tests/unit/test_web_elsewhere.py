"""Several processes serve one user."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.web import chat
from adapters.web.adapter import WebAdapter
from adapters.web.chat import ChatService
from adapters.web.highlighter import plain
from adapters.web.hub import Hub
from adapters.web.live_follower import LiveFollower
from bot.common.local_cluster import LocalCluster
from bot.domain.cluster import Signal, SignalKind
from bot.domain.conversations import ConversationKey, Visibility
from bot.domain.inbox import Address
from tests.support.clock import ManualClock


class Reply:
    """A reply as stored in the database."""

    def __init__(self) -> None:
        self.outcome: str | None = None
        self.content = "Hello."


class Library:
    """A library with one reply."""

    def __init__(self) -> None:
        self.reply_ = Reply()

    async def reply(self, turn: int) -> Reply:
        del turn
        return self.reply_


def service_of(library: Library, hub: Hub, clock: ManualClock | None = None) -> ChatService:
    parts: dict[str, Any] = {"library": library, "hub": hub, "html_pool": None}
    return ChatService(**parts, clock=clock or ManualClock())


def test_questions_at_two_processes_keep_their_order() -> None:
    """One process has run for longer, and one machine's clock is set back."""
    clock, key = ManualClock(), ConversationKey("web", "ann", "web", "t1")
    record: Any = SimpleNamespace(
        conversation=SimpleNamespace(key=key, visibility=Visibility.PRIVATE)
    )
    old = service_of(Library(), Hub(), clock)
    clock.jump(100.0)
    new = service_of(Library(), Hub(), clock)
    positions = []
    for service in (new, old, new, new, old, old):
        clock.jump(0.001)
        positions.append(service.incoming(record, "ann", "?", "m", Address.DIRECT).position)
    assert positions == sorted(positions)
    clock.jump(-50.0)
    assert old.incoming(record, "ann", "?", "m", Address.DIRECT).position > positions[-1]


async def test_the_signal_of_its_end_completes_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test completes it as `WebAdapter` does when a signal arrives."""
    monkeypatch.setattr(chat, "ELSEWHERE_SECONDS", 3_600.0)
    library, hub = Library(), Hub()
    waiting = asyncio.create_task(service_of(library, hub).outcome(7))
    await asyncio.sleep(0)
    library.reply_.outcome = "answered"
    adapter = WebAdapter.__new__(WebAdapter)
    adapter._hub, clock = hub, ManualClock()
    parts: dict[str, Any] = {"cluster": LocalCluster(), "hub": hub, "clock": clock}
    adapter._follower = LiveFollower(
        **parts, replies=cast(Any, library), highlight=plain, on_text=lambda _live: None
    )
    await adapter._on_live(Signal(SignalKind.LIVE, 1, 7, reason="ann"))
    async with asyncio.timeout(60):  # less than the interval of checks without a signal
        assert (await waiting).content == "Hello."


async def test_a_lost_signal_delays_the_answer_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "ELSEWHERE_SECONDS", 0.01)
    library, hub = Library(), Hub()
    service = service_of(library, hub)

    async def follow() -> str:
        return "".join([words async for words in service.follow(7)])

    waiting = asyncio.create_task(follow())
    await asyncio.sleep(0)
    library.reply_.outcome = "answered"
    async with asyncio.timeout(60):
        assert await waiting == "Hello."


async def test_a_users_pages_read_again_and_others_do_not() -> None:
    hub = Hub()
    ann, ben = hub.feed("ann"), hub.feed("ben")
    hub.refresh("ann")
    hub.refresh("cid")
    assert (ann.number, ben.number) == (1, 0)
