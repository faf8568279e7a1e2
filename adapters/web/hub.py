"""Replies while they are written, and each user's events: in memory, for whoever looks on.

Invariant: nobody who writes waits for anybody who reads. A reader that is slow sees fewer states
of a reply, never a wrong one; what is missed here is in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.web.highlighter import Colour, plain
from adapters.web.render import GrowingHtml
from bot.domain import texts

_QUEUED = texts.note(texts.QUEUED)

KEPT_EVENTS = 500
"""Events a user's page can catch up on after a lost connection; beyond them it reads all anew."""

KEPT_CHARACTERS = 4_000_000
"""Text that those events keep alive, for the same reason."""


@dataclass(slots=True, eq=False)
class Live:
    """One reply at this moment. `thread` is the public id that the page knows it under, if any."""

    turn: int
    conversation: int
    user: str
    thread: str | None
    begun_at: float
    source: str = ""
    note: str = ""
    version: int = 0
    colour: Colour = plain
    _growing: GrowingHtml = field(init=False)
    _html: tuple[int, str] = (-1, "")
    _rendering: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._growing = GrowingHtml(self.colour)

    @property
    def state(self) -> str:
        """As the page names it."""
        return "queued" if self.note == _QUEUED and not self.source else "writing"

    @property
    def text(self) -> str:
        """What is shown: the reply, or the note in its place."""
        return self.source or self.note

    def html(self) -> str:
        """The HTML of what is shown, rendered once for every reader; on any thread."""
        with self._rendering:
            if self._html[0] != self.version:
                self._html = (self.version, self._growing.html(self.text))
            return self._html[1]


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `data` is called when it is sent, on any thread: what nobody reads is free."""

    number: int
    name: str
    data: Callable[[], Mapping[str, Any]]
    size: int = 0

    def encoded(self, epoch: str) -> bytes:
        """As server-sent events are written."""
        data = json.dumps(self.data(), ensure_ascii=False, separators=(",", ":"))
        return f"id: {epoch}-{self.number}\nevent: {self.name}\ndata: {data}\n\n".encode()


class Feed:
    """One user's events, the newest that fit; of a growing reply only the newest state."""

    def __init__(self) -> None:
        self._events: dict[int, Event] = {}  # in the order of their numbers
        self._by_key: dict[str, int] = {}
        self._lost = 0  # the newest number that was dropped for want of room
        self._characters = 0
        self.number = 0
        self.readers: set[asyncio.Event] = set()

    def push(
        self,
        name: str,
        data: Callable[[], Mapping[str, Any]],
        *,
        key: str | None = None,
        size: int = 0,
    ) -> None:
        """Add an event of `size` characters; it replaces the last one with the same `key`."""
        self.number += 1
        if key is not None:
            self._forget(self._by_key.get(key, 0))
            self._by_key[key] = self.number
        self._events[self.number] = Event(self.number, name, data, size)
        self._characters += size
        while len(self._events) > KEPT_EVENTS or (
            self._characters > KEPT_CHARACTERS and len(self._events) > 1
        ):
            self._drop_oldest()
        for reader in self.readers:
            reader.set()

    def since(self, number: int) -> list[Event] | None:
        """The events after `number`; None when some of them are not kept any more."""
        if number < self._lost or number > self.number:
            return None
        newer: list[Event] = []
        for there in reversed(self._events):
            if there <= number:
                break
            newer.append(self._events[there])
        return newer[::-1]

    def _forget(self, number: int) -> None:
        event = self._events.pop(number, None)
        self._characters -= event.size if event is not None else 0

    def _drop_oldest(self) -> None:
        self._lost = next(iter(self._events))
        self._forget(self._lost)
        for key in [key for key, number in self._by_key.items() if number == self._lost]:
            del self._by_key[key]


class Hub:
    """Where replies are written and read. `epoch` names this process in the ids of events."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)
        self.closing = False
        self._live: dict[int, Live] = {}
        self._writing: dict[int, Live] = {}  # by conversation: it has one turn at a time
        self._listeners: dict[int, set[asyncio.Event]] = {}
        self._feeds: defaultdict[str, Feed] = defaultdict(Feed)

    # ── replies ───────────────────────────────────────────────────────────────────────────────
    def begin(self, live: Live) -> None:
        """A reply is worked on; an earlier attempt's text counts no more."""
        self._live[live.turn] = self._writing[live.conversation] = live
        self.wake(live.turn)

    def write(self, live: Live, *, source: str, note: str) -> None:
        """The reply's whole text so far."""
        live.source, live.note = source, note
        live.version += 1
        self.wake(live.turn)

    def end(self, live: Live) -> None:
        """Nothing more is written: the rest is in the database."""
        if self._live.get(live.turn) is live:
            del self._live[live.turn]
        if self._writing.get(live.conversation) is live:
            del self._writing[live.conversation]
        self.wake(live.turn)

    def live(self, turn: int) -> Live | None:
        """The reply, while it is written."""
        return self._live.get(turn)

    def writing(self, conversation: int) -> Live | None:
        """The conversation's reply that is written now."""
        return self._writing.get(conversation)

    @contextlib.contextmanager
    def listening(self, turn: int) -> Iterator[asyncio.Event]:
        """An event that is set whenever something becomes of the turn."""
        woken = asyncio.Event()
        listeners = self._listeners.setdefault(turn, set())
        listeners.add(woken)
        try:
            yield woken
        finally:
            listeners.discard(woken)
            if not listeners:
                self._listeners.pop(turn, None)

    def wake(self, turn: int) -> None:
        """Tell those who listen for this turn to look again."""
        for woken in self._listeners.get(turn, ()):
            woken.set()

    def wake_all(self) -> None:
        """Tell everybody to look again: a conversation was deleted, with its turns."""
        for turn in self._listeners:
            self.wake(turn)

    # ── events ────────────────────────────────────────────────────────────────────────────────
    def feed(self, user: str) -> Feed:
        """The user's events."""
        return self._feeds[user]

    def newest(self, user: str) -> str:
        """The id of the user's newest event: a snapshot that is read now contains its effects."""
        return f"{self.epoch}-{self.feed(user).number}"

    def close(self) -> None:
        """The server stops: every stream ends, and its reader connects to the next process."""
        self.closing = True
        for feed in self._feeds.values():
            for reader in feed.readers:
                reader.set()
        self.wake_all()
