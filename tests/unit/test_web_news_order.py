"""The page's last event about a thread is its newest state, whatever order its writers take.

Reads of a database that has several connections can end in another order than they began.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.web.chat import ChatService
from adapters.web.highlighter import plain
from adapters.web.hub import Event, Hub, LiveReply
from adapters.web.page_events import PageEvents
from adapters.web.places import CHANNEL, PLATFORM
from adapters.web.thread_list import ReadMark, ThreadChange, ThreadListRoutes
from bot.domain.conversations import Author, Conversation, ConversationKey, Role
from bot.domain.records import (
    UNCHANGED,
    ConversationRecord,
    MessageRecord,
    ReplyRecord,
    ThreadEntry,
    ThreadRecord,
)
from bot.domain.turns import Outcome
from tests.support.clock import ManualClock, settle

USER, TURN = "ann", 7
UID = uuid.UUID("5d6a1f6e-6f0b-4d0e-9c53-2f1f7d8a3b10")
KEY = ConversationKey(PLATFORM, USER, CHANNEL, str(UID))
CONVERSATION = Conversation(3, KEY, "a name", None, 1, 0.0, 0.0, began_by=Author(USER, USER))


class SlowLibrary:
    """One thread. A read sees it at the moment of the call, and returns when the test says so."""

    def __init__(self) -> None:
        record = ConversationRecord(str(UID), CONVERSATION, busy=True)
        self.entry = ThreadEntry(record, 1.0, answered_at=1.0, unread=True)
        self.is_hidden = False
        self.reads: list[asyncio.Future[None]] = []

    def change(self, **fields: Any) -> None:
        self.entry = replace(self.entry, record=replace(self.entry.record, **fields))

    @property
    def shown(self) -> ThreadRecord | None:
        root = MessageRecord("m", Role.USER, "a question", 0, 0.0)
        return None if self.is_hidden else ThreadRecord(self.entry, root, 1)

    async def _later(self, result: Any) -> Any:
        self.reads.append(asyncio.get_running_loop().create_future())
        await self.reads[-1]
        return result

    async def thread(self, *_: object) -> ThreadRecord | None:
        return await self._later(self.shown)

    async def find(self, *_: object) -> ConversationRecord | None:
        return await self._later(None if self.is_hidden else replace(self.entry.record, busy=False))

    async def reply(self, turn: int) -> ReplyRecord | None:
        outcome = None if self.entry.record.busy else Outcome.ANSWERED
        return await self._later(ReplyRecord(turn, 3, 1, 0.0, outcome, display="words"))

    async def latest(self, *_: object, **__: object) -> list[MessageRecord]:
        return []

    async def update(self, *_: object, name: Any, pinned: Any, archived: Any) -> object:
        changed = {"pinned": pinned, "archived": archived}
        self.change(**{field: value for field, value in changed.items() if value is not UNCHANGED})
        if name is not UNCHANGED:
            self.change(conversation=replace(self.entry.record.conversation, name=name))
        return None if self.is_hidden else self.entry.record

    async def mark_read(self, *_: object) -> bool:
        self.entry = replace(self.entry, unread=False)
        return not self.is_hidden

    async def hide(self, *_: object) -> bool:
        was_hidden, self.is_hidden = self.is_hidden, True
        return not was_hidden

    async def unhide(self, *_: object) -> None:
        self.is_hidden = False


class InlinePool:
    highlight = staticmethod(plain)


class House:
    """The page's server without HTTP, and the list of one open tab, which reads all events."""

    def __init__(self) -> None:
        self.library, self.hub = SlowLibrary(), Hub()
        chat = ChatService(
            library=self.library,  # type: ignore[arg-type]
            hub=self.hub,
            clock=ManualClock(),
            html_pool=InlinePool(),  # type: ignore[arg-type]
        )
        model = SimpleNamespace(name="m", facts=SimpleNamespace(effort=None))
        models: Any = SimpleNamespace(answering=lambda _: model)
        self.events = PageEvents(chat, models)
        self.list = ThreadListRoutes(chat, self.events)
        self.live = LiveReply(TURN, 3, USER, str(UID), 0.0)
        self.tasks: list[asyncio.Task[Any]] = []
        self.shown: dict[str, Any] | None = None
        self._read = 0

    def act(self, step: str) -> None:
        """Begin what a person or the turn does; it waits for its reads."""
        acts = {
            "pin": lambda: self.list.change(USER, UID, ThreadChange(pinned=True)),
            "unpin": lambda: self.list.change(USER, UID, ThreadChange(pinned=False)),
            "rename": lambda: self.list.change(USER, UID, ThreadChange(name="another")),
            "see": lambda: self.list.mark_read(USER, UID, ReadMark(until=1.0)),
            "delete": lambda: self.list.delete(USER, UID),
            "undo": lambda: self.list.restore(USER, UID),
            "begin": lambda: self._reply(busy=True),
            "end": lambda: self._reply(busy=False),
        }
        self.tasks.append(asyncio.create_task(acts[step]()))

    async def _reply(self, *, busy: bool) -> None:
        self.library.change(busy=busy)
        await self.events.push_reply(self.live)

    def read_events(self) -> None:
        for event in self.hub.feed(USER).since(self._read) or []:
            self._take(event)
            self._read = event.number

    def _take(self, event: Event) -> None:
        if event.name == "gone":
            self.shown = None
        elif event.name == "entry":
            self.shown = dict(event.data())
        elif event.name == "thread":
            self.shown = event.data()["entry"]


STEPS = ["pin", "unpin", "rename", "see", "delete", "undo", "begin", "end", "events", 0, 1, 2, 3]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(STEPS), max_size=24))
@example(["pin", "unpin", 1])  # the newer reading ends first
@example(["see", "delete", 1])  # the entry is read before the deletion, and pushed after it
@example(["begin", "end", 0, 0, 1])  # an answer that has ended stays "writing"
def test_the_last_event_of_a_thread_is_its_newest_state(steps: list[str | int]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[str | int]) -> None:
    house = House()
    reads = house.library.reads
    for step in ["rename", *steps]:
        if step == "events":
            house.read_events()
        elif isinstance(step, str):
            house.act(step)
        elif step < len(reads):
            reads.pop(step).set_result(None)
        await settle()
    while reads:
        reads.pop().set_result(None)
        await settle()
    await asyncio.gather(*house.tasks, return_exceptions=True)
    house.read_events()
    record = house.library.entry.record
    if house.library.is_hidden:
        assert house.shown is None
        return
    assert house.shown is not None
    entry = house.library.entry
    told = {key: house.shown[key] for key in ("name", "pinned", "busy", "unread")}
    assert told == {
        "name": record.conversation.name,
        "pinned": record.pinned,
        "busy": record.busy,
        "unread": entry.unread,
    }
